"""Where questions and shared passages begin: `12.` and `[3~5]` at the edge of a column. Third step of `run`.

The shapes of the pieces say where a number may stand, `glyphs` reads it, and since numbers follow one another, the
longest run of consecutive ones says which of them are questions'.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np

from academy_ai import glyphs
from academy_ai.columns import Layout, Line, Piece
from academy_ai.paper import Gray

NEAR = 0.9
"""Line heights from the column's edge within which numbers begin."""
DIGITS = 3
GLYPHS = 14
"""Pieces that a number at the beginning of a line has at most, broken ones counted."""
OVER = 0.3
"""Share of the narrower piece's width from which on pieces stand one above the other."""
DOT, FOOT, DASH = 0.3, 0.16, 0.45
"""Line heights: the largest dot, how far it may be off the digits' foot, the tallest dash."""
SCRAP = 0.22
"""Line heights: the largest piece that broke off a digit or bracket; a dash is wider."""
TALL, SLIM = 0.75, 0.42
"""Line heights: the lowest and the widest bracket."""
NEXT = 0.5
"""What it adds to a run that a number stands just where it must."""
CLOSING = 0.9
"""Share of the opening bracket's height that the closing one has at least; digits have less."""
LEAST = 0.72
"""Likeness under which a digit counts as not read."""


@dataclass(frozen=True, slots=True)
class Start:
    """A number at the edge of a column: `last` is set for a passage."""

    page: int
    column: int
    line: int
    number: int | None = None
    last: int | None = None

    @property
    def question(self) -> bool:
        """Whether it is a question's."""
        return self.last is None


def found(page: Gray, place: int, seen: Layout) -> list[Start]:
    """The numbers at the edges of a page's columns, in reading order; unread ones where only the shape says number."""
    out = []
    for column, lines in enumerate(seen.columns):
        for row, line in enumerate(lines.lines):
            if line.x0 - lines.left > NEAR * seen.em:
                continue
            digits = _numbered(line, seen.em)
            if digits:
                out.append(Start(place, column, row, number=_number(page, digits)))
            elif (span := _span(page, line, seen.em)) is not None:
                out.append(Start(place, column, row, *span))
    return out


def _glyphs(line: Line) -> list[Piece]:
    """The first pieces of a line; those one above the other as one, for thin print breaks."""
    out: list[Piece] = []
    for piece in line.pieces[:GLYPHS]:
        last = out[-1] if out else None
        if last is not None and last.x1 - piece.x0 > OVER * min(last.width, piece.width):
            out[-1] = Piece(
                min(last.x0, piece.x0), min(last.y0, piece.y0), max(last.x1, piece.x1), max(last.y1, piece.y1)
            )
        else:
            out.append(piece)
    return out


def _numbered(line: Line, em: float) -> tuple[Piece, ...]:
    """The digits of `12.`, if the line begins with one to three slim pieces and a dot at their foot."""
    pieces = _glyphs(line)
    for place, piece in enumerate(pieces[: DIGITS + 1]):
        if piece.height <= DOT * em and piece.width <= DOT * em:
            digits = tuple(pieces[:place])
            foot = abs(piece.y1 - max((one.y1 for one in digits), default=0)) <= FOOT * em
            return digits if foot else ()
        if not _slim(piece, em):
            return ()
    return ()


def _slim(piece: Piece, em: float) -> bool:
    return 0.45 * em <= piece.height <= 1.05 * em and piece.width <= 0.75 * em


def _ink(page: Gray, piece: Piece) -> Gray:
    return cv2.bitwise_not(page[piece.y0 : piece.y1, piece.x0 : piece.x1])  # type: ignore[return-value]


def _number(page: Gray, digits: tuple[Piece, ...]) -> int | None:
    """What they say; None when one is no clear digit."""
    text = ""
    for piece in digits:
        sign = glyphs.likely(_ink(page, piece), "0123456789")
        if sign.likeness < LEAST:
            return None
        text += sign.sign
    return int(text)


def _span(page: Gray, line: Line, em: float) -> tuple[int, int] | None:
    """First and last number of `[10~12]`, if the line begins so."""
    first, *rest = _glyphs(line)
    if first.height < TALL * em or first.width > SLIM * em:
        return None
    parts: list[list[Piece]] = [[]]
    for piece in rest:
        if piece.height >= CLOSING * first.height and piece.width <= SLIM * em:
            break
        if piece.height <= SCRAP * em and piece.width <= SCRAP * em:
            continue  # thin print breaks
        if piece.height <= DASH * em:
            parts.append([])
        elif _slim(piece, em):
            parts[-1].append(piece)
        else:
            return None
    if len(parts) != 2 or not all(parts):  # noqa: PLR2004 - from and to
        return None
    low, high = (_number(page, tuple(part)) for part in parts)
    return (low, high) if low is not None and high is not None and low < high else None


def consecutive(starts: list[Start]) -> list[Start]:
    """The longest run of questions whose numbers follow one another, unread ones filled in; and the passages."""
    questions = [one for one in starts if one.question]
    run = run_of([one.number for one in questions])
    numbers = dict(zip((id(questions[place]) for place in run), run.values(), strict=True))
    return [
        replace(one, number=numbers.get(id(one), one.number))
        for one in starts
        if not one.question or id(one) in numbers
    ]


def run_of(read: list[int | None]) -> dict[int, int]:
    """Place -> number of the longest run: numbers rise, by no more than there are places between them."""
    worth = [0.0] * len(read)
    before: list[int | None] = [None] * len(read)
    for place, number in enumerate(read):
        if number is None:
            continue
        worth[place] = 1.0
        for earlier in range(place):
            other = read[earlier]
            if other is None or not 1 <= number - other <= place - earlier:
                continue
            value = worth[earlier] + 1 + NEXT * (number - other == place - earlier)
            if value > worth[place]:
                worth[place], before[place] = value, earlier
    chosen: list[int] = []
    at: int | None = int(np.argmax(worth)) if any(worth) else None
    while at is not None:
        chosen.insert(0, at)
        at = before[at]
    return _filled(read, chosen)


def _filled(read: list[int | None], chosen: list[int]) -> dict[int, int]:
    """The run with unread places between filled in, and those before and after it that nothing contradicts."""
    out = {place: number for place in chosen if (number := read[place]) is not None}
    for first, last in pairwise(chosen):
        missing = range(out[first] + 1, out[last])
        places = sorted(range(first + 1, last), key=lambda place: read[place] is not None)[: len(missing)]
        out |= dict(zip(sorted(places), missing, strict=True))
    if chosen:
        for place in range(chosen[0] - 1, -1, -1):
            if read[place] is None and out[place + 1] > 1:
                out[place] = out[place + 1] - 1
            else:
                break
        for place in range(chosen[-1] + 1, len(read)):
            if read[place] is not None:
                break
            out[place] = out[place - 1] + 1
    return dict(sorted(out.items()))
