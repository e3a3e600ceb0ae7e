"""From what ffmpeg writes to what is published: checks every fragment, stamps its place in the lecture, names it. Pure.

One cutter a rendition of a chunk. `feed` takes box after box and yields files as soon as they are whole; `finish` says
that nothing is missing. Nothing that fails a check is ever yielded, so nothing wrong is uploaded.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from academy_core.video import BASE_SECONDS, Audio, ChunkInput, Rung, Segment
from academy_video import boxes, ffmpeg

_HASH_DIGITS = 16
_AAC_CODEC = "mp4a.40.2"


class CutError(Exception):
    """ffmpeg's output is not what the plan says."""


class FrontMissing(CutError):
    """The chunk's first frames did not come: reading has to start earlier in the source."""


@dataclass(frozen=True, slots=True)
class File:
    """One file to publish; `segment` is None for the init."""

    name: str
    data: bytes
    content_type: str
    segment: Segment | None = None


class Cutter(Protocol):
    """Cuts one rendition of one chunk."""

    codec: str
    """RFC 6381; known once the init has been yielded."""

    @property
    def timescale(self) -> int:
        """Ticks a second of the rendition."""
        ...

    def feed(self, box: boxes.Box) -> Iterator[File]:
        """Files that are whole with this box. CutError or BadBox when the box is not what the plan says."""
        ...

    def finish(self) -> None:
        """The stream has ended: CutError when something is missing."""
        ...


def cutter(name: str, chunk: ChunkInput) -> Cutter:
    """The cutter of this rendition. KeyError when the plan has none of that name."""
    audio = chunk.encoding.audio
    if audio is not None and audio.name == name:
        return AudioCutter(audio, chunk)
    return VideoCutter({rung.name: rung for rung in chunk.encoding.rungs}[name], chunk)


def segment_frames(chunk: ChunkInput) -> list[tuple[int, int]]:
    """(first frame, end frame) of each segment of the chunk, on the absolute grid."""
    gop = chunk.encoding.gop
    return [(first, min(first + gop, chunk.end_frame)) for first in range(chunk.first_frame, chunk.end_frame, gop)]


def name_of(folder: str, stem: str, data: bytes, suffix: str) -> str:
    """A name that carries the start of the content's hash."""
    return f"{folder}/{stem}.{hashlib.sha256(data).hexdigest()[:_HASH_DIGITS]}.{suffix}"


def _init(rendition: str, data: bytes, content_type: str) -> File:
    return File(name_of(rendition, "init", data, "mp4"), data, content_type)


def _media(rendition: str, number: int, data: bytes, ticks: int, content_type: str) -> File:
    name = name_of(rendition, f"{number:06d}", data, "m4s")
    segment = Segment(name=name, number=number, duration_ticks=ticks, bytes=len(data))
    return File(name, data, content_type, segment)


class VideoCutter:
    """One rung: every fragment is one segment; only its sequence number and time are changed."""

    _TYPE = "video/mp4"

    def __init__(self, rung: Rung, chunk: ChunkInput) -> None:
        self.codec = ""
        self.timescale = chunk.encoding.timescale
        self._rung = rung
        self._tick = chunk.encoding.tick
        self._gop = chunk.encoding.gop
        self._first = chunk.first_frame
        self._left = segment_frames(chunk)
        self._head = b""
        self._moof: bytes | None = None
        self._delay = 0

    def feed(self, box: boxes.Box) -> Iterator[File]:
        """See Cutter.feed."""
        if box.kind == b"ftyp":
            self._head = box.data
        elif box.kind == b"moov":
            self.codec = boxes.video_codec(box.data)
            yield _init(self._rung.name, self._head + box.data, self._TYPE)
        elif box.kind == b"moof":
            self._moof = self._stamp(box.data)
        elif box.kind == b"mdat":
            yield self._segment(box.data)

    def finish(self) -> None:
        """See Cutter.finish."""
        if self._left:
            raise CutError(f"{self._rung.name}: {len(self._left)} segments did not come")

    def _stamp(self, moof: bytes) -> bytes:
        if not self._left:
            raise CutError(f"{self._rung.name}: more segments than planned")
        first, end = self._left[0]
        fragment = boxes.parse_moof(moof)
        frames = fragment.samples
        if first == self._first:
            if fragment.decode_time != 0:
                raise FrontMissing(
                    f"{self._rung.name}: {fragment.decode_time // self._tick} frames missing at the front"
                )
            self._delay = frames[0].cts
        if len(frames) != end - first:
            raise CutError(f"{self._rung.name}: segment of {len(frames)} frames instead of {end - first}")
        if not frames[0].sync or any(frame.sync for frame in frames[1:]):
            raise CutError(f"{self._rung.name}: a segment must have one key frame, its first")
        if any(frame.duration != self._tick for frame in frames):
            raise CutError(f"{self._rung.name}: a frame does not last one tick")
        if fragment.decode_time + frames[0].cts - self._delay != (first - self._first) * self._tick:
            raise CutError(f"{self._rung.name}: segment at the wrong time")
        decode_time = BASE_SECONDS * self.timescale + first * self._tick - frames[0].cts
        return boxes.restamp(moof, sequence=first // self._gop + 1, decode_time=decode_time)

    def _segment(self, mdat: bytes) -> File:
        if self._moof is None:
            raise CutError(f"{self._rung.name}: media without a fragment")
        (first, end), data = self._left.pop(0), self._moof + mdat
        self._moof = None
        return _media(self._rung.name, first // self._gop, data, (end - first) * self._tick, self._TYPE)


class AudioCutter:
    """The sound: packets are counted, pre-roll and post-roll dropped, the rest put into one fragment a segment."""

    _TYPE = "audio/mp4"

    def __init__(self, audio: Audio, chunk: ChunkInput) -> None:
        self.codec = _AAC_CODEC
        self.timescale: int = audio.sample_rate
        self._name = audio.name
        cut = ffmpeg.audio_cut(chunk)
        self._number = cut.first_sample // ffmpeg.AAC_FRAME
        self._first_packet = cut.first_packet
        gop = chunk.encoding.gop
        self._left = [(first // gop, ffmpeg.packet_at(chunk.encoding, end)) for first, end in segment_frames(chunk)]
        self._head = b""
        self._fragment: boxes.Fragment | None = None
        self._packets: list[bytes] = []

    def feed(self, box: boxes.Box) -> Iterator[File]:
        """See Cutter.feed."""
        if box.kind == b"ftyp":
            self._head = box.data
        elif box.kind == b"moov":
            yield _init(self._name, self._head + box.data, self._TYPE)
        elif box.kind == b"moof":
            self._fragment = boxes.parse_moof(box.data)
        elif box.kind == b"mdat":
            yield from self._take(box)

    def finish(self) -> None:
        """See Cutter.finish."""
        if self._left:
            raise CutError(f"{self._name}: {len(self._left)} segments did not come")

    def _take(self, mdat: boxes.Box) -> Iterator[File]:
        if self._fragment is None:
            raise CutError(f"{self._name}: media without a fragment")
        at = mdat.header
        for sample in self._fragment.samples:
            if at + sample.size > len(mdat.data):
                raise CutError(f"{self._name}: a packet reaches behind its media")
            yield from self._packet(mdat.data[at : at + sample.size])
            at += sample.size
        self._fragment = None

    def _packet(self, data: bytes) -> Iterator[File]:
        if self._left and self._number >= self._first_packet:
            self._packets.append(data)
            segment, end = self._left[0]
            if self._number == end - 1:
                yield self._segment(segment, end)
                self._left.pop(0)
                self._packets = []
        self._number += 1

    def _segment(self, number: int, end: int) -> File:
        first = end - len(self._packets)
        media = boxes.build_fragment(
            sequence=number + 1,
            decode_time=BASE_SECONDS * self.timescale + (first - 1) * ffmpeg.AAC_FRAME,
            duration=ffmpeg.AAC_FRAME,
            packets=self._packets,
        )
        return _media(self._name, number, media, len(self._packets) * ffmpeg.AAC_FRAME, self._TYPE)


def seconds_done(chunk: ChunkInput, frame: int) -> float:
    """Media seconds of the chunk that are encoded when ffmpeg has written `frame` frames."""
    done = min(frame, chunk.end_frame - chunk.first_frame)
    return float(Fraction(done) / ffmpeg.rate(chunk.encoding))
