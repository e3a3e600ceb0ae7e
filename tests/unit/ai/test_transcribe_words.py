"""The pure parts of lecture.transcribe: cutting at silences, words to subtitles, times by attention."""

import html
import json
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from academy_ai.kinds.lecture_transcribe import align, mel, model, speech, words
from academy_ai.kinds.lecture_transcribe.words import Word

curves = st.lists(
    st.tuples(st.integers(1, 400), st.sampled_from([0.0, 0.2, 0.45, 0.6, 1.0])), min_size=1, max_size=40
).map(lambda runs: np.concatenate([np.full(length, value, np.float32) for length, value in runs]))

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Z")), min_size=1, max_size=60)


@st.composite
def spoken(draw: st.DrawFn) -> list[Word]:
    """Words as an engine gives them: in order, some without length, some apart."""
    now = 0.0
    found = []
    for text in draw(st.lists(TEXTS, max_size=60)):
        start = now + draw(st.sampled_from([0.0, 0.05, 0.3, 2.0, 40.0]))
        now = start + draw(st.sampled_from([0.0, 0.1, 0.4, 9.0]))
        found.append(Word(start, now, text, 0.5))
    return found


@given(curves)
def test_all_that_is_loud_long_enough_is_in_exactly_one_window(curve: speech.Curve) -> None:
    spans = speech.spans(curve)
    windows = speech.windows(spans, curve)
    for stretch in (spans, windows):
        assert all(one[1] <= other[0] for one, other in pairwise(stretch))
        assert all(0 <= start < end <= len(curve) for start, end in stretch)
    assert all(end - start <= speech.LONGEST for start, end in windows)
    assert all(other[0] - one[1] >= 0 for one, other in pairwise(windows))
    covered = np.zeros(len(curve), bool)
    for start, end in windows:
        covered[start:end] = True
    for start, end in spans:
        assert covered[start:end].all()
    for start in range(len(curve) - speech.LEAST_SPEECH):
        loud = curve[start : start + speech.LEAST_SPEECH] >= speech.SPEECH
        assert covered[start] or not loud.all()


@given(curves, st.sampled_from([5.0, 60.0, 600.0]))
def test_parts_are_all_windows_in_order(curve: speech.Curve, seconds: float) -> None:
    windows = speech.windows(speech.spans(curve), curve)
    parts = speech.parts(windows, seconds)
    assert [window for part in parts for window in part] == windows
    assert all(part[-1][1] - part[0][0] <= seconds * speech.SECOND for part in parts if len(part) > 1)


def test_a_long_span_is_cut_where_speech_is_weakest() -> None:
    curve = np.ones(round(50 * speech.SECOND), np.float32)
    curve[700:706] = 0.4  # a breath, too short to end the span
    windows = speech.windows(speech.spans(curve), curve)
    assert next(end for _, end in windows) in range(699, 707)
    assert windows[0][1] == windows[1][0]


@given(spoken(), st.sampled_from(["ko", "en"]))
def test_every_word_is_in_exactly_one_subtitle_and_none_overlap(said: list[Word], language: str) -> None:
    cues = words.cues(said, language)
    assert [word for cue in cues for word in cue.words] == said
    assert all(one.end <= other.start for one, other in pairwise(cues))
    assert all(cue.start <= cue.end for cue in cues)
    for cue in cues:
        shown = words.lines(cue.words, words.LINE[language])
        assert len(shown) <= words.LINES
        assert " ".join(shown) == " ".join(word.text for word in cue.words)


@given(spoken(), st.sampled_from(["ko", "en"]))
def test_webvtt_and_json_say_the_same(said: list[Word], language: str) -> None:
    text = words.vtt(words.cues(said, language), language)
    header, *blocks = text.strip("\n").split("\n\n")
    assert header == "WEBVTT"
    shown = []
    for block in blocks:
        times, *lines = block.split("\n")
        assert re.fullmatch(r"\d\d+:\d\d:\d\d\.\d{3} --> \d\d+:\d\d:\d\d\.\d{3}", times)
        assert not any("<" in line or "-->" in line for line in lines)
        shown += html.unescape(" ".join(lines)).split(" ")
    listed = json.loads(words.to_json(said, language))["words"]
    assert [word["text"] for word in listed] == [word.text for word in said]
    assert [html.unescape(html.escape(word.text, quote=False)) for word in said] == shown or said == []


@given(st.lists(spoken(), max_size=5))
def test_parts_are_joined_without_a_lost_or_doubled_word(parts: list[list[Word]]) -> None:
    moved, at = [], 0.0
    for part in parts:
        length = 1000.0
        moved.append(words.placed(part, at, at + length))
        assert [word.text for word in moved[-1]] == [word.text for word in part]
        assert all(at <= word.start <= word.end <= at + length for word in moved[-1])
        at += length
    joined = words.joined(moved)
    assert joined == [word for part in moved for word in part]
    assert all(one.end <= other.start for one, other in pairwise(joined))


def test_parts_that_overlap_are_an_error() -> None:
    one, other = [Word(0, 2, "a", 1)], [Word(1.9, 3, "b", 1)]
    with pytest.raises(ValueError, match="overlap"):
        words.joined([one, other])


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "00:00:00.000"), (3599.9996, "01:00:00.000"), (360_000.5, "100:00:00.500")]
)
def test_clock(seconds: float, text: str) -> None:
    assert words.clock(seconds) == text


def test_tokens_become_words_at_blanks_and_signs_made_of_several_tokens_stay_whole() -> None:
    vocabulary = [b" \xec\x95", b"\x88", "녕".encode(), b"!", b" Good", b" ", b"\xff"]
    reading = model.Reading((0, 1, 2, 3, 4), (0.0, 0.1, 0.2, 0.3, 0.5, 0.9), (1.0, 0.5, 1.0, 1.0, 0.8), 0.0)
    assert model.words(reading, vocabulary) == [Word(0.0, 0.5, "안녕!", 0.875), Word(0.5, 0.9, "Good", 0.8)]
    blank = model.Reading((5,), (0.0, 0.1), (1.0,), 0.0)
    assert model.words(blank, vocabulary) == []


@given(st.lists(st.integers(2, 12), min_size=2, max_size=12), st.integers(0, 2**32 - 1))
def test_alignment_finds_where_attention_steps_on(lengths: list[int], seed: int) -> None:
    """Attention that rests on each token's own frames is followed to the frame, give or take the smoothing."""
    frames = sum(lengths) * 4
    attention = np.random.default_rng(seed).uniform(0, 0.02, (3, len(lengths), frames)).astype(np.float32)
    begins = np.cumsum([0, *[4 * length for length in lengths]])
    for token, (start, end) in enumerate(pairwise(begins)):
        attention[:, token, start:end] += 1
    found = align.starts(attention)
    assert np.abs(found - begins[:-1]).max() <= align.MEDIAN // 2
    assert (np.diff(found) >= 0).all()


def test_log_mel_of_silence_and_of_a_tone() -> None:
    silence = mel.log_mel(np.zeros(speech.RATE, np.float32))
    assert silence.shape == (mel.BANDS, mel.FRAMES)
    assert np.ptp(silence) == 0
    tone = mel.log_mel(np.sin(2 * np.pi * 1000 * np.arange(speech.RATE) / speech.RATE).astype(np.float32))
    loudest = tone[:, 50].argmax()
    assert 25 <= loudest <= 28  # Slaney's scale puts 1 kHz at 15 of 45.2 mels, 26 or 27 of 80 bands
    assert tone[loudest, 50] > tone[loudest, 200]  # it ended after a second
