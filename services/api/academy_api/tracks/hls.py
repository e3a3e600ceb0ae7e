"""Subtitles and chapters in a publication's playlists, as pure functions of the texts.

Subtitles are a rendition each (RFC 8216, 4.3.4.1): a playlist of one WebVTT segment. Chapters are Apple's
`com.apple.hls.chapters` session data. Media time begins at BASE_SECONDS, which X-TIMESTAMP-MAP tells players (3.5).
"""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape

from academy_api.lectures import playlists
from academy_api.tracks.webvtt import Cue, render
from academy_core.video import BASE_SECONDS

GROUP = "subtitles"
CHAPTERS = "com.apple.hls.chapters"
NAMES = {"ko": "한국어", "en": "English"}
_TIMESTAMP_MAP = f"X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:{BASE_SECONDS * 90_000}"
_OURS = re.compile(rf'#EXT-X-MEDIA:TYPE=SUBTITLES,|#EXT-X-SESSION-DATA:DATA-ID="{re.escape(CHAPTERS)}"')
_ATTRIBUTE = f',SUBTITLES="{GROUP}"'
_VARIANT = "#EXT-X-STREAM-INF:"
_MARKUP = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True)
class File:
    """One file of the publication: name relative to its prefix, and text."""

    name: str
    text: str


def subtitles(language: str, cues: Sequence[Cue], duration_seconds: float) -> tuple[File, File]:
    """The segment, whose name carries its hash, and the playlist that names it."""
    segment = _hashed(f"subtitles.{language}", ".vtt", render(cues, header=_TIMESTAMP_MAP))
    playlist = (
        "#EXTM3U\n#EXT-X-VERSION:7\n"
        f"#EXT-X-TARGETDURATION:{math.ceil(duration_seconds)}\n"
        "#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n"
        f"#EXTINF:{duration_seconds:.6f},\n{segment.name}\n{playlists.ENDLIST}"
    )
    return segment, File(playlists.file_name(f"subtitles.{language}"), playlist)


def chapters(cues: Sequence[Cue]) -> File:
    """Chapters in Apple's JSON form: number, start and duration in seconds, title."""
    listed = [
        {
            "chapter": number,
            "start-time": cue.start / 1000,
            "duration": (cue.end - cue.start) / 1000,
            "titles": [{"language": "und", "title": unescape(_MARKUP.sub("", cue.text)).replace("\n", " ")}],
        }
        for number, cue in enumerate(cues, start=1)
    ]
    return _hashed("chapters", ".json", json.dumps(listed, ensure_ascii=False))


def _hashed(stem: str, suffix: str, text: str) -> File:
    return File(f"{stem}.{hashlib.sha256(text.encode()).hexdigest()[:16]}{suffix}", text)


def master(text: str, languages: Sequence[str], chapters_name: str | None) -> str:
    """The master with exactly these subtitles and chapters, whichever it named before."""
    lines = [line.replace(_ATTRIBUTE, "") for line in text.splitlines() if not _OURS.match(line)]
    ours = [
        f'#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="{GROUP}",NAME="{NAMES[language]}",LANGUAGE="{language}",'
        f'DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI="{playlists.file_name(f"subtitles.{language}")}"'
        for language in languages
    ]
    if chapters_name is not None:
        ours.append(f'#EXT-X-SESSION-DATA:DATA-ID="{CHAPTERS}",URI="{chapters_name}"')
    first = next(number for number, line in enumerate(lines) if line.startswith(_VARIANT))
    if languages:
        lines = [line + _ATTRIBUTE if line.startswith(_VARIANT) else line for line in lines]
    return "\n".join([*lines[:first], *ours, *lines[first:]]) + "\n"
