"""The few elements of Matroska (RFC 9559) that normalising reads and writes. Pure but for the reading itself.

`read` takes ffmpeg's Matroska output apart while it comes, block by block; `cluster` and `front` write it again on
one time line and with an index in front, which ffmpeg cannot do into a pipe. All times are ms.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

MAX_ELEMENT = 256 * 1024 * 1024
"""Larger is damage (bytes)."""

EBML, SEGMENT, SEEK_HEAD, INFO, TRACKS, CLUSTER, CUES = (
    bytes.fromhex(each) for each in ("1A45DFA3", "18538067", "114D9B74", "1549A966", "1654AE6B", "1F43B675", "1C53BB6B")
)
SEEK, SEEK_ID, SEEK_POSITION = bytes.fromhex("4DBB"), bytes.fromhex("53AB"), bytes.fromhex("53AC")
TIMESTAMP_SCALE, DURATION = bytes.fromhex("2AD7B1"), bytes.fromhex("4489")
TRACK_ENTRY, TRACK_NUMBER, TRACK_UID, TRACK_TYPE = b"\xae", b"\xd7", bytes.fromhex("73C5"), b"\x83"
CODEC_ID, AUDIO, SAMPLING_FREQUENCY, CHANNELS = b"\x86", b"\xe1", b"\xb5", b"\x9f"
TIMESTAMP, SIMPLE_BLOCK, BLOCK_GROUP, BLOCK, REFERENCE = b"\xe7", b"\xa3", b"\xa0", b"\xa1", b"\xfb"
CUE_POINT, CUE_TIME, CUE_POSITIONS, CUE_TRACK, CUE_CLUSTER = b"\xbb", b"\xb3", b"\xb7", b"\xf7", b"\xf1"
_SOUND = 2
_PACKED_AAC = b"A_AAC/MPEG4/LC"
"""AAC without a CodecPrivate: what each packet says of itself counts, and this only until the first one."""
_WRITER = b"academy"
_UNKNOWN = b"\x01" + 7 * b"\xff"
"""The size of what ends where the stream does."""
_KEY = 0x80


class BadElement(Exception):
    """The bytes are not the Matroska that was asked for."""


@dataclass(frozen=True, slots=True)
class Element:
    """Where an element lies in its bytes. `end` is None when its size is unknown."""

    kind: bytes
    start: int
    """Of its content."""
    end: int | None


@dataclass(frozen=True, slots=True)
class Block:
    """One packet. `data` is the whole SimpleBlock or BlockGroup element; its time within the cluster is at `at`."""

    track: int
    time: int
    key: bool
    data: bytes
    at: int

    def moved(self, shift: int) -> "Block":
        """The same at another time."""
        return Block(self.track, self.time + shift, self.key, self.data, self.at)

    @property
    def payload(self) -> bytes:
        """The packet with what follows it in its element."""
        return self.data[self.at + 3 :]


def _vint_length(first: int) -> int:
    if first == 0:
        raise BadElement("a number longer than 8 bytes")
    return 9 - first.bit_length()


def vint(data: bytes, at: int) -> tuple[int | None, int]:
    """(value, where it ends) of the variable-length number at `at`; None says unknown. BadElement when it is cut."""
    end = at + _vint_length(data[at]) if at < len(data) else len(data) + 1
    if end > len(data):
        raise BadElement("cut inside a number")
    bits = 7 * (end - at)
    value = int.from_bytes(data[at:end]) & (1 << bits) - 1
    return (None if value == (1 << bits) - 1 else value), end


def header(data: bytes, at: int) -> Element:
    """The element that starts at `at`. BadElement when its header is not whole."""
    if at >= len(data):
        raise BadElement("no element")
    id_end = at + _vint_length(data[at])
    size, start = vint(data, id_end)
    return Element(data[at:id_end], start, None if size is None else start + size)


def children(data: bytes, start: int, end: int) -> Iterator[Element]:
    """The elements that fill data[start:end]. BadElement when they do not fit."""
    while start < end:
        element = header(data, start)
        if element.end is None or element.end > end:
            raise BadElement("an element reaches behind its parent")
        yield element
        start = element.end


def number(data: bytes, element: Element) -> int:
    """An unsigned integer element's value."""
    return int.from_bytes(data[element.start : element.end])


@dataclass(frozen=True, slots=True)
class Tracks:
    """The Tracks element as it came, header included."""

    data: bytes

    def types(self) -> dict[int, int]:
        """Track number -> type: 1 is a picture, 2 is sound."""
        top = header(self.data, 0)
        found: dict[int, int] = {}
        for entry in children(self.data, top.start, len(self.data)):
            if entry.kind == TRACK_ENTRY and entry.end is not None:
                fields = {each.kind: number(self.data, each) for each in children(self.data, entry.start, entry.end)}
                found[fields.get(TRACK_NUMBER, 0)] = fields.get(TRACK_TYPE, 0)
        return found

    @property
    def picture(self) -> int:
        """Number of the first track that is a picture. BadElement when there is none."""
        for track, kind in self.types().items():
            if kind == 1:
                return track
        raise BadElement("no track with a picture")

    def with_packed_sound(self) -> "Tracks":
        """The same, its sound AAC whose packets describe themselves (ADTS), whatever it was called until now."""
        top = header(self.data, 0)
        parts = [
            self._packed(entry) if entry.kind == TRACK_ENTRY else self._copied(entry)
            for entry in children(self.data, top.start, len(self.data))
        ]
        return Tracks(element(TRACKS, b"".join(parts)))

    def _packed(self, entry: Element) -> bytes:
        fields = {each.kind: each for each in self._children(entry)}
        if TRACK_TYPE not in fields or number(self.data, fields[TRACK_TYPE]) != _SOUND or AUDIO not in fields:
            return self._copied(entry)
        kept = [self._copied(fields[kind]) for kind in (TRACK_NUMBER, TRACK_UID, TRACK_TYPE) if kind in fields]
        rate = [self._copied(each) for each in self._children(fields[AUDIO]) if each.kind == SAMPLING_FREQUENCY]
        audio = element(AUDIO, b"".join(rate) + _uint(CHANNELS, 2))
        return element(TRACK_ENTRY, b"".join(kept) + element(CODEC_ID, _PACKED_AAC) + audio)

    def _children(self, parent: Element) -> Iterator[Element]:
        return children(self.data, parent.start, len(self.data) if parent.end is None else parent.end)

    def _copied(self, each: Element) -> bytes:
        return element(each.kind, self.data[each.start : each.end])


def read(source: Callable[[int], bytes]) -> Iterator[Tracks | Block]:
    """The tracks, then each block of a stream, a cut end left out. `source(n)` gives 1 to n bytes, b'' at the end."""
    while (head := _read_header(source)) is not None:
        kind, size = head
        if kind == SEGMENT:
            continue  # its children follow
        if size is None or size > MAX_ELEMENT:
            raise BadElement(f"{kind.hex()} claims {size} bytes")
        body = _exactly(source, size)
        if len(body) < size:
            return
        if kind == TRACKS:
            yield Tracks(TRACKS + _size(size) + body)
        elif kind == CLUSTER:
            yield from _blocks(body)


def _read_header(source: Callable[[int], bytes]) -> tuple[bytes, int | None] | None:
    """(id, size) of the next element, None at the end."""
    head = b""
    for _ in range(2):
        first = _exactly(source, 1)
        if not first:
            return None
        head += first + _exactly(source, _vint_length(first[0]) - 1)
    try:
        element = header(head, 0)
    except BadElement:  # the stream ended inside it
        return None
    return element.kind, None if element.end is None else element.end - element.start


def _exactly(source: Callable[[int], bytes], count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0 and (part := source(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _blocks(body: bytes) -> Iterator[Block]:
    base = 0
    for element in children(body, 0, len(body)):
        if element.kind == TIMESTAMP:
            base = number(body, element)
        elif element.kind == SIMPLE_BLOCK:
            yield _block(body, element, element, base, key=None)
        elif element.kind == BLOCK_GROUP and element.end is not None:
            parts = {each.kind: each for each in children(body, element.start, element.end)}
            if BLOCK in parts:
                yield _block(body, element, parts[BLOCK], base, key=REFERENCE not in parts)


def _block(body: bytes, whole: Element, inner: Element, base: int, *, key: bool | None) -> Block:
    """`whole` is the element that is kept, `inner` the one with the packet."""
    track, at = vint(body, inner.start)
    (relative,) = struct.unpack_from(">h", body, at)
    if key is None:
        key = bool(body[at + 2] & _KEY)
    data = element(whole.kind, body[whole.start : whole.end])
    return Block(track or 0, base + relative, key, data, at - whole.start + len(element(whole.kind, b"")))


def _size(value: int) -> bytes:
    return (value | 1 << 56).to_bytes(8)


def element(kind: bytes, body: bytes) -> bytes:
    """An element; its size always takes 8 bytes, so that lengths can be foreseen."""
    return kind + _size(len(body)) + body


def _uint(kind: bytes, value: int) -> bytes:
    return element(kind, value.to_bytes(8))


def cluster(time: int, blocks: Sequence[Block]) -> bytes:
    """A cluster that starts at `time`."""
    parts = [_uint(TIMESTAMP, time)]
    for block in blocks:
        data = bytearray(block.data)
        struct.pack_into(">h", data, block.at, block.time - time)
        parts.append(bytes(data))
    return element(CLUSTER, b"".join(parts))


def front(tracks: Tracks, cues: Sequence[tuple[int, int]], picture: int, duration: int, media_bytes: int) -> bytes:
    """All that stands before the clusters of a whole file: headers, tracks and the index.

    `cues`: (time, offset behind the front) of each cluster that starts with a key frame of track `picture`.
    """
    before = _info(element(DURATION, struct.pack(">d", duration))) + tracks.data
    length = len(before) + len(_cues(cues, picture, 0))
    body = before + _cues(cues, picture, length)
    return _top() + SEGMENT + _size(len(body) + media_bytes) + body


def opening(tracks: Tracks) -> bytes:
    """What stands before the clusters of a stream: nobody knows yet how many they are."""
    return _top() + SEGMENT + _UNKNOWN + _info() + tracks.data


def _top() -> bytes:
    return element(EBML, element(b"\x42\x82", b"matroska") + _uint(b"\x42\x87", 4) + _uint(b"\x42\x85", 2))


def _info(duration: bytes = b"") -> bytes:
    names = element(b"\x4d\x80", _WRITER) + element(b"\x57\x41", _WRITER)
    return element(INFO, _uint(TIMESTAMP_SCALE, 1_000_000) + duration + names)


def _cues(cues: Sequence[tuple[int, int]], picture: int, shift: int) -> bytes:
    return element(
        CUES,
        b"".join(
            element(
                CUE_POINT,
                _uint(CUE_TIME, time)
                + element(CUE_POSITIONS, _uint(CUE_TRACK, picture) + _uint(CUE_CLUSTER, offset + shift)),
            )
            for time, offset in cues
        ),
    )
