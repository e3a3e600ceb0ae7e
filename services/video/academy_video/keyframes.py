"""Where a source's key frames are, as its own index says: what makes a source *direct* or *normalise*. Pure.

MP4 and MOV list them in their sample tables (ISO/IEC 14496-12: stss, stts), Matroska and WebM in their Cues (RFC 9559).
ffprobe prints neither without reading the whole file. Whatever is odd here means that there is no usable index.
"""

import contextlib
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import nlargest, nsmallest
from itertools import chain, islice, pairwise

from academy_video import boxes, ebml

Fetch = Callable[[int, int], bytes]
"""(offset, length) -> bytes of the source, fewer at its end."""

_MAX_INDEX = 64 * 1024 * 1024
"""Of MP4. What becomes objects of Python is bounded closer: it takes up to fifty times its bytes."""
_MAX_CUES = 16 * 1024 * 1024
_MAX_HEADERS = 1024 * 1024
"""Of all that is read of Matroska beside its Cues."""
_MAX_STEPS = 4096
"""Boxes or elements looked at on the way to the index."""
_MOST_ENTRIES = 12 * 3600 * 120
"""Samples at most: twelve hours at 120 a second."""
_APART = Fraction(1, 2)
"""Seconds: of key frames closer than this, only those are kept that bound a longer gap."""

_STANDING = 6
"""Key frames whose sound is looked for: those after which the next is the longest away, and as many others."""
_STANDS_FROM = 5 * 10**9
"""Nanoseconds from key frame to key frame, at least, in which a picture may have stood for long."""
_NEVER = (1 << 62, 0)
"""Behind the last key frame there is none."""
_MOST_BLOCKS = 400
_BLOCK_HEAD = 32
"""Bytes in which a block's head lies: kind, size, track, time."""
_FAR_NS = 1_000_000_000
"""Sound that is missing for so long from a key frame on may be a chunk's: they are read from two seconds before."""


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
    moov = _moov(fetch, size)
    if moov is None:
        return None
    parts = list(islice(boxes.children(moov, 8, len(moov)), _MAX_STEPS))
    if any(kind == b"mvex" for kind, _, _ in parts):
        return None  # a fragmented file: what its index lists, if anything, is its first fragment
    traks = (moov[start:end] for kind, start, end in parts if kind == b"trak")
    return next((_sync_times(trak) for trak in traks if _track_id(trak) == track), None)


def _tables(trak: bytes) -> dict[bytes, tuple[int, int]]:
    table, table_end = boxes.find(trak, b"trak", b"mdia", b"minf", b"stbl")
    return {kind: (at, end) for kind, at, end in islice(boxes.children(trak, table + 8, table_end), _MAX_STEPS)}


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
    if b"stts" not in parts:
        return None
    table = parts[b"stts"]
    samples = sum(count for count, _ in _rows(trak, *table, ">II"))
    if not 0 < samples <= _MOST_ENTRIES:
        return None
    syncs: Iterable[int] = range(1, samples + 1)
    if b"stss" in parts:
        syncs = (sample for (sample,) in _rows(trak, *parts[b"stss"], ">I"))
    return list(_bounding(_times(_rows(trak, *table, ">II"), syncs), scale)) or None


def _rows(data: bytes, at: int, end: int, form: str) -> Iterator[tuple[int, ...]]:
    """The rows of a table, one after the other: a hostile one is far larger as objects than as bytes."""
    (count,) = struct.unpack_from(">I", data, at + 12)
    size = struct.calcsize(form)
    if at + 16 + size * count > end or count > _MOST_ENTRIES:
        raise boxes.BadBox("a table is longer than its box or any lecture")
    yield from struct.iter_unpack(form, memoryview(data)[at + 16 : at + 16 + size * count])


def _times(runs: Iterator[tuple[int, ...]], samples: Iterable[int]) -> Iterator[int]:
    """Decode times of these samples (counted from 1, rising), in ticks; `runs` are (how many, ticks each)."""
    before, ticks, count, each = 0, 0, 0, 0
    for sample in samples:
        while sample - 1 >= before + count:
            before, ticks = before + count, ticks + count * each
            count, each = next(runs, (0, -1))
            if each < 0:
                return
        yield ticks + (sample - 1 - before) * each


def _bounding(times: Iterable[int], scale: int) -> Iterator[Fraction]:
    """Seconds from the first, of the times (rising) but those that lie closer than `_APART` to both neighbours."""
    origin = kept = before = None
    for time in times:
        if origin is None or kept is None or before is None:
            origin = kept = before = time
            yield Fraction(0)
        elif Fraction(time - kept, scale) >= _APART:
            if before != kept:
                yield Fraction(before - origin, scale)
            yield Fraction(time - origin, scale)
            kept = before = time
        else:
            before = time
    if origin is not None and before is not None and before != kept:
        yield Fraction(before - origin, scale)


@dataclass(frozen=True, slots=True)
class _Matroska:
    """What the headers of a Matroska file say. `cues` is empty when there are none."""

    start: int
    """Of the Segment's content: offsets count from here."""
    scale: int
    """Nanoseconds of a unit of time."""
    tracks: Sequence[int]
    """The number of each stream."""
    cues: bytes
    lasting: bool
    """Whether they say how long it is."""


def _of_matroska(fetch: Fetch, size: int, stream_index: int) -> list[Fraction] | None:
    found = _matroska(fetch, size)
    if not found.cues or stream_index >= len(found.tracks):
        return None
    times = sorted({time for time, _ in _cue_points(found.cues, found.tracks[stream_index])})
    return list(_bounding((time * found.scale for time in times), 10**9)) or None


def _matroska(fetch: Fetch, size: int) -> _Matroska:
    scale, numbers, cues, lasting, left = 1_000_000, list[int](), b"", False, _MAX_HEADERS
    wanted = [_segment(fetch)]
    for at in wanted:
        for kind, start, end in _level_one(fetch, at, size):
            if kind == ebml.CLUSTER:
                break
            if kind == ebml.CUES and end - start <= _MAX_CUES:
                cues = fetch(start, end - start)
                break
            if end - start > left or kind not in {ebml.SEEK_HEAD, ebml.INFO, ebml.TRACKS}:
                continue
            body, left = fetch(start, end - start), left - (end - start)
            fields = list(ebml.children(body, 0, len(body)))
            if kind == ebml.SEEK_HEAD and not cues and len(wanted) == 1:
                wanted += [wanted[0] + offset for offset in _seek_positions(body, fields)]
            elif kind == ebml.INFO:
                scale = next((ebml.number(body, each) for each in fields if each.kind == ebml.TIMESTAMP_SCALE), scale)
                lasting = any(each.kind == ebml.DURATION for each in fields)
            elif kind == ebml.TRACKS:
                numbers = list(ebml.Tracks(ebml.element(kind, body)).types())
    return _Matroska(wanted[0], scale, numbers, cues, lasting)


def says_how_long(container: str, fetch: Fetch, size: int) -> bool:
    """Whether a duration is the header's own: where Matroska has none ffprobe guesses one from bit rates."""
    if "matroska" not in container.split(","):
        return True
    try:
        return _matroska(fetch, size).lasting
    except (ebml.BadElement, struct.error, ValueError):
        return False


def sound_lies_apart(container: str, fetch: Fetch, size: int, picture: int, sound: int) -> bool:
    """Whether the sound of a key frame's time lies before it in a Matroska file, where reading from there misses it.

    ffmpeg writes it so where the picture stood for ten seconds while it was encoded. `picture` and `sound` are places
    among the streams.
    """
    if "matroska" not in container.split(","):
        return False
    try:
        found = _matroska(fetch, size)
        if max(picture, sound) >= len(found.tracks):
            return False
        looked_at = dict.fromkeys(before for before, _ in _may_stand(found, found.tracks[picture]))
        after = ((time, _heard_from(fetch, found, offset, sound, time)) for time, offset in looked_at)
        return any(heard is not None and (heard - time) * found.scale > _FAR_NS for time, heard in after)
    except (ebml.BadElement, struct.error, ValueError):
        return False


def _may_stand(found: _Matroska, track: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs of a key frame's point and the next one's, between which the picture is likely to stand for longest."""
    lasting = pairwise(chain(_cue_points(found.cues, track), [_NEVER]))
    yield from nlargest(_STANDING, lasting, key=lambda pair: pair[1][0] - pair[0][0])
    # Where it stands and the sound lies elsewhere next to nothing is left.
    long = (
        pair
        for pair in pairwise(_cue_points(found.cues, track))
        if (pair[1][0] - pair[0][0]) * found.scale > _STANDS_FROM
    )
    yield from nsmallest(_STANDING, long, key=lambda pair: Fraction(pair[1][1] - pair[0][1], pair[1][0] - pair[0][0]))


def _heard_from(fetch: Fetch, found: _Matroska, offset: int, sound: int, time: int) -> int | None:
    """Time of the first sound from `time` on that lies behind the cluster at `offset`; None when none is near."""
    at, base = found.start + offset, 0
    for _ in range(_MOST_BLOCKS):
        head = fetch(at, _BLOCK_HEAD)
        element = ebml.header(head, 0)
        if element.kind in {ebml.CLUSTER, ebml.BLOCK_GROUP}:
            at += element.start
            continue
        if element.end is None:
            return None
        if element.kind == ebml.TIMESTAMP:
            base = ebml.number(head, element)
        elif element.kind in {ebml.SIMPLE_BLOCK, ebml.BLOCK}:
            track, relative_at = ebml.vint(head, element.start)
            (relative,) = struct.unpack_from(">h", head, relative_at)
            if track == found.tracks[sound] and base + relative >= time:
                return base + int(relative)
        at += element.end
    return None


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


def _cue_points(cues: bytes, track: int) -> Iterator[tuple[int, int]]:
    """(time, offset of the cluster) of each point of the track."""
    for point in ebml.children(cues, 0, len(cues)):
        if point.kind != ebml.CUE_POINT:
            continue
        time, places = 0, dict[int, int]()
        for each in ebml.children(cues, point.start, point.end or len(cues)):
            if each.kind == ebml.CUE_TIME:
                time = ebml.number(cues, each)
            elif each.kind == ebml.CUE_POSITIONS:
                fields = {
                    field.kind: ebml.number(cues, field)
                    for field in ebml.children(cues, each.start, each.end or len(cues))
                }
                places[fields.get(ebml.CUE_TRACK, 0)] = fields.get(ebml.CUE_CLUSTER, 0)
        if track in places:
            yield time, places[track]
