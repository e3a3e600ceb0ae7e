"""Tracks of a lecture: subtitles and chapters, made by the AI workers or written by people."""
