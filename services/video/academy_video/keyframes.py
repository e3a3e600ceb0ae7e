"""Where a source's key frames are, as its own index says: what makes a source *direct* or *normalise*. Pure.

MP4 and MOV list them in their sample tables (ISO/IEC 14496-12: stss, stts), Matroska and WebM in their Cues (RFC 9559).
ffprobe prints neither without reading the whole file. Whatever is odd here means that there is no usable index.
"""

import contextlib
import struct
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

from academy_video import boxes, ebml

Fetch = Callable[[int, int], bytes]
"""(offset, length) -> bytes of the source, fewer at its end."""

_MAX_INDEX = 64 * 1024 * 1024
_MAX_STEPS = 4096
"""Boxes or elements looked at on the way to the index."""


def of_source(container: str, fetch: Fetch, size: int, stream_index: int, stream_id: str) -> list[Fraction] | None:
    """Seconds of each key frame of the picture, from its first; None when the source has no usable index.

    `stream_id` is ffprobe's `id` of the stream (a track number in MP4), `stream_index` its place among the streams.
    """
    names = container.split(",")
    try:
        if "mov" in names:
            return _of_mp4(fetch, size, int(stream_id, 16))
        if "matroska" in names:
            return _of_matroska(fetch, size, stream_index)
    except (boxes.BadBox, ebml.BadElement, struct.error, ValueError, ZeroDivisionError):
        return None
    return None


def fetch_index(fetch: Fetch, size: int) -> None:
    """Read an MP4's index in one piece, which a reader that keeps it serves then: it grows with the lecture's length.

    Does nothing with any other file.
    """
    with contextlib.suppress(struct.error):  # whatever is odd here is for ffprobe to refuse
        _moov(fetch, size)


def longest_gap(keys: Sequence[Fraction], end: Fraction) -> Fraction:
    """The longest stretch without a key frame, seconds; `end` is the picture's, from its first key frame."""
    return max((after - before for before, after in pairwise([*keys, end])), default=end)


def _of_mp4(fetch: Fetch, size: int, track: int) -> list[Fraction] | None:
    trak = _trak(fetch, size, track)
    return None if trak is None else _sync_times(trak)


def _trak(fetch: Fetch, size: int, track: int) -> bytes | None:
    moov = _moov(fetch, size)
    if moov is None:
        return None
    for kind, start, end in boxes.children(moov, 8, len(moov)):
        if kind == b"trak" and _track_id(moov[start:end]) == track:
            return moov[start:end]
    return None


def _tables(trak: bytes) -> dict[bytes, tuple[int, int]]:
    table, table_end = boxes.find(trak, b"trak", b"mdia", b"minf", b"stbl")
    return {kind: (at, end) for kind, at, end in boxes.children(trak, table + 8, table_end)}


def _moov(fetch: Fetch, size: int) -> bytes | None:
    at = 0
    for _ in range(_MAX_STEPS):
        head = fetch(at, 16)
        if len(head) < 8:  # noqa: PLR2004 - size and type
            return None
        length, kind = struct.unpack_from(">I4s", head)
        if length == 1:
            (length,) = struct.unpack_from(">Q", head, 8)
        elif length == 0:
            length = size - at
        if kind == b"moov":
            return fetch(at, length) if length <= _MAX_INDEX else None
        if length < 8:  # noqa: PLR2004
            return None
        at += length
    return None


def _track_id(trak: bytes) -> int:
    start, _ = boxes.find(trak, b"trak", b"tkhd")
    version = trak[start + 8]
    return int(struct.unpack_from(">I", trak, start + (28 if version else 20))[0])


def _sync_times(trak: bytes) -> list[Fraction] | None:
    start, _ = boxes.find(trak, b"trak", b"mdia", b"mdhd")
    version = trak[start + 8]
    (scale,) = struct.unpack_from(">I", trak, start + (28 if version else 20))
    parts = _tables(trak)
    runs = list(_pairs(trak, *parts[b"stts"])) if b"stts" in parts else []
    if not runs:
        return None  # a fragmented file: its samples are listed nowhere as a whole
    if b"stss" not in parts:
        return list(_times(runs, range(1, sum(count for count, _ in runs) + 1), scale))
    at, end = parts[b"stss"]
    (count,) = struct.unpack_from(">I", trak, at + 12)
    if at + 16 + 4 * count > end:
        return None
    return list(_times(runs, struct.unpack_from(f">{count}I", trak, at + 16), scale))


def _pairs(data: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    (count,) = struct.unpack_from(">I", data, at + 12)
    if at + 16 + 8 * count > end:
        raise boxes.BadBox("a table reaches behind its box")
    yield from struct.iter_unpack(">II", data[at + 16 : at + 16 + 8 * count])


def _times(runs: Sequence[tuple[int, int]], samples: Sequence[int], scale: int) -> Iterator[Fraction]:
    """Decode times of these samples (counted from 1, rising), in seconds from the first of them."""
    run, before, ticks, origin = 0, 0, 0, None
    for sample in samples:
        while run < len(runs) and sample - 1 >= before + runs[run][0]:
            before, ticks, run = before + runs[run][0], ticks + runs[run][0] * runs[run][1], run + 1
        if run == len(runs):
            return
        time = ticks + (sample - 1 - before) * runs[run][1]
        origin = time if origin is None else origin
        yield Fraction(time - origin, scale)


def _of_matroska(fetch: Fetch, size: int, stream_index: int) -> list[Fraction] | None:
    scale, numbers, cues = 1_000_000, list[int](), b""
    wanted = [_segment(fetch)]
    for at in wanted:
        for kind, start, end in _level_one(fetch, at, size):
            if kind == ebml.CLUSTER:
                break
            if end - start > _MAX_INDEX or kind not in {ebml.SEEK_HEAD, ebml.INFO, ebml.TRACKS, ebml.CUES}:
                continue
            body = fetch(start, end - start)
            fields = list(ebml.children(body, 0, len(body)))
            if kind == ebml.SEEK_HEAD and not cues and len(wanted) == 1:
                wanted += [wanted[0] + offset for offset in _seek_positions(body, fields)]
            elif kind == ebml.INFO:
                scale = next((ebml.number(body, each) for each in fields if each.kind == ebml.TIMESTAMP_SCALE), scale)
            elif kind == ebml.TRACKS:
                numbers = list(ebml.Tracks(ebml.element(kind, body)).types())
            elif kind == ebml.CUES:
                cues = body
                break
    if not cues or stream_index >= len(numbers):
        return None
    times = sorted(set(_cue_times(cues, numbers[stream_index])))
    return [Fraction((time - times[0]) * scale, 10**9) for time in times] or None


def _segment(fetch: Fetch) -> int:
    """Where the Segment's content starts."""
    head = fetch(0, 4096)
    top = ebml.header(head, 0)
    segment = ebml.header(head, top.end or 0)
    if top.kind != ebml.EBML or segment.kind != ebml.SEGMENT:
        raise ebml.BadElement("not Matroska")
    return segment.start


def _level_one(fetch: Fetch, at: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the elements from `at` on, one after the other."""
    for _ in range(_MAX_STEPS):
        if at >= size:
            return
        element = ebml.header(fetch(at, 12), 0)
        if element.end is None:
            yield element.kind, at + element.start, size
            return
        yield element.kind, at + element.start, at + element.end
        at += element.end


def _seek_positions(body: bytes, seeks: Sequence[ebml.Element]) -> Iterator[int]:
    """Where the Cues are, behind the Segment's start."""
    for seek in seeks:
        if seek.kind != ebml.SEEK:
            continue  # a checksum
        fields = {
            each.kind: body[each.start : each.end] for each in ebml.children(body, seek.start, seek.end or len(body))
        }
        if fields.get(ebml.SEEK_ID) == ebml.CUES:
            yield int.from_bytes(fields.get(ebml.SEEK_POSITION, b""))


def _cue_times(cues: bytes, track: int) -> Iterator[int]:
    for point in ebml.children(cues, 0, len(cues)):
        if point.kind != ebml.CUE_POINT:
            continue
        time, tracks = 0, set[int]()
        for each in ebml.children(cues, point.start, point.end or len(cues)):
            if each.kind == ebml.CUE_TIME:
                time = ebml.number(cues, each)
            elif each.kind == ebml.CUE_POSITIONS:
                fields = ebml.children(cues, each.start, each.end or len(cues))
                tracks |= {ebml.number(cues, field) for field in fields if field.kind == ebml.CUE_TRACK}
        if track in tracks:
            yield time
