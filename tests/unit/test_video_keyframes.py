"""Key frames as an MP4 or Matroska index lists them: exact where it matters, and small whatever the index claims."""

import struct
import tracemalloc
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from academy_video import ebml, keyframes

SCALE = 1000


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def table(kind: bytes, form: str, rows: Sequence[tuple[int, ...]]) -> bytes:
    return box(kind, struct.pack(">II", 0, len(rows)), *(struct.pack(form, *row) for row in rows))


def mp4(runs: Sequence[tuple[int, int]], syncs: Sequence[int] | None, *, extra: bytes = b"") -> bytes:
    """An index alone: `runs` are (samples, ticks each), `syncs` the samples that are key frames, counted from 1."""
    tables = [table(b"stts", ">II", runs)]
    if syncs is not None:
        tables.append(table(b"stss", ">I", [(sync,) for sync in syncs]))
    header = struct.pack(">IIIIIHH", 0, 0, 0, SCALE, 0, 0, 0)
    media = box(b"mdia", box(b"mdhd", header), box(b"minf", box(b"stbl", *tables)))
    return box(b"moov", box(b"trak", box(b"tkhd", struct.pack(">IIII", 0, 0, 0, 1)), media), extra)


def keys_of(data: bytes, container: str = "mov,mp4") -> list[Fraction] | None:
    return keyframes.of_source(container, lambda at, n: data[at : at + n], len(data), 0, "0x1")


def peak_of(data: bytes, container: str = "mov,mp4") -> tuple[list[Fraction] | None, int]:
    """The keys, and the most memory on the way, bytes."""
    tracemalloc.start()
    try:
        return keys_of(data, container), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_key_frames_are_timed_from_the_first_by_the_runs_before_them() -> None:
    assert keys_of(mp4([(10, 100), (5, 2000), (3, 40)], [2, 11, 13, 18])) == [
        0,
        Fraction("0.9"),
        Fraction("4.9"),
        Fraction("10.98"),
    ]


def test_without_a_table_of_key_frames_each_sample_is_one() -> None:
    keys = keys_of(mp4([(3, 700), (1, 9000), (1, 10)], None))
    assert keys == [0, Fraction("0.7"), Fraction("1.4"), Fraction("2.1"), Fraction("11.1")]


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=60))
@example([400, 400, 20_000, 100, 100, 30_000])
def test_of_close_key_frames_those_stay_that_bound_a_gap(ticks: list[int]) -> None:
    keys = keys_of(mp4([(1, each) for each in ticks], None))
    every = [Fraction(sum(ticks[:at]), SCALE) for at in range(len(ticks))]
    assert keys is not None
    assert set(keys) <= set(every)
    assert (keys[0], keys[-1]) == (every[0], every[-1])
    exact, found = (keyframes.longest_gap(each, every[-1]) for each in (every, keys))
    assert found == exact if exact >= Fraction(1, 2) else found <= Fraction(1, 2)
    assert len(keys) <= 2 + 4 * every[-1]


@pytest.mark.parametrize(
    "index",
    [
        pytest.param(mp4([(0xFFFFFFFF, 1)], None), id="samples"),
        pytest.param(mp4([(1_000_000, 1)] * 6, None), id="runs"),
        pytest.param(mp4([(0, 1)], None), id="none"),
        pytest.param(mp4([(9, 1)], None, extra=box(b"mvex")), id="fragmented"),
        pytest.param(
            mp4([(9, 1)], [1]).replace(
                struct.pack(">4sII", b"stss", 0, 1), struct.pack(">4sII", b"stss", 0, 2**32 - 1)
            ),
            id="claim",
        ),
    ],
)
def test_an_index_that_claims_too_much_is_none(index: bytes) -> None:
    keys, peak = peak_of(index)
    assert keys is None
    assert peak < 1_000_000


def test_a_long_index_takes_little_more_than_its_bytes() -> None:
    """Every picture of two hours is a key frame."""
    count = 2 * 3600 * 30
    index = mp4([(1, 33)] * count, range(1, count + 1))
    keys, peak = peak_of(index)
    assert keys is not None
    assert len(keys) <= 4 * 2 * 3600
    assert peak < 4 * len(index)


@pytest.mark.parametrize("kind", [ebml.SEEK_HEAD, ebml.TRACKS, ebml.CUES])
def test_what_fills_matroskas_headers_is_not_read(kind: bytes) -> None:
    void = b"\xec\x80" * (10 * 1024 * 1024)
    body = ebml.element(kind, void)
    data = ebml.element(ebml.EBML, b"") + ebml.SEGMENT + b"\x01" + b"\xff" * 7 + body
    keys, peak = peak_of(data, "matroska,webm")
    assert keys is None
    assert peak < 2 * len(data)
