"""Hostile files: real ones damaged by a seeded hand, and the ones people build to make a server misbehave."""

import ctypes
import os
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

EXTREMES = (0, 1, 0x7F, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


class OpenWatch:
    """Tells whether a file is opened, by whichever process (inotify)."""

    _IN_OPEN = 0x20

    def __init__(self, path: Path) -> None:
        """Raises OSError when the kernel gives no watch."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._events = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._events < 0 or libc.inotify_add_watch(self._events, os.fsencode(path), self._IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), "inotify")

    def opened(self) -> bool:
        """Whether it was opened since this was asked last."""
        try:
            return bool(os.read(self._events, 65_536))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Watch no more."""
        os.close(self._events)


def playlist(address: str) -> bytes:
    """An HLS playlist whose one segment is there."""
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{address}\n#EXT-X-ENDLIST\n".encode()


def manifest(address: str) -> bytes:
    """A DASH manifest of one file that is there."""
    return (
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S">'
        '<Period><AdaptationSet contentType="video"><Representation id="1" bandwidth="1" mimeType="video/mp4">'
        f"<BaseURL>{address}</BaseURL></Representation></AdaptationSet></Period></MPD>"
    ).encode()


def script(address: str) -> bytes:
    """A script of ffmpeg's that joins that file."""
    return f"ffconcat version 1.0\nfile '{address}'\n".encode()


def referring(movie: bytes, entry: bytes) -> bytes:
    """A QuickTime file, its index at the end, whose media is now to be found where `entry` says (a box of `dref`)."""
    return b"".join(_referring(kind, data, entry) for kind, data in _boxes(movie))


def url_entry(address: str) -> bytes:
    """The standard's reference to another file."""
    return _box(b"url ", bytes(4) + address.encode() + b"\0")


def alias_entry(path: str, *, relative: bool) -> bytes:
    """QuickTime's own: an alias record, to an absolute path or one beside the file itself."""
    name = path.encode()
    name += bytes(len(name) % 2)
    absolute_path, no_more = struct.pack(">HH", 2, len(name)), struct.pack(">HH", 0xFFFF, 0)
    # No volume, no file name; how many levels up from the file, and down from there.
    fixed = bytes(130) + struct.pack(">hh", relative, relative) + bytes(16)
    return _box(b"alis", bytes(4) + fixed + absolute_path + name + no_more)


_PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"dinf"}


def _referring(kind: bytes, data: bytes, entry: bytes) -> bytes:
    if kind in _PARENTS:
        data = b"".join(_referring(*child, entry) for child in _boxes(data))
    elif kind == b"dref":
        data = bytes(4) + struct.pack(">I", 1) + entry
    return _box(kind, data)


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        found.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size
    return found


def _box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data


@dataclass(frozen=True)
class Material:
    """What damaged files are made of."""

    files: Sequence[bytes]
    """Real ones."""
    texts: Sequence[bytes]
    """Playlists and scripts. What they name may differ from run to run, their length may not."""


Mutation = Callable[[random.Random, bytearray, Material], None]


def flip(rng: random.Random, data: bytearray, _: Material) -> None:
    """Single bytes, a few or many."""
    for _ in range(rng.choice((1, 8, 64, 1024))):
        data[rng.randrange(len(data))] = rng.randrange(256)


def head(rng: random.Random, data: bytearray, _: Material) -> None:
    """Bytes of the header, where sizes and tables are."""
    for _ in range(rng.choice((1, 4, 16))):
        data[rng.randrange(min(len(data), 2048))] = rng.randrange(256)


def extreme(rng: random.Random, data: bytearray, _: Material) -> None:
    """Numbers as large or small as they get: sizes, counts, durations, dimensions."""
    for _ in range(rng.choice((1, 4))):
        at = rng.choice((rng.randrange(len(data) - 4), rng.randrange(min(len(data), 4096) - 4)))
        struct.pack_into(rng.choice((">I", "<I")), data, at, rng.choice(EXTREMES))


def cut(rng: random.Random, data: bytearray, _: Material) -> None:
    """The end is missing."""
    del data[rng.randrange(1, len(data)) :]


def hole(rng: random.Random, data: bytearray, _: Material) -> None:
    """A stretch of zeroes, as of a download that was interrupted."""
    start = rng.randrange(len(data))
    length = min(len(data) - start, rng.choice((512, 4096, 65_536)))
    data[start : start + length] = bytes(length)


def remove(rng: random.Random, data: bytearray, _: Material) -> None:
    """A stretch is left out, so that every offset behind it is wrong."""
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 188, 4096, 65_536))]


def repeat(rng: random.Random, data: bytearray, _: Material) -> None:
    """A stretch comes twice."""
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.choice((188, 4096, 65_536))]


def graft(rng: random.Random, data: bytearray, material: Material) -> None:
    """The rest of another file, of another kind perhaps."""
    other = rng.choice(material.files)
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]


def smuggle(rng: random.Random, data: bytearray, material: Material) -> None:
    """A playlist or a script in front of, or over the start of, a real file."""
    text = rng.choice(material.texts)
    data[0 : rng.choice((0, len(text)))] = text


def rename(rng: random.Random, data: bytearray, _: Material) -> None:
    """A box or codec of another name."""
    names = (b"moov", b"trak", b"mdat", b"stsz", b"stco", b"stts", b"avc1", b"mp4a", b"moof", b"dref", b"ftyp", b"elst")
    found = [at for name in names if (at := bytes(data).find(name)) >= 0]
    if found:
        at = rng.choice(found)
        data[at : at + 4] = rng.choice(names)


MUTATIONS: tuple[Mutation, ...] = (flip, head, extreme, cut, hole, remove, repeat, graft, smuggle, rename)


def mutated(seed: int, number: int, material: Material) -> tuple[str, bytes]:
    """(what was done, the file) for this number of this seed: one to three mutations of one of the files."""
    rng = random.Random(f"{seed}-{number}")  # noqa: S311 - damage, always the same for a seed
    data = bytearray(material.files[number % len(material.files)])
    done: list[str] = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        mutation = MUTATIONS[rng.randrange(len(MUTATIONS))]
        if len(data) > 8:
            mutation(rng, data, material)
            done.append(mutation.__name__)
    return "+".join(done), bytes(data)
