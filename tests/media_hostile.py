"""Hostile files: real ones damaged by a seeded hand, and the ones people build to make a server misbehave."""

import random
import struct
from collections.abc import Callable, Sequence

EXTREMES = (0, 1, 0x7F, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n"
SCRIPT = b"ffconcat version 1.0\nfile 'file:///etc/passwd'\n"

Mutation = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def flip(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Single bytes, a few or many."""
    for _ in range(rng.choice((1, 8, 64, 1024))):
        data[rng.randrange(len(data))] = rng.randrange(256)


def head(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Bytes of the header, where sizes and tables are."""
    for _ in range(rng.choice((1, 4, 16))):
        data[rng.randrange(min(len(data), 2048))] = rng.randrange(256)


def extreme(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """Numbers as large or small as they get: sizes, counts, durations, dimensions."""
    for _ in range(rng.choice((1, 4))):
        at = rng.choice((rng.randrange(len(data) - 4), rng.randrange(min(len(data), 4096) - 4)))
        struct.pack_into(rng.choice((">I", "<I")), data, at, rng.choice(EXTREMES))


def cut(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """The end is missing."""
    del data[rng.randrange(1, len(data)) :]


def hole(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A stretch of zeroes, as of a download that was interrupted."""
    start = rng.randrange(len(data))
    length = min(len(data) - start, rng.choice((512, 4096, 65_536)))
    data[start : start + length] = bytes(length)


def remove(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A stretch is left out, so that every offset behind it is wrong."""
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 188, 4096, 65_536))]


def repeat(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A stretch comes twice."""
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.choice((188, 4096, 65_536))]


def graft(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    """The rest of another file, of another kind perhaps."""
    other = rng.choice(others)
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]


def smuggle(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A playlist or a script in front of, or over the start of, a real file."""
    text = rng.choice((PLAYLIST, SCRIPT))
    data[0 : rng.choice((0, len(text)))] = text


def rename(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A box or codec of another name."""
    names = (b"moov", b"trak", b"mdat", b"stsz", b"stco", b"stts", b"avc1", b"mp4a", b"moof", b"dref", b"ftyp", b"elst")
    found = [at for name in names if (at := bytes(data).find(name)) >= 0]
    if found:
        at = rng.choice(found)
        data[at : at + 4] = rng.choice(names)


MUTATIONS: tuple[Mutation, ...] = (flip, head, extreme, cut, hole, remove, repeat, graft, smuggle, rename)


def mutated(seed: int, number: int, files: Sequence[bytes]) -> tuple[str, bytes]:
    """(what was done, the file) for this number of this seed: one to three mutations of one of the files."""
    rng = random.Random(f"{seed}-{number}")  # noqa: S311 - damage, always the same for a seed
    data = bytearray(files[number % len(files)])
    done: list[str] = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        mutation = MUTATIONS[rng.randrange(len(MUTATIONS))]
        if len(data) > 8:
            mutation(rng, data, files)
            done.append(mutation.__name__)
    return "+".join(done), bytes(data)
