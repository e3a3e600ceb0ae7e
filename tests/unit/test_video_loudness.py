"""Loudness from momentary blocks: gating as EBU R 128 has it, windows, and the gain they decide."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from academy_video import loudness

BLOCKS = st.lists(st.floats(-120, 0), max_size=200)


def test_silence_has_no_loudness_and_gets_no_gain() -> None:
    assert loudness.integrated([-120.0, -80.0]) is None
    assert loudness.gain([], -16) == 0
    assert loudness.gain([-90.0], -16) == 0


def test_pauses_do_not_count() -> None:
    assert loudness.integrated([-20.0] * 100 + [-60.0] * 300) == pytest.approx(-20)
    assert loudness.integrated([-20.0] * 100 + [-120.0] * 300) == pytest.approx(-20)


@given(BLOCKS, st.floats(-40, -5))
def test_the_gain_is_bounded_and_brings_the_lecture_to_the_target(blocks: list[float], target: float) -> None:
    gain = loudness.gain(blocks, target)
    assert -24 <= gain <= 24
    measured = loudness.integrated(blocks)
    if measured is not None and abs(target - measured) < 23:
        assert measured + gain == pytest.approx(target, abs=0.01)


@given(st.integers(1, 12 * 3600), st.integers(0, 100))
def test_windows_are_five_minutes_or_the_whole(seconds: int, start: int) -> None:
    found = loudness.windows(Fraction(start), Fraction(seconds))
    if seconds <= 300:
        assert found == (None,)
        return
    windows = [window for window in found if window is not None]
    assert sum(length for _, length in windows) >= 300
    assert windows[0][0] == start
    assert windows[-1][0] + windows[-1][1] == start + seconds


@given(st.integers(301, 12 * 3600), st.integers(0, 100), st.integers(1, 20))
def test_windows_begin_behind_key_frames(seconds: int, start: int, apart: int) -> None:
    keys = [Fraction(at) for at in range(start, start + seconds, apart)]
    plain = loudness.windows(Fraction(start), Fraction(seconds))
    for window, wanted in zip(loudness.windows(Fraction(start), Fraction(seconds), keys), plain, strict=True):
        assert window is not None
        assert wanted is not None
        assert window[1] == wanted[1]
        assert start <= window[0] <= max(wanted[0], Fraction(start))
        assert wanted[0] - window[0] <= apart
        assert window[0] == start or window[0] - Fraction(1, 5) in keys


@given(st.lists(st.integers(-690, 0), max_size=100))
def test_folding_keeps_every_block(tenths: list[int]) -> None:
    blocks = [each / 10 for each in tenths]
    half = loudness.folded(blocks[::2], {})
    assert sorted(loudness.unfolded(loudness.folded(blocks[1::2], half))) == sorted(blocks)


def test_what_ffmpeg_prints_is_read() -> None:
    text = "frame:0 pts:0 pts_time:0\nlavfi.r128.M=-23.5\nframe:1\nlavfi.r128.M=-120.691\nlavfi.r128.S=-3\n"
    assert list(loudness.momentaries(text)) == [-23.5, -120.691]
