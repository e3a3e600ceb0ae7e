"""From a straight picture of print to lines of text. Third step of `run`.

A text.Reader reads the lines; circled digits, formulae and figures, which none reads well, are blanked out before;
the first two are set back where they stood.
"""

from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

import cv2
import numpy as np

from academy_ai import circled, columns
from academy_ai.circled import Circled
from academy_ai.columns import Layout
from academy_ai.kinds.exam_ocr.figures import figures
from academy_ai.kinds.exam_ocr.formulae import Ink, Region, formulae
from academy_ai.paper import Gray
from academy_ai.text import Reader, Word

LINE = 40.0
"""Pixels of a line's height at which Tesseract reads best."""
MARGIN = 24
"""Pixels of white around what is read."""
SPACE = (0.16, 0.33)
"""Line heights of blank between which what parts words is told from what parts syllables."""
USUAL = 0.23
"""Where that is where a picture has too few blanks to tell."""
FEW = 12


@dataclass(frozen=True, slots=True)
class Text:
    """A stretch of a line: a word, a circled digit or a formula's mark; its box in pixels of the picture."""

    text: str
    confidence: float
    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True, slots=True)
class Read:
    """What a picture says: lines from top to bottom, each from left to right; its formulae and figures."""

    lines: tuple[tuple[Text, ...], ...]
    formulae: tuple[Region, ...]
    figures: tuple[Region, ...] = ()


def read(picture: Gray, reader: Reader) -> Read:
    """Read a straight picture of print on white paper, one column wide. Raises what the reader raises."""
    layout = columns.layout(picture, single=True)
    em = layout.em
    if em == 0:
        return Read((), ())
    rings = circled.counted(circled.circled(picture, em))
    found = formulae(layout.ink, em)
    drawn = figures(picture, layout, found)
    scale = LINE / em
    bare = _blanked(picture, [*rings, *found, *drawn])
    grown = cv2.resize(bare, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    framed = np.asarray(
        cv2.copyMakeBorder(grown, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=255), np.uint8
    )
    lines = [[_placed(word, scale) for word in line] for line in reader.lines(framed)]
    signs = [Text(circled.SIGNS[one.digit - 1], one.likeness, *_box(one)) for one in rings if one.digit is not None]
    marks = [Text(f"⟦{number}⟧", 1.0, *_box(one)) for number, one in enumerate(found, start=1)]
    space = _space(layout)
    return Read(
        tuple(_joined(line, layout.ink, space) for line in _set_back(lines, [*signs, *marks])),
        tuple(found),
        tuple(drawn),
    )


def _space(layout: Layout) -> float:
    """Pixels of blank that part words: in the widest hole between the blanks of a picture, narrow and wide ones."""
    narrow, wide = (share * layout.em for share in SPACE)
    lines = (line for column in layout.columns for line in column.lines)
    blanks = [end - start for line in lines for start, end in _blanks(layout.ink, line.x0, line.x1, line.y0, line.y1)]
    between = sorted({narrow, wide, *(float(blank) for blank in blanks if narrow < blank < wide)})
    if sum(blank > narrow for blank in blanks) < FEW:
        return USUAL * layout.em
    hole = max(pairwise(between), key=lambda pair: pair[1] - pair[0])
    return (hole[0] + hole[1]) / 2


def _blanks(ink: Ink, left: int, right: int, top: int, foot: int) -> list[tuple[int, int]]:
    """From where to where no ink is, across a line."""
    bare = np.concatenate([[0], ink[top:foot, left:right].max(axis=0, initial=0) == 0, [0]]).astype(np.int8)
    turns = np.flatnonzero(np.diff(bare)) + left
    return list(zip(turns[::2].tolist(), turns[1::2].tolist(), strict=True))


def _joined(line: tuple[Text, ...], ink: Ink, space: float) -> tuple[Text, ...]:
    """Pieces of one word as one."""
    spaced = _spaced(line, ink, space)
    out: list[Text] = []
    for place, one in enumerate(line):
        last = out[-1] if out else None
        if last is None or place in spaced or last.text in circled.SIGNS or one.text in circled.SIGNS:
            out.append(one)
            continue
        sure = min(last.confidence, one.confidence)
        box = last.x0, min(last.y0, one.y0), max(last.x1, one.x1), max(last.y1, one.y1)
        out[-1] = Text(last.text + one.text, sure, *box)
    return tuple(out)


def _spaced(line: tuple[Text, ...], ink: Ink, space: float) -> set[int]:
    """Places in the line before which there is a space: each wide blank belongs to the nearest seam.

    Readers place syllables only roughly, so where they say that one ends and the next begins, no gap need be.
    """
    top, foot = min(one.y0 for one in line), max(one.y1 for one in line)
    left, right = min(one.x0 for one in line), max(one.x1 for one in line)
    seams = np.array([(before.x1 + one.x0) / 2 for before, one in pairwise(line)])
    wide = [(start + end) / 2 for start, end in _blanks(ink, left, right, top, foot) if end - start > space]
    return {int(np.abs(seams - blank).argmin()) + 1 for blank in wide if len(seams)}


def _box(one: Circled | Region) -> tuple[int, int, int, int]:
    return one.x0, one.y0, one.x1, one.y1


def _blanked(picture: Gray, boxes: list[Circled | Region]) -> Gray:
    out = picture.copy()
    for one in boxes:
        out[max(0, one.y0 - 1) : one.y1 + 1, max(0, one.x0 - 1) : one.x1 + 1] = 255
    return out


def _placed(word: Word, scale: float) -> Text:
    x0, y0 = round((word.x - MARGIN) / scale), round((word.y - MARGIN) / scale)
    return Text(
        word.text,
        word.confidence,
        max(0, x0),
        max(0, y0),
        round((word.x + word.width - MARGIN) / scale),
        round((word.y + word.height - MARGIN) / scale),
    )


def _set_back(lines: list[list[Text]], signs: list[Text]) -> tuple[tuple[Text, ...], ...]:
    """The signs put into the lines that they stand on, or on lines of their own."""
    out = [list(line) for line in lines]
    for sign in signs:
        middle = (sign.y0 + sign.y1) / 2
        home = min(out, key=lambda line: abs(_middle(line) - middle), default=None)
        if home is not None and min(one.y0 for one in home) <= middle <= max(one.y1 for one in home):
            home.append(sign)
        else:
            out.append([sign])
    return tuple(
        tuple(sorted(line, key=lambda one: one.x0))
        for line in sorted(out, key=lambda line: min(one.y0 for one in line))
    )


def _middle(line: list[Text]) -> float:
    return fmean((one.y0 + one.y1) / 2 for one in line)
