"""What ffprobe says of a source: the two command lines and the parsing of their output, all pure.

First step of `video.plan`. `streams_command` reads the header; `tail_command` reads the packets of the last seconds,
because claimed durations cannot be trusted: Matroska's counts from 0 and not from the start, a truncated file still
claims its whole length.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from academy_video import ffmpeg

_FIELDS = (
    "format=format_name,start_time,duration"
    ":stream=index,id,codec_type,codec_name,width,height,sample_aspect_ratio,r_frame_rate,avg_frame_rate,time_base,"
    "start_pts,duration,sample_rate,channels,field_order,color_transfer,color_space,has_b_frames,extradata_size,bit_rate,"
    "sample_fmt,pix_fmt,codec_tag"
    ":stream_disposition=attached_pic,default"
    ":stream_tags=language"
    ":stream_side_data=rotation,displaymatrix"
    ":program=program_num:program_stream=index"
)

WITHOUT_DECODER = frozenset({"unknown", "mpegh_3d_audio", "ac4"})
"""What ffprobe calls sound that ffmpeg cannot decode: Dolby AC-4, Apple's APAC, MPEG-H."""
_SOUND_TAGS = {"0x342d4341": "ac4", "0x002d": "mpegh_3d_audio", "0x002e": "mpegh_3d_audio"}
"""What MPEG-TS calls sound that ffprobe does not know for sound: AC-4, MPEG-H -> its codec."""


@dataclass(frozen=True, slots=True)
class VideoStream:
    """A picture stream. `rotation` is the display matrix's, the nearest quarter turn, in degrees (after mirroring)."""

    index: int
    codec: str
    width: int
    height: int
    sample_aspect: Fraction
    nominal_rate: Fraction | None
    average_rate: Fraction | None
    start: Fraction | None
    default: bool
    rotation: int
    interlaced: bool
    transfer: str = ""
    """How light is coded, as ffprobe names it; HDR has transfers of its own."""
    matrix: str = ""
    """How colour is coded, as ffprobe names it; gbr is none."""
    reordered: int = 0
    """Pictures that the decoder holds back, since others that come later are shown before them (B-frames)."""
    bit_rate: int | None = None
    id: str = "0x0"
    """The container's own number of the stream, hexadecimal."""
    mirrored: bool = False
    """The display matrix exchanges left and right, before it turns."""


@dataclass(frozen=True, slots=True)
class AudioStream:
    """A sound stream."""

    index: int
    codec: str
    rate: int
    channels: int
    start: Fraction | None
    default: bool
    language: str = ""
    """As the container says it: ISO 639 with two or three letters, or empty."""
    packed: bool = False
    """AAC whose packets carry their own description (ADTS)."""
    samples: str = ""
    """Format of the decoded samples, as ffmpeg names it."""
    bit_rate: int | None = None


@dataclass(frozen=True, slots=True)
class Tail:
    """Start and end of a stream's last packet, absolute source seconds."""

    last: Fraction
    end: Fraction


@dataclass(frozen=True, slots=True)
class Source:
    """A source's header. `claimed_end` is an absolute source time in seconds, None when nothing claims one."""

    container: str
    claimed_end: Fraction | None
    videos: tuple[VideoStream, ...]
    audios: tuple[AudioStream, ...]
    programs: tuple[frozenset[int], ...] = ()
    """Indices of the streams of each program, where the container has programs (MPEG-TS)."""
    far: bool = False
    """What the streams are was looked for far behind the front."""
    sounds_later: bool = False
    """There is sound, though nothing declares it, and it begins too far behind the front."""
    obscure: frozenset[int] = frozenset()
    """Indices of the streams of MPEG-TS of which nobody can say what they are."""

    @property
    def shows_late(self) -> bool:
        """Whether sound may begin later: it is declared and not there yet (MPEG-TS), or nothing declares any."""
        if self.far or self.container not in {"mpegts", "mpeg", "flv"}:
            return False
        undeclared = self.container != "mpegts" and not self.audios
        return undeclared or any(audio.rate == 0 and audio.codec not in WITHOUT_DECODER for audio in self.audios)


def streams_command(ffprobe: str, url: str, *, far: bool = False) -> list[str]:
    """The command line that prints the header as JSON; `far`: see Source."""
    options = ffmpeg.source_options(url, far=far)
    return [ffprobe, "-v", "error", *options, "-show_entries", _FIELDS, "-of", "json", url]


def tail_command(ffprobe: str, url: str, start: Fraction) -> list[str]:
    """The command line that prints the packets from `start` (absolute source seconds) to the end."""
    entries = "packet=stream_index,pts_time,duration_time"
    span = f"{ffmpeg.seconds(start)}%"
    options = ffmpeg.source_options(url)
    return [ffprobe, "-v", "error", *options, "-read_intervals", span, "-show_entries", entries, "-of", "csv=p=0", url]


def parse(text: str, *, far: bool = False) -> Source:
    """Source from `streams_command`'s output, of the same `far`. Cover art is left out. ValueError where it is none."""
    document = json.loads(text)
    streams: Sequence[Mapping[str, Any]] = document.get("streams", ())
    container = document.get("format", {})
    name = str(container.get("format_name", ""))
    start, duration = _number(container.get("start_time")), _number(container.get("duration"))
    from_zero = "matroska" in name or start is None
    return Source(
        container=name,
        claimed_end=None if duration is None else duration + (0 if from_zero else max(start or 0, 0)),
        videos=tuple(
            _video(stream)
            for stream in streams
            if stream.get("codec_type") == "video" and not stream.get("disposition", {}).get("attached_pic")
        ),
        audios=tuple(_audio(stream) for stream in streams if _is_sound(name, stream)),
        programs=tuple(
            frozenset(int(stream["index"]) for stream in program.get("streams", ()))
            for program in document.get("programs", ())
        ),
        far=far,
        obscure=frozenset(int(stream["index"]) for stream in streams if _is_obscure(name, stream)),
    )


def _is_sound(container: str, stream: Mapping[str, Any]) -> bool:
    return stream.get("codec_type") == "audio" or (container == "mpegts" and stream.get("codec_tag") in _SOUND_TAGS)


def _is_obscure(container: str, stream: Mapping[str, Any]) -> bool:
    named = stream.get("codec_name", "unknown") not in {"unknown", "bin_data"}
    return container == "mpegts" and not named and not _is_sound(container, stream)


def parse_tails(text: str) -> dict[int, Tail]:
    """Stream index -> where it really ends, from `tail_command`'s output (packets in file order)."""
    tails: dict[int, Tail] = {}
    for line in text.splitlines():
        index, pts, duration, *_ = [*line.split(","), "", "", ""]
        time = _number(pts)
        if time is not None and index.isdecimal():
            tail = Tail(time, time + (_number(duration) or 0))
            known = tails.get(int(index), tail)
            tails[int(index)] = Tail(max(known.last, tail.last), max(known.end, tail.end))
    return tails


def _video(stream: Mapping[str, Any]) -> VideoStream:
    turns = [data for data in stream.get("side_data_list", ()) if "rotation" in data]
    mirrored = bool(turns) and _mirrors(str(turns[0].get("displaymatrix", "")))
    # ffprobe takes the mirror image for half a turn more.
    rotation = float(turns[0]["rotation"]) + (180 if mirrored else 0) if turns else 0.0
    return VideoStream(
        index=int(stream["index"]),
        codec=str(stream.get("codec_name", "unknown")),
        width=int(stream.get("width", 0)),
        height=int(stream.get("height", 0)),
        sample_aspect=_ratio(stream.get("sample_aspect_ratio")) or Fraction(1),
        nominal_rate=_ratio(stream.get("r_frame_rate")),
        average_rate=_ratio(stream.get("avg_frame_rate")),
        start=_start(stream),
        default=bool(stream.get("disposition", {}).get("default")),
        rotation=90 * round(rotation / 90) % 360,
        mirrored=mirrored,
        interlaced=stream.get("field_order", "progressive") not in {"progressive", "unknown"},
        transfer=str(stream.get("color_transfer", "")),
        matrix="gbr" if _is_rgb(str(stream.get("pix_fmt", ""))) else str(stream.get("color_space", "")),
        reordered=int(stream.get("has_b_frames", 0)),
        bit_rate=_bit_rate(stream),
        id=str(stream.get("id", "0x0")),
    )


def _is_rgb(pixels: str) -> bool:
    """Whether a pixel format of ffmpeg's is RGB; few codecs that have it name the matrix."""
    return pixels == "pal8" or any(order in pixels for order in ("rgb", "bgr", "gbr"))


def _mirrors(matrix: str) -> bool:
    """Whether a display matrix, as ffprobe prints it (three rows, each after its number), mirrors."""
    rows = [[int(each) for each in line.partition(":")[2].split()] for line in matrix.split("\n") if ":" in line]
    return len(rows) == 3 and rows[0][0] * rows[1][1] < rows[0][1] * rows[1][0]  # noqa: PLR2004 - it is square


def _audio(stream: Mapping[str, Any]) -> AudioStream:
    return AudioStream(
        index=int(stream["index"]),
        codec=_SOUND_TAGS.get(str(stream.get("codec_tag")), str(stream.get("codec_name", "unknown"))),
        rate=int(stream.get("sample_rate", 0)),
        channels=int(stream.get("channels", 0)),
        start=_start(stream),
        default=bool(stream.get("disposition", {}).get("default")),
        language=str(stream.get("tags", {}).get("language", "")).lower(),
        packed=stream.get("codec_name") == "aac" and not stream.get("extradata_size"),
        samples=str(stream.get("sample_fmt", "")),
        bit_rate=_bit_rate(stream),
    )


def _bit_rate(stream: Mapping[str, Any]) -> int | None:
    text = str(stream.get("bit_rate", ""))
    return int(text) if text.isdecimal() else None


def _start(stream: Mapping[str, Any]) -> Fraction | None:
    base = _ratio(stream.get("time_base"))
    return None if base is None or "start_pts" not in stream else int(stream["start_pts"]) * base


def _number(text: str | None) -> Fraction | None:
    try:
        return None if text is None else Fraction(Decimal(text))
    except (InvalidOperation, ValueError, OverflowError):
        return None


def _ratio(text: str | None) -> Fraction | None:
    """`30/1` or `4:3`; None for `0/0` and the like, which is how ffprobe says unknown."""
    over, _, under = (text or "").replace(":", "/").partition("/")
    if not over.isdecimal() or not under.isdecimal() or int(over) == 0 or int(under) == 0:
        return None
    return Fraction(int(over), int(under))
