"""Tesseract as a reader of exams: its English model reads what is no Hangul by its shape, its Korean model the rest.

The Korean model alone makes syllables of letters, sure of itself; the English one letters of syllables. So words that
`latin` finds are read by themselves, and blanked out before the Korean pass where that made sense of them.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import cv2
import numpy as np

from academy_ai import columns, tesseract
from academy_ai.columns import Line
from academy_ai.kinds.exam_ocr import latin
from academy_ai.kinds.exam_ocr.latin import Run
from academy_ai.paper import Gray
from academy_ai.text import Lines, Word, rows

ENGLISH = re.compile(r"[0-9.,]*([A-Za-z]['a-z-]*|[A-Z][A-Z-]*)[0-9]*[.,:;?!]?")
NUMBER = re.compile(r"[0-9]+([.,][0-9]+)*[.,]?")
UNITS = re.compile(r"[0-9.,]*(km|cm|mm|kg|mg|m[lL]|dL|Hz|kW|pH)[.,]?")
LITTLE = re.compile(r"(is|in|it|of|to|at|an|am|as|be|by|do|he|we|me|my|no|on|or|so|up|us|if|go)[.,]?")
"""Short words that exams have; others of two letters are likelier a syllable. The second kind always stand alone."""
MOSTLY = 0.4
"""Share of a line's ink that is in English words from which on it is read in English."""
SURE_OF_LINE, LEAST_IN_LINE = 0.8, 0.3
"""Confidence of a line that is English, on the mean and of its least certain word."""
BESIDE = 6
"""Pixels to both sides of a word that stands alone that have no ink."""
SURE, SURE_OF_UNIT, SURE_OF_SHORT, SURE_OF_NUMBER = 0.6, 0.8, 0.93, 0.93
"""Least confidence of the English pass: of words of three letters and more, of UNITS, other short ones, numbers."""
DOUBT = 0.1
"""By how much surer it must be without its last letter."""
STROKES = set("oil")
"""Letters that are what syllables are made of: `에` looks like `oll`."""
SHORT = 2
SCALE = 0.75
"""Of what the English pass is shown: it reads letters best that are some 20 pixels high."""
PAD = 20
"""Pixels of white around each line and word that is read."""
DROPPED = 1.5
"""Line heights at the end of a line from which on what was not read was dropped."""
DARK = 128
TALL = 2.2
"""Line heights from which on a line is a figure or a table, and what is written in it stands in rows."""
SPECKS, DIRT = re.compile(r"[_|＊~`'^.,:;-]+"), 0.5
"""What dirt is read as, and with less than which confidence."""
MISTAKEN = {
    "옳": re.compile(r"옮(?=은|지 ?않)|(?<![가-힣])[올율을](?=은 ?것|지 ?않은)"),
    "둠": re.compile(r"(?<=[모어])[눔돔]|(?<=모)[둥둔]|(?<=모 )눔"),
}
"""Syllables that the Korean model does not know, and what it makes of them, which is no word: it reads `옳은 것`, which
exams ask for all the time, as `옮은 것`, `모둠` and `어둠` as `모눔` and `어돔`."""
SPACE = 0.2
"""Line heights of blank that part words."""


Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the picture."""


class Tesseract:
    """A text.Reader in this process."""

    name = "tesseract"

    def lines(self, picture: Gray) -> Lines:
        """See text.Reader."""
        seen = columns.layout(picture, single=True)
        lines = [line for column in seen.columns for line in column.lines]
        flat = [line for line in lines if line.y1 - line.y0 <= TALL * seen.em]
        words = _english(picture, latin.runs(seen))
        whole = _sentences(picture, flat, words)
        english = [word for word in words if not any(_within(word, line) for line, _ in whole)]
        rest = picture.copy()
        for word in english:
            rest[word.y : word.y + word.height, word.x : word.x + word.width] = 255
        mixed = [_around(line) for line in flat if all(line is not other for other, _ in whole)]
        korean = [mended(line) for line in _korean(rest, mixed, seen.em)]
        tall = [line for line in lines if line not in flat]
        for block in _read(rest, list(map(_around, tall)), "kor", tesseract.BLOCK):
            korean += rows(block)
        found = [line for line in map(_swept, korean) if line] + [line for _, line in whole]
        return _with(found, english)


def _korean(picture: Gray, boxes: Sequence[Box], em: float) -> Lines:
    """Each line as the Korean pass reads it. It drops the rest of a line at times: then it gets it as a block."""
    found = _read(picture, boxes, "kor")
    cut = [place for place, box in enumerate(boxes) if _unread(picture, box, found[place]) > DROPPED * em]
    for place, words in zip(cut, _read(picture, [boxes[place] for place in cut], "kor", tesseract.BLOCK), strict=True):
        if sum(len(word.text) for word in words) > sum(len(word.text) for word in found[place]):
            found[place] = sorted(words, key=lambda word: word.x)
    return found


def _unread(picture: Gray, box: Box, words: Sequence[Word]) -> int:
    """Pixels at the end of a line that have ink and of which nothing was read."""
    x0, y0, x1, y1 = box
    ink = np.flatnonzero((picture[y0:y1, x0:x1] < DARK).any(axis=0))
    end = max((word.x + word.width for word in words), default=x0)
    return x0 + int(ink[-1]) - end if len(ink) else 0


def _around(line: Line) -> Box:
    return line.x0, line.y0, line.x1, line.y1


def _read(picture: Gray, boxes: Sequence[Box], language: str, mode: int = tesseract.LINE, scale: float = 1.0) -> Lines:
    """What is read in each box by itself, placed in the picture."""
    cuts = []
    for x0, y0, x1, y1 in boxes:
        cut = cv2.resize(picture[y0:y1, x0:x1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        cuts.append(np.asarray(cv2.copyMakeBorder(cut, PAD, PAD, PAD, PAD, cv2.BORDER_CONSTANT, value=255), np.uint8))

    def placed(word: Word, x0: int, y0: int) -> Word:
        x, y = x0 + round((word.x - PAD) / scale), y0 + round((word.y - PAD) / scale)
        return replace(word, x=x, y=y, width=round(word.width / scale), height=round(word.height / scale))

    found = tesseract.words(cuts, language, mode)
    return [[placed(word, x0, y0) for word in words] for (x0, y0, _, _), words in zip(boxes, found, strict=True)]


def _english(picture: Gray, runs: Sequence[Run]) -> list[Word]:
    """What the English pass is sure of. The last letter of a run may be the beginning of a syllable (`DNA에`)."""
    boxes = [_box(run) for run in runs] + [_box(run[:-1]) for run in runs]
    found = [_joined(box, words) for box, words in zip(boxes, _read(picture, boxes, "eng", scale=SCALE), strict=True)]
    chosen = map(_surer, found[: len(runs)], found[len(runs) :])
    return [word for word in chosen if word is not None and (not LITTLE.fullmatch(word.text) or _alone(picture, word))]


def _sentences(picture: Gray, lines: Sequence[Line], words: Sequence[Word]) -> list[tuple[Line, list[Word]]]:
    """Lines that these words mostly are, as the English pass reads them whole: short words need their line.

    A line that goes on in Korean is left out: what the English pass makes of syllables is nothing to be sure of.
    """
    likely = [line for line in lines if _share(line, words) >= MOSTLY]
    read = _read(picture, list(map(_around, likely)), "eng", scale=SCALE)
    return [
        (line, sorted(found, key=lambda word: word.x))
        for line, found in zip(likely, read, strict=True)
        if found and all(word.text.isascii() for word in found) and _sure(found)
    ]


def _sure(found: Sequence[Word]) -> bool:
    sure = [word.confidence for word in found]
    return fmean(sure) >= SURE_OF_LINE and min(sure) >= LEAST_IN_LINE


def _share(line: Line, words: Sequence[Word]) -> float:
    """Of a line's ink, by width: what stands in these words."""
    here = [word for word in words if _within(word, line)]
    inside = [
        piece.width
        for piece in line.pieces
        if any(word.x <= (piece.x0 + piece.x1) / 2 <= word.x + word.width for word in here)
    ]
    return sum(inside) / max(1, sum(piece.width for piece in line.pieces))


def _within(word: Word, line: Line) -> bool:
    return line.y0 <= word.y + word.height / 2 <= line.y1


def _alone(picture: Gray, word: Word) -> bool:
    """Whether there is blank on both sides."""
    band = picture[word.y : word.y + word.height]
    left, right = band[:, max(0, word.x - BESIDE) : word.x], band[:, word.x + word.width :][:, :BESIDE]
    return not (left < DARK).any() and not (right < DARK).any()


def _box(run: Run) -> Box:
    return run[0].x0, min(one.y0 for one in run), run[-1].x1, max(one.y1 for one in run)


def _joined(box: Box, words: Sequence[Word]) -> Word | None:
    """One word of all that was read in a box; None for nothing."""
    if not words:
        return None
    sure = min(word.confidence for word in words)
    return Word("".join(word.text for word in words), box[0], box[1], box[2] - box[0], box[3] - box[1], sure)


def _surer(full: Word | None, less: Word | None) -> Word | None:
    """The whole run's word, or the word without its last letter where that letter adds nothing but doubt."""
    if full is not None and sensible(full.text, full.confidence):
        surer = less is not None and less.confidence > full.confidence + DOUBT and sensible(less.text, less.confidence)
        if not surer and (less is None or less.text != full.text):
            return full
    return less if less is not None and sensible(less.text, less.confidence) else None


def sensible(text: str, confidence: float) -> bool:
    """Whether what the English pass read is a word or a number, and not what it makes of a syllable."""
    if len(text) == 1:
        return text.isascii() and text.isupper() and confidence >= SURE_OF_SHORT
    if NUMBER.fullmatch(text):
        return confidence >= SURE_OF_NUMBER
    if UNITS.fullmatch(text) or LITTLE.fullmatch(text):
        return confidence >= SURE_OF_UNIT
    if not ENGLISH.fullmatch(text) or set(text.lower()) <= STROKES:
        return False
    if sum(letter.isalpha() for letter in text) > SHORT:
        return confidence >= SURE
    return text.isupper() and confidence >= SURE_OF_SHORT  # `AB` of geometry; `He` is what `모리` looks like


def mended(line: list[Word]) -> list[Word]:
    """The line with what the Korean model always gets wrong put right, sign for sign."""
    text, starts = "", []
    for before, word in zip([None, *line], line, strict=False):
        if before is not None and word.x - before.x - before.width > SPACE * word.height:
            text += " "
        starts.append(len(text))
        text += word.text
    fixed = text
    for right, wrong in MISTAKEN.items():
        fixed = wrong.sub(right, fixed)
    return [replace(word, text=fixed[start : start + len(word.text)]) for word, start in zip(line, starts, strict=True)]


def _swept(line: list[Word]) -> list[Word]:
    """The line without what the Korean model sees in the blank where a word was taken out, or in dirt."""
    return [word for word in line if word.confidence >= DIRT or not SPECKS.fullmatch(word.text)]


def _with(korean: Lines, words: Sequence[Word]) -> Lines:
    """The Korean pass's lines with the words put back where they stood."""
    out = [list(line) for line in korean]
    for word in words:
        middle = word.y + word.height / 2
        home = next((line for line in out if _top(line) <= middle <= _foot(line)), None)
        if home is None:
            out.append([word])
        else:
            home.append(word)
    return [sorted(line, key=lambda word: word.x) for line in sorted(out, key=_top)]


def _top(line: list[Word]) -> int:
    return min(word.y for word in line)


def _foot(line: list[Word]) -> int:
    return max(word.y + word.height for word in line)
