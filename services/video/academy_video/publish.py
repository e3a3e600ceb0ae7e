"""`video.publish`, its pure part: are the chunks the whole lecture, is every file there, and what does it weigh.

Given the chunks' results and a listing of the prefix. The poster is cut from the published picture itself
(`poster_place`), so publish never reads the source.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from academy_core.errors import Retryable
from academy_core.video import Bandwidth, ChunkResult, Encoding, Rendition, Rung, Segment
from academy_video import ffmpeg


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
    _check_files(renditions, sizes)
    return Publication(
        renditions=renditions,
        bandwidths=tuple(_bandwidth(rendition) for rendition in renditions),
        segments=_segment_count(encoding),
        bytes=sum(sizes[name] for name in sorted(_files(renditions))),
    )


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
    """One rendition over all chunks: the same init everywhere, every segment once, of the length the plan says."""
    parts = [rendition for chunk in chunks for rendition in chunk.renditions if rendition.name == name]
    if len(parts) != len(chunks) or len({(part.init, part.codec, part.timescale) for part in parts}) != 1:
        raise Incomplete(f"{name}: not one part a chunk with one and the same init")
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


def _files(renditions: Sequence[Rendition]) -> Iterator[str]:
    for rendition in renditions:
        yield rendition.init
        yield from (segment.name for segment in rendition.segments)


def _check_files(renditions: Sequence[Rendition], sizes: Mapping[str, int]) -> None:
    for name in _files(renditions):
        if name not in sizes:
            raise Incomplete(f"{name} is not in the store")
    for rendition in renditions:
        for segment in rendition.segments:
            if sizes[segment.name] != segment.bytes:
                raise Incomplete(f"{segment.name} has {sizes[segment.name]} bytes instead of {segment.bytes}")


def _bandwidth(rendition: Rendition) -> Bandwidth:
    rates = [_bits(segment) * rendition.timescale / segment.duration_ticks for segment in rendition.segments]
    ticks = sum(segment.duration_ticks for segment in rendition.segments)
    average = sum(map(_bits, rendition.segments)) * rendition.timescale / ticks
    return Bandwidth(name=rendition.name, peak=round(max(rates)), average=round(average))


def _bits(segment: Segment) -> int:
    return 8 * segment.bytes


def poster_place(encoding: Encoding, publication: Publication, at_seconds: float) -> PosterPlace:
    """Where the poster is taken: `at_seconds` into the lecture, or half way into a shorter one."""
    length = encoding.total_frames / ffmpeg.rate(encoding)
    at = Fraction(at_seconds) if at_seconds < length else length / 2
    frame = min(int(at * ffmpeg.rate(encoding)), encoding.total_frames - 1)
    best = publication.renditions[0]
    number, inside = divmod(frame, encoding.gop)
    return PosterPlace(encoding.rungs[0], best.init, best.segments[number].name, inside)
