"""Signed playback URLs."""
