"""The few boxes of fragmented MP4 (ISO/IEC 14496-12) that a chunk has to read, check and restamp.

ffmpeg writes each rendition to a pipe; `read_boxes` takes it apart while it comes. Everything here is
pure but the reading itself, and a box that is not whole is not a box: an ffmpeg that dies leaves nothing half made.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

MAX_BOX = 256 * 1024 * 1024
"""Larger is damage, not a segment (bytes)."""

_TRACK = 1
_DEFAULT_BASE_IS_MOOF = 0x020000
_NON_SYNC = 0x00010000
_SYNC_FLAGS = 0x02000000
_TFHD_BASE, _TFHD_DESCRIPTION, _TFHD_DURATION, _TFHD_SIZE, _TFHD_FLAGS = 0x1, 0x2, 0x8, 0x10, 0x20
_TRUN_OFFSET, _TRUN_FIRST_FLAGS = 0x1, 0x4
_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_CTS = 0x100, 0x200, 0x400, 0x800


class BadBox(Exception):
    """The bytes are not the fragmented MP4 that was asked for."""


@dataclass(frozen=True, slots=True)
class Box:
    """A whole top-level box, its header included."""

    kind: bytes
    data: bytes
    header: int
    """Length of the header: 8, or 16 with a 64-bit size."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame or packet; `duration` and `cts` (presentation minus decode time) in ticks of the track."""

    duration: int
    size: int
    sync: bool
    cts: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a moof with one track run says."""

    sequence: int
    decode_time: int
    samples: tuple[Sample, ...]


def read_boxes(read: Callable[[int], bytes]) -> Iterator[Box]:
    """Every whole box of a stream. `read(n)` gives 1 to n bytes, b'' at the end. BadBox on a size no box has."""
    while len(head := _exactly(read, 8)) == 8:  # noqa: PLR2004 - size and type
        size, kind = struct.unpack(">I4s", head)
        if size == 1:
            head += _exactly(read, 8)
            if len(head) < 16:  # noqa: PLR2004 - with the 64-bit size
                return
            (size,) = struct.unpack(">Q", head[8:])
        if not len(head) <= size <= MAX_BOX:
            raise BadBox(f"{kind!r} claims {size} bytes")
        data = head + _exactly(read, size - len(head))
        if len(data) < size:
            return
        yield Box(kind, data, len(head))


def _exactly(read: Callable[[int], bytes], count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0 and (part := read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def children(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the boxes that fill data[start:end]. BadBox when they do not fit."""
    while start < end:
        if end - start < 8:  # noqa: PLR2004 - size and type
            raise BadBox("rest too short for a box")
        size, kind = struct.unpack_from(">I4s", data, start)
        if not 8 <= size <= end - start:  # noqa: PLR2004
            raise BadBox(f"{kind!r} does not fit")
        yield kind, start, start + size
        start += size


def find(data: bytes, *path: bytes) -> tuple[int, int]:
    """(start, end) of the one box on this path; its first step is the box `data` itself. BadBox when it is not one."""
    start, end = 0, len(data)
    for depth, kind in enumerate(path):
        inner = start + 8 if depth else start
        found = [(at, to) for name, at, to in children(data, inner, end) if name == kind]
        if len(found) != 1:
            raise BadBox(f"{len(found)} boxes {kind!r} where one belongs")
        start, end = found[0]
    return start, end


class _Fields:
    """Reads big-endian fields of one box in order; BadBox past its end."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data, self._at, self._end = data, start, end

    def take(self, form: str) -> int:
        size = struct.calcsize(form)
        if self._at + size > self._end:
            raise BadBox("a box ends before its fields do")
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += size
        return int(value)


def parse_moof(data: bytes) -> Fragment:
    """The fragment that a moof describes. BadBox unless it has one track with one run."""
    mfhd = _Fields(data, *_body(data, b"moof", b"mfhd"))
    mfhd.take(">I")
    sequence = mfhd.take(">I")
    decode_time = _parse_tfdt(_Fields(data, *_body(data, b"moof", b"traf", b"tfdt")))
    defaults = _parse_tfhd(_Fields(data, *_body(data, b"moof", b"traf", b"tfhd")))
    samples = _parse_trun(_Fields(data, *_body(data, b"moof", b"traf", b"trun")), defaults)
    return Fragment(sequence, decode_time, samples)


def _body(data: bytes, *path: bytes) -> tuple[int, int]:
    start, end = find(data, *path)
    return start + 8, end


def _parse_tfdt(fields: _Fields) -> int:
    if fields.take(">I") >> 24 != 1:
        raise BadBox("tfdt is not 64 bit")
    return fields.take(">Q")


def _parse_tfhd(fields: _Fields) -> dict[int, int]:
    """Flag -> default value, of those that stand in the box."""
    flags = fields.take(">I") & 0xFFFFFF
    fields.take(">I")
    widths = {
        _TFHD_BASE: ">Q",
        _TFHD_DESCRIPTION: ">I",
        _TFHD_DURATION: ">I",
        _TFHD_SIZE: ">I",
        _TFHD_FLAGS: ">I",
    }
    return {flag: fields.take(form) for flag, form in widths.items() if flags & flag}


def _parse_trun(fields: _Fields, defaults: dict[int, int]) -> tuple[Sample, ...]:
    head = fields.take(">I")
    version, flags, count = head >> 24, head & 0xFFFFFF, fields.take(">I")
    if flags & _TRUN_OFFSET:
        fields.take(">i")
    first_flags = fields.take(">I") if flags & _TRUN_FIRST_FLAGS else None
    samples: list[Sample] = []
    for number in range(count):
        duration = fields.take(">I") if flags & _TRUN_DURATION else defaults.get(_TFHD_DURATION, 0)
        size = fields.take(">I") if flags & _TRUN_SIZE else defaults.get(_TFHD_SIZE, 0)
        sample_flags = fields.take(">I") if flags & _TRUN_FLAGS else defaults.get(_TFHD_FLAGS, 0)
        if number == 0 and first_flags is not None:
            sample_flags = first_flags
        cts = fields.take(">i" if version else ">I") if flags & _TRUN_CTS else 0
        samples.append(Sample(duration, size, not sample_flags & _NON_SYNC, cts))
    return tuple(samples)


def restamp(moof: bytes, *, sequence: int, decode_time: int) -> bytes:
    """The same moof with another sequence number and decode time; nothing moves, so its mdat stays valid."""
    stamped = bytearray(moof)
    at, _ = _body(moof, b"moof", b"mfhd")
    struct.pack_into(">I", stamped, at + 4, sequence)
    at, end = _body(moof, b"moof", b"traf", b"tfdt")
    _parse_tfdt(_Fields(moof, at, end))
    struct.pack_into(">Q", stamped, at + 4, decode_time)
    return bytes(stamped)


def build_fragment(*, sequence: int, decode_time: int, duration: int, packets: Sequence[bytes]) -> bytes:
    """A moof and mdat of sync samples of one duration, for track 1."""
    tfhd_flags = _DEFAULT_BASE_IS_MOOF | _TFHD_DURATION | _TFHD_FLAGS
    mfhd = _box(b"mfhd", struct.pack(">II", 0, sequence))
    tfhd = _box(b"tfhd", struct.pack(">IIII", tfhd_flags, _TRACK, duration, _SYNC_FLAGS))
    tfdt = _box(b"tfdt", struct.pack(">IQ", 1 << 24, decode_time))
    sizes = struct.pack(f">{len(packets)}I", *map(len, packets))
    run = struct.pack(">II", _TRUN_OFFSET | _TRUN_SIZE, len(packets))
    trun_bytes = 8 + len(run) + 4 + len(sizes)
    moof_bytes = 8 + len(mfhd) + 8 + len(tfhd) + len(tfdt) + trun_bytes
    trun = _box(b"trun", run + struct.pack(">i", moof_bytes + 8) + sizes)
    moof = _box(b"moof", mfhd + _box(b"traf", tfhd + tfdt + trun))
    return moof + _box(b"mdat", b"".join(packets))


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def video_codec(moov: bytes) -> str:
    """RFC 6381 name of an H.264 track, e.g. avc1.640028, from its decoder configuration."""
    start, end = _body(moov, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    entry, entry_end = next(((at, to) for name, at, to in children(moov, start + 8, end) if name == b"avc1"), (0, 0))
    for name, at, _ in children(moov, entry + 86, entry_end) if entry else ():  # 86: a visual sample entry's own fields
        if name == b"avcC":
            return f"avc1.{moov[at + 9 : at + 12].hex()}"
    raise BadBox("no avcC")
