"""What ffmpeg may open for a kind: recordings, never a script or playlist that names other files."""

VIDEO = "mov,matroska,webm,avi,flv,mpegts,mpeg"
"""Formats with a picture, as ffmpeg's `-format_whitelist` takes them."""
SOUND = f"{VIDEO},wav,flac,mp3,ogg,aac"
"""And those of sound alone."""
