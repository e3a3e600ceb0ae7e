"""`video.publish`, its pure part: are the chunks the whole lecture, is every file there, and what does it weigh.

Given the chunks' results and a listing of the prefix. The poster is cut from the published picture itself
(`poster_place`), so publish never reads the source.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

from academy_core.errors import Retryable
from academy_core.video import Bandwidth, ChunkResult, Encoding, Rendition, Rung, Segment
from academy_video import ffmpeg, plan


@dataclass(frozen=True, slots=True)
class Publication:
    """All chunks joined: each rendition with every segment in order."""

    renditions: tuple[Rendition, ...]
    bandwidths: tuple[Bandwidth, ...]
    segments: int
    """Segments a rendition."""
    bytes: int


@dataclass(frozen=True, slots=True)
class PosterPlace:
    """Where the poster is: frame `frame` of a segment of the best rung."""

    rung: Rung
    init: str
    segment: str
    frame: int


class Incomplete(Retryable):
    """The chunks are not the whole lecture, or a file is missing. Nothing is published."""


def join(encoding: Encoding, chunks: Sequence[ChunkResult], sizes: Mapping[str, int]) -> Publication:
    """The publication. `sizes`: file name -> bytes as listed in R2. Incomplete names what is wrong."""
    _check_tiling(encoding, chunks)
    names = [rung.name for rung in encoding.rungs] + ([encoding.audio.name] if encoding.audio is not None else [])
    renditions = tuple(_joined(encoding, name, chunks) for name in names)
    files = frozenset(chain.from_iterable(map(ChunkResult.keys, chunks)))
    _check_files(files, renditions, sizes)
    return Publication(
        renditions=renditions,
        bandwidths=tuple(_bandwidth(encoding, rendition) for rendition in renditions),
        segments=_segment_count(encoding),
        bytes=sum(sizes[name] for name in files),
    )


def patched_seconds(encoding: Encoding, chunks: Sequence[ChunkResult]) -> float:
    """Length of the chunks of which not all could be read from the source."""
    return float(sum(chunk.frames for chunk in chunks if chunk.patched) / ffmpeg.rate(encoding))


def _segment_count(encoding: Encoding) -> int:
    return -(-encoding.total_frames // encoding.gop)


def _check_tiling(encoding: Encoding, chunks: Sequence[ChunkResult]) -> None:
    at = 0
    for index, chunk in enumerate(chunks):
        if chunk.index != index or chunk.first_frame != at:
            raise Incomplete(f"chunk {index} does not start at frame {at}")
        at += chunk.frames
    if at != encoding.total_frames:
        raise Incomplete(f"{at} of {encoding.total_frames} frames")


def _joined(encoding: Encoding, name: str, chunks: Sequence[ChunkResult]) -> Rendition:
    """One rendition over all chunks: every segment once, of the length the plan says.

    Another build of ffmpeg may have written another init for its chunk: the playlist then breaks there.
    """
    parts = [rendition for chunk in chunks for rendition in chunk.renditions if rendition.name == name]
    if len(parts) != len(chunks) or len({part.timescale for part in parts}) != 1:
        raise Incomplete(f"{name}: not one part a chunk on one and the same clock")
    segments = tuple(segment for part in parts for segment in part.segments)
    if [segment.number for segment in segments] != list(range(_segment_count(encoding))):
        raise Incomplete(f"{name}: segments missing or doubled")
    if sum(segment.duration_ticks for segment in segments) != _ticks(encoding, name):
        raise Incomplete(f"{name}: its segments do not add up to its length")
    return parts[0].model_copy(update={"segments": segments})


def _ticks(encoding: Encoding, name: str) -> int:
    if encoding.audio is not None and name == encoding.audio.name:
        return ffmpeg.packet_at(encoding, encoding.total_frames) * ffmpeg.AAC_FRAME
    return encoding.total_frames * encoding.tick


def _check_files(files: Collection[str], renditions: Sequence[Rendition], sizes: Mapping[str, int]) -> None:
    for name in sorted(files):
        if name not in sizes:
            raise Incomplete(f"{name} is not in the store")
    for rendition in renditions:
        for segment in rendition.segments:
            if sizes[segment.name] != segment.bytes:
                raise Incomplete(f"{segment.name} has {sizes[segment.name]} bytes instead of {segment.bytes}")


def _bandwidth(encoding: Encoding, rendition: Rendition) -> Bandwidth:
    target = plan.target_duration(encoding.gop, ffmpeg.rate(encoding))
    average = _rate(rendition, rendition.segments)
    peak = max((_rate(rendition, run) for run in _runs(rendition, target)), default=average)
    return Bandwidth(name=rendition.name, peak=round(peak), average=round(average))


def _runs(rendition: Rendition, target: int) -> Iterator[Sequence[Segment]]:
    """Contiguous segments of which the peak is taken: half to one and a half times `target` seconds (RFC 8216, 4.1).

    A last segment of a few frames is nearly all key frame: by itself its rate would be many times the lecture's.
    """
    segments = rendition.segments
    for first in range(len(segments)):
        ticks = 0
        for end in range(first + 1, len(segments) + 1):
            ticks += segments[end - 1].duration_ticks
            if 2 * ticks > 3 * target * rendition.timescale:
                break
            if 2 * ticks >= target * rendition.timescale:
                yield segments[first:end]


def _rate(rendition: Rendition, segments: Sequence[Segment]) -> Fraction:
    """Bit/s over these segments."""
    ticks = sum(segment.duration_ticks for segment in segments)
    return Fraction(8 * sum(segment.bytes for segment in segments) * rendition.timescale, ticks)


def poster_place(encoding: Encoding, chunks: Sequence[ChunkResult], at_seconds: float) -> PosterPlace:
    """Where the poster is taken: `at_seconds` into the lecture, or half way into a shorter one."""
    length = encoding.total_frames / ffmpeg.rate(encoding)
    at = Fraction(at_seconds) if at_seconds < length else length / 2
    return _place(encoding, chunks, min(int(at * ffmpeg.rate(encoding)), encoding.total_frames - 1))


def brightest(encoding: Encoding, chunks: Sequence[ChunkResult]) -> PosterPlace | None:
    """The frame of the brightest of the small pictures, the first of several; None when there are none."""
    found = [
        (light, -frame)
        for chunk in chunks
        if chunk.tiles is not None
        for frame, light in zip(chunk.tiles.frames, chunk.tiles.lights, strict=True)
    ]
    return _place(encoding, chunks, -max(found)[1]) if found else None


def _place(encoding: Encoding, chunks: Sequence[ChunkResult], frame: int) -> PosterPlace:
    number, inside = divmod(frame, encoding.gop)
    best = encoding.rungs[0]
    for chunk in chunks:
        for part in chunk.renditions:
            for segment in part.segments:
                if part.name == best.name and segment.number == number:
                    return PosterPlace(best, part.init, segment.name, inside)
    raise Incomplete(f"{best.name}: no segment {number}")


def thumbnails(encoding: Encoding, chunks: Sequence[ChunkResult]) -> str:
    """WebVTT: for every small picture the part of an image that it is, until the next (media fragments, xywh)."""
    starts = [
        (frame, f"{chunk.tiles.name}#xywh={place * chunk.tiles.width},0,{chunk.tiles.width},{chunk.tiles.height}")
        for chunk in chunks
        if chunk.tiles is not None
        for place, frame in enumerate(chunk.tiles.frames)
    ]
    ends = [frame for frame, _ in starts[1:]] + [encoding.total_frames]
    cues = [
        f"{_clock(encoding, start)} --> {_clock(encoding, end)}\n{where}\n"
        for (start, where), end in zip(starts, ends, strict=True)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(encoding: Encoding, frame: int) -> str:
    ms = round(1000 * frame / ffmpeg.rate(encoding))
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"
