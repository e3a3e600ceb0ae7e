"""Lectures: upload, encoding job, publications, playlists, deletion."""
