"""How a kind reads a recording: ffmpeg opens recordings alone, no script or playlist that names other files."""

import shutil

from academy_core.errors import SettingsFault

VIDEO = "mov,matroska,webm,avi,flv,mpegts,mpeg"
"""Formats with a picture, as ffmpeg's `-format_whitelist` takes them."""
SOUND = f"{VIDEO},wav,flac,mp3,ogg,aac"
"""And those of sound alone."""


def ffmpeg() -> list[str]:
    """The beginning of a command on local files and nothing else. SettingsFault when the program is missing."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise SettingsFault("there is no program ffmpeg")
    return [program, "-v", "error", "-nostdin", "-protocol_whitelist", "file,pipe"]
