"""The pure parts of lecture.transcribe: cutting at silences, words to subtitles, times by attention."""

import html
import json
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from academy_ai.kinds.lecture_transcribe import align, mel, model, speech, unread, words
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
def test_all_that_is_loud_long_enough_is_in_exactly_one_stretch(curve: speech.Curve) -> None:
    spans = speech.spans(curve)
    stretches = speech.stretches(spans, curve)
    for found in (spans, stretches):
        assert all(one[1] <= other[0] for one, other in pairwise(found))
        assert all(0 <= start < end <= len(curve) for start, end in found)
    assert all(end - start <= speech.LONGEST for start, end in stretches)
    covered = np.zeros(len(curve), bool)
    for start, end in stretches:
        covered[start:end] = True
    for start, end in spans:
        assert covered[start:end].all()
    for start in range(len(curve) - speech.LEAST_SPEECH):
        loud = curve[start : start + speech.LEAST_SPEECH] >= speech.SPEECH
        assert covered[start] or not loud.all()


@given(curves, st.sampled_from([5.0, 60.0, 600.0]))
def test_parts_are_all_stretches_in_order(curve: speech.Curve, seconds: float) -> None:
    stretches = speech.stretches(speech.spans(curve), curve)
    parts = speech.parts(stretches, seconds)
    assert [stretch for part in parts for stretch in part] == stretches
    assert all(part[-1][1] - part[0][0] <= seconds * speech.SECOND for part in parts if len(part) > 1)


@given(curves)
def test_windows_are_all_stretches_in_order_as_many_as_go_into_each(curve: speech.Curve) -> None:
    frames = speech.stretches(speech.spans(curve), curve)
    stretches = [(start / speech.SECOND, end / speech.SECOND) for start, end in frames]
    windows = speech.windows(stretches)
    assert [stretch for window in windows for stretch in window] == stretches
    lengths = [sum(end - start for start, end in window) for window in windows]
    longest = speech.LONGEST / speech.SECOND
    assert all(length <= longest + 1e-6 for length in lengths)
    following = [window[0][1] - window[0][0] for window in windows[1:]]
    assert all(length + more > longest - 1e-6 for length, more in zip(lengths, following, strict=False))


def test_a_long_span_is_cut_where_speech_is_weakest() -> None:
    curve = np.ones(round(50 * speech.SECOND), np.float32)
    curve[700:706] = 0.4  # a breath, too short to end the span
    stretches = speech.stretches(speech.spans(curve), curve)
    assert next(end for _, end in stretches) in range(699, 707)
    assert stretches[0][1] == stretches[1][0]


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
        moved += words.placed(part, [(at, at + length)])
        assert [word.text for word in moved[-1]] == [word.text for word in part]
        assert all(at <= word.start <= word.end <= at + length for word in moved[-1])
        at += length
    joined = words.joined(moved)
    assert joined == [word for part in moved for word in part]
    assert all(one.end <= other.start for one, other in pairwise(joined))


def test_words_go_back_to_the_stretch_they_were_said_in() -> None:
    stretches = [(10.0, 12.0), (30.0, 33.0)]
    said = [(0.0, 0.9), (0.9, 2.3), (1.9, 2.6), (2.6, 5.4)]
    placed = words.placed([Word(start, end, "a", 1) for start, end in said], stretches)
    # What reaches into the next stretch ends with its own; what begins a little early begins with its own.
    assert [[(round(word.start, 6), round(word.end, 6)) for word in each] for each in placed] == [
        [(10.0, 10.9), (10.9, 12.0)],
        [(30.0, 30.6), (30.6, 33.0)],
    ]


@given(spoken(), st.lists(st.tuples(st.floats(0, 60), st.floats(0.1, 30)), min_size=1, max_size=9))
def test_every_word_lies_in_a_stretch_and_in_order(said: list[Word], gaps: list[tuple[float, float]]) -> None:
    stretches, at = [], 0.0
    for gap, length in gaps:
        stretches.append((at + gap, at + gap + length))
        at = stretches[-1][1]
    placed = words.placed(said, stretches)
    flat = [word for each in placed for word in each]
    assert [word.text for word in flat] == [word.text for word in said]
    assert all(one.end <= other.start for one, other in pairwise(flat))
    for (start, end), each in zip(stretches, placed, strict=True):
        assert all(start <= word.start <= word.end <= end for word in each)


WINDOW = ((0.0, 3.0), (10.0, 13.0), (20.0, 21.0), (30.0, 33.0))
"""Ten seconds of sound."""


@pytest.mark.parametrize(
    ("said", "end", "missing"),
    [
        ([(0, 1), (1, 2.9), (3.1, 5), (6.1, 6.9), (7, 9.9)], 9.9, [3]),  # one word takes 2.9 s of the last stretch
        ([(0, 1.5), (1.5, 3), (3, 4.5), (4.5, 6), (6, 7), (7, 8.5), (8.5, 10)], 10, []),
        ([(0, 1), (1, 6.4), (6.4, 7), (7, 8.5), (8.5, 10)], 10, [0, 1]),  # one word reaches over the second stretch
        ([(0, 1.5), (1.5, 3), (3, 4.5), (4.5, 5.5)], 5.5, [2, 3]),  # the text ends early
        ([], 0, [0, 1, 2, 3]),
    ],
)
def test_speech_that_was_passed_over_is_found(said: list[tuple[float, float]], end: float, missing: list[int]) -> None:
    found = unread.stretches([Word(start, last, "a", 1) for start, last in said], WINDOW, end)
    assert found == missing


@given(st.integers(1, 12).flatmap(lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1)))))
def test_what_is_read_again_is_smaller_and_nothing_else(drawn: tuple[int, set[int]]) -> None:
    count, places = drawn
    window = tuple((10.0 * place, 10.0 * place + 2) for place in range(count))
    smaller = list(unread.apart(window, places))
    assert [stretch for each in smaller for stretch in each] == [window[place] for place in sorted(places)]
    assert all(len(each) < count for each in smaller) or count == 1


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
