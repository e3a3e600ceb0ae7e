"""From a straight picture of print to lines of text. Third step of `run`.

Tesseract's Korean pass reads the lines; words that are no Hangul are taken from its English pass where that is surer;
circled digits and formulae, which neither reads, are blanked out before and set back where they stood.
"""

import re
from dataclasses import dataclass
from statistics import fmean

import cv2
import numpy as np

from academy_ai import circled, columns, tesseract
from academy_ai.circled import Circled
from academy_ai.kinds.exam_ocr.formulae import Region, formulae
from academy_ai.paper import Gray
from academy_ai.tesseract import Word

LINE = 40.0
"""Pixels of a line's height at which Tesseract reads best."""
MARGIN = 24
"""Pixels of white around what it reads."""
UNSURE = 0.75
"""Confidence of the Korean pass under which the English one is asked even for words without Latin letters."""
SURE = 0.85
"""Confidence of the English pass that outweighs unsure Hangul."""
HANGUL = re.compile(r"[가-힣ㄱ-ㅎㅏ-ㅣ]")
LATIN = re.compile(r"[A-Za-z]")
ENGLISH = re.compile(r"[(\"']?[A-Za-z][A-Za-z0-9'-]*[)\"',.:;?!]*")
SPACE = 0.2
"""Line heights of blank that part words; Tesseract parts Korean syllables too."""
SAME = 0.7
"""Share of a word's width that another pass's word must cover to be the same."""


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
    """What a picture says: lines from top to bottom, each from left to right; and its formulae."""

    lines: tuple[tuple[Text, ...], ...]
    formulae: tuple[Region, ...]


def read(picture: Gray) -> Read:
    """Read a straight picture of print on white paper, one column wide."""
    layout = columns.layout(picture)
    em = layout.em
    if em == 0:
        return Read((), ())
    rings = [one for one in circled.circled(picture, em) if one.digit is not None]
    found = formulae(layout, em)
    scale = LINE / em
    bare = _blanked(picture, [*rings, *found])
    grown = cv2.resize(bare, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    framed = np.asarray(
        cv2.copyMakeBorder(grown, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_CONSTANT, value=255), np.uint8
    )
    words = _words(framed)
    lines = [[_placed(word, scale) for word in line] for line in words]
    signs = [Text(circled.SIGNS[one.digit - 1], one.likeness, *_box(one)) for one in rings if one.digit is not None]
    marks = [Text(f"⟦{number}⟧", 1.0, *_box(one)) for number, one in enumerate(found, start=1)]
    return Read(tuple(_joined(line, em) for line in _set_back(lines, [*signs, *marks])), tuple(found))


def _joined(line: tuple[Text, ...], em: float) -> tuple[Text, ...]:
    """Pieces of one word as one."""
    out: list[Text] = []
    for one in line:
        last = out[-1] if out else None
        if last is None or one.x0 - last.x1 > SPACE * em or last.text in circled.SIGNS or one.text in circled.SIGNS:
            out.append(one)
            continue
        sure = min(last.confidence, one.confidence)
        box = last.x0, min(last.y0, one.y0), max(last.x1, one.x1), max(last.y1, one.y1)
        out[-1] = Text(last.text + one.text, sure, *box)
    return tuple(out)


def _box(one: Circled | Region) -> tuple[int, int, int, int]:
    return one.x0, one.y0, one.x1, one.y1


def _blanked(picture: Gray, boxes: list[Circled | Region]) -> Gray:
    out = picture.copy()
    for one in boxes:
        out[max(0, one.y0 - 1) : one.y1 + 1, max(0, one.x0 - 1) : one.x1 + 1] = 255
    return out


def _words(picture: Gray) -> list[list[Word]]:
    """The words by line, both passes weighed."""
    korean = [word for word in tesseract.words(picture, "kor", mode=6) if word.text]
    if not any(LATIN.search(word.text) or word.confidence < UNSURE for word in korean):
        english = []
    else:
        english = tesseract.words(picture, "eng", mode=6)
    lines: dict[tuple[int, int, int], list[Word]] = {}
    for word in korean:
        lines.setdefault(word.line, []).append(chosen(word, english))
    return list(lines.values())


def chosen(word: Word, english: list[Word]) -> Word:
    """The Korean pass's word, or the English pass's at the same place where that is surer.

    It reads Hangul as Latin letters too, so against Hangul it must be sure where the Korean pass is not.
    """
    hangul = HANGUL.search(word.text) is not None
    if hangul and word.confidence >= UNSURE:
        return word
    for other in english:
        across = min(word.x + word.width, other.x + other.width) - max(word.x, other.x)
        down = min(word.y + word.height, other.y + other.height) - max(word.y, other.y)
        same = across > SAME * max(word.width, other.width) and down > SAME * min(word.height, other.height)
        least = max(SURE, word.confidence) if hangul else word.confidence
        if same and ENGLISH.fullmatch(other.text) and other.confidence > least:
            return Word(other.text, word.x, word.y, word.width, word.height, other.confidence, word.line)
    return word


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
