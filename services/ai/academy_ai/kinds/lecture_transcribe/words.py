"""Words with times: joined, cut into subtitles, written as WebVTT and JSON. Pure."""

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import accumulate

LINE = {"ko": 20, "en": 42}
"""Characters a line; a Korean one is twice as wide."""
LINES = 2
LONGEST_CUE = 7.0
PAUSE = 0.8
"""Seconds without a word after which a new subtitle begins."""
SENTENCE_ENDS = (".", "?", "!", "…", "。")
LEAST_CUE = 0.3
"""A shorter subtitle is shown for this long, where the next one leaves room."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word: start and end in seconds, text without blanks around it, probability 0 to 1."""

    start: float
    end: float
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle."""

    start: float
    end: float
    words: tuple[Word, ...]


def placed(words: Iterable[Word], stretches: Sequence[tuple[float, float]]) -> list[list[Word]]:
    """Of each stretch of a window its words, moved to where it lies: those whose middle it holds, none beyond it."""
    ends = list(accumulate(end - start for start, end in stretches))
    out: list[list[Word]] = [[] for _ in stretches]
    last = 0.0
    for word in words:
        at = min(bisect_right(ends, (word.start + word.end) / 2), len(ends) - 1)
        start, end = stretches[at]
        moved = end - ends[at]
        begin = min(max(word.start + moved, last, start), end)
        last = min(max(word.end + moved, begin), end)
        out[at].append(replace(word, start=begin, end=last))
    return out


def joined(parts: Iterable[Sequence[Word]]) -> list[Word]:
    """All words in the order of the lecture. ValueError when a part reaches into the next: a word might be doubled."""
    out: list[Word] = []
    for part in parts:
        if out and part and part[0].start < out[-1].end:
            raise ValueError(f"parts overlap at {part[0].start:.3f} s")
        out.extend(part)
    return out


def cues(words: Sequence[Word], language: str) -> list[Cue]:
    """Subtitles: every word in exactly one, in order; none overlaps the next."""
    groups = list(_groups(words, LINE[language] * LINES))
    starts = [group[0].start for group in groups]
    following = [*starts, float("inf")][1:]
    return [
        Cue(start, min(max(group[-1].end, start + LEAST_CUE), after), tuple(group))
        for group, start, after in zip(groups, starts, following, strict=True)
    ]


def _groups(words: Sequence[Word], room: int) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in words:
        if group and (
            word.start - group[-1].end > PAUSE
            or group[-1].text.endswith(SENTENCE_ENDS)
            or len(_text(group)) + 1 + len(word.text) > room
            or word.end - group[0].start > LONGEST_CUE
        ):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _text(words: Iterable[Word]) -> str:
    return " ".join(word.text for word in words)


def lines(words: Sequence[Word], width: int) -> list[str]:
    """The text of a subtitle on at most LINES lines, broken so that they are of about one length."""
    text = _text(words)
    blanks = [at for at, sign in enumerate(text) if sign == " "]
    if len(text) <= width or not blanks:
        return [text]
    cut = min(blanks, key=lambda at: abs(len(text) - 2 * at))
    return [text[:cut], text[cut + 1 :]]


def vtt(found: Iterable[Cue], language: str) -> str:
    """WebVTT (https://www.w3.org/TR/webvtt1/)."""
    blocks = [f"{clock(cue.start)} --> {clock(cue.end)}\n{_shown(cue, language)}" for cue in found]
    return "\n\n".join(["WEBVTT", *blocks]) + "\n"


def _shown(cue: Cue, language: str) -> str:
    return escape("\n".join(lines(cue.words, LINE[language])), quote=False)


def clock(seconds: float) -> str:
    """HH:MM:SS.mmm."""
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}.{whole % 1000:03}"


def to_json(words: Iterable[Word], language: str) -> str:
    """The track's words for a machine; times to the millisecond."""
    listed = [
        {
            "start": round(word.start, 3),
            "end": round(word.end, 3),
            "text": word.text,
            "probability": round(word.probability, 3),
        }
        for word in words
    ]
    return json.dumps({"language": language, "words": listed}, ensure_ascii=False)
