"""What normalising makes: a Matroska file in pieces, with an index in front, on a time line that starts at 0. Pure.

    {prefix}intermediate/front.<hash>.mkv, 000000.<hash>.mkv, 000001.<hash>.mkv, ...

One after the other the pieces are one file; `Index` names them and holds what the next `video.normalise` goes on from.
It is an object too, since a long lecture's key frames are too many for a result. Times are ms, as in Matroska.
"""

import base64
import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import Field

from academy_core.kinds import Payload
from academy_core.video import INTERMEDIATE, Name
from academy_video import ebml

FOLDER = INTERMEDIATE.rstrip("/")
_HASH_DIGITS = 16
_CLUSTER_MS = 5000
_CLUSTER_BYTES = 4 * 1024 * 1024


class File(Payload):
    """One piece, an object of its own."""

    name: Name
    bytes: int


class Place(Payload):
    """Where a copy goes on: before a key frame that is known again by what it holds and what lies before it."""

    byte: int
    """Of the source: how far it was read when the key frame came out."""
    time: int
    """Of the key frame in the lecture."""
    pictures: str
    """Digest of the key frame and the pictures before it."""
    sounds: tuple[str, ...]
    """Digests of packets of the sound that end a second or more before the key frame."""
    sound_time: int | None = None
    """Of the last of `sounds` in the lecture; None without any."""
    number: int | None = None
    """How many pictures come before it in the source; None where they were not counted."""
    alike: bool = False
    """The source looked the same somewhere before: it is found by its number alone, counted from the start."""


class Shifts(NamedTuple):
    """What makes one run's times the lecture's, ms.

    Read from its middle, AVI counts its pictures and its sound from what comes first of each: they differ then.
    """

    picture: int
    sound: int


class Index(Payload):
    """What has been saved so far, or the whole once it has a front."""

    tracks: str
    """Matroska's Tracks element, base64."""
    encoded: bool = False
    """Whether the picture was encoded, or copied as it was."""
    rotation: int = 0
    """The source's display matrix, which Matroska does not keep, in degrees."""
    mirrored: bool = False
    """Likewise: left and right are exchanged before it is turned."""
    pieces: tuple[File, ...] = ()
    cues: tuple[tuple[int, int], ...] = ()
    """(time, offset in the pieces) of the clusters that start with a key frame."""
    pictures: int | None = None
    """How many are saved; None where a worker began that did not count."""
    last_picture: int = -1
    last_sound: int = -1
    loudness: dict[int, int] = Field(default_factory=dict)
    """How loud its sound is: see loudness.folded."""
    place: Place | None = None
    front: File | None = None

    @property
    def media_bytes(self) -> int:
        """Of all pieces."""
        return sum(piece.bytes for piece in self.pieces)

    def files(self) -> tuple[File, ...]:
        """The whole file's pieces in order. ValueError before it has ended."""
        if self.front is None:
            raise ValueError("the intermediate has not ended")
        return (self.front, *self.pieces)

    def keys(self) -> Iterator[str]:
        """See Payload.keys."""
        yield from (piece.name for piece in self.pieces)


def tracks_of(index: Index) -> ebml.Tracks:
    """The tracks, as read."""
    return ebml.Tracks(base64.b64decode(index.tracks))


def front_of(index: Index) -> bytes:
    """What stands before the pieces of a whole file."""
    tracks = tracks_of(index)
    duration = max(index.last_picture, index.last_sound)
    return ebml.front(tracks, index.cues, tracks.picture, duration, index.media_bytes)


class Clusters:
    """Puts blocks into clusters, each key frame of the picture at the start of one."""

    def __init__(self, picture: int) -> None:
        self._picture = picture
        self._blocks: list[ebml.Block] = []
        self._bytes = 0
        self.written = 0
        """Bytes given out so far."""
        self.cues: list[tuple[int, int]] = []
        """(time, offset in what was given out)."""

    def add(self, block: ebml.Block) -> Iterator[bytes]:
        """Take a block; yields the cluster before it, if that has ended."""
        key = block.key and block.track == self._picture
        if self._blocks and (key or self._full(block)):
            yield from self.flush()
        if key:
            self.cues.append((block.time, self.written))
        self._blocks.append(block)
        self._bytes += len(block.data)

    def flush(self) -> Iterator[bytes]:
        """The last cluster."""
        if self._blocks:
            data = ebml.cluster(self._blocks[0].time, self._blocks)
            self._blocks, self._bytes = [], 0
            self.written += len(data)
            yield data

    def _full(self, block: ebml.Block) -> bool:
        return abs(block.time - self._blocks[0].time) > _CLUSTER_MS or self._bytes > _CLUSTER_BYTES


class Memory:
    """The packets read last, by which a place in a source is known again when it is read from somewhere else.

    Times cannot tell: AVI has none, MPEG-TS may jump. Sound right before the key frame is left out: how it lies between
    pictures depends on where reading began.
    """

    _PICTURES = 8
    _SOUNDS = 8
    _UNCHANGED = 800
    """How many packets back a change of the sound is looked for: 20 s of AAC or MP3."""
    _RECENT = 4000
    _APART_MS = 1000

    def __init__(self, picture: int, *, whole: bool) -> None:
        """`picture`: number of its track. `whole`: the source is read from its start."""
        self._picture = picture
        self._whole = whole
        self._pictures: deque[bytes] = deque(maxlen=self._PICTURES)
        self._count = 0
        self._known: set[int] = set()
        self.alike = False
        """Whether the last key frame looks, with the pictures before it, like one before, or has too few of them."""
        self._newest = 0
        self._sounds: deque[ebml.Block] = deque(maxlen=self._RECENT)

    def feed(self, block: ebml.Block) -> None:
        """Take the next packet."""
        if block.track == self._picture:
            self._pictures.append(block.payload)
            self._count += 1
            self._newest = block.time
            if block.key:
                looks = hash(tuple(self._pictures))
                self.alike = looks in self._known or self._count < self._PICTURES
                self._known.add(looks)
        else:
            self._sounds.append(block)

    def sounds(self) -> Sequence[ebml.Block]:
        """Packets of the sound, the last ones, in order."""
        return tuple(self._sounds)

    def place(self, byte: int, key: ebml.Block, shifts: Shifts, number: int | None) -> Place:
        """The place of `key`, which was fed last. Its sounds end where sound last changed: silence is all alike."""
        time = key.time + shifts.picture
        sounds = [block for block in self._sounds if block.time + shifts.sound < time - self._APART_MS]
        recent = [block.payload for block in sounds[-self._UNCHANGED :]]
        changes = [at for at in range(1, len(recent)) if recent[at] != recent[at - 1]]
        if changes:
            del sounds[len(sounds) - len(recent) + changes[-1] + 1 :]
        sounds = sounds[-self._SOUNDS :]
        return Place(
            byte=byte,
            time=time,
            pictures=self._seen(),
            sounds=tuple(map(_digest, sounds)),
            sound_time=sounds[-1].time + shifts.sound if sounds else None,
            number=number,
            alike=self.alike,
        )

    def met(self, place: Place) -> Shifts | None:
        """The shifts of this run when the picture that was fed last is the place's key frame.

        Of sounds that are all alike, those are taken that leave the tracks as they lie in what is read.
        """
        counted = self._whole and place.number is not None
        if (counted and self._count - 1 != place.number) or self._seen() != place.pictures:
            return None
        picture = place.time - self._newest
        if place.sound_time is None:
            return Shifts(picture, picture)
        recent, wanted = [_digest(block) for block in self._sounds], list(place.sounds)
        ends = range(len(wanted), len(recent) + 1)
        sounds = (
            place.sound_time - self._sounds[end - 1].time for end in ends if recent[end - len(wanted) : end] == wanted
        )
        nearest = min(sounds, key=lambda sound: abs(sound - picture), default=None)
        if nearest is None:
            return Shifts(picture, picture) if counted else None
        return Shifts(picture, nearest)

    def _seen(self) -> str:
        return hashlib.sha256(b"".join(self._pictures)).hexdigest()[:_HASH_DIGITS]


def _digest(block: ebml.Block) -> str:
    return hashlib.sha256(block.payload).hexdigest()[:_HASH_DIGITS]
