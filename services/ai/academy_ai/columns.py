"""From a flat page to columns, their lines, and the pieces of ink each line is made of. Pure.

Shared by the kinds that read exams.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from academy_ai.paper import Gray

DARK = 75
"""Ink (of 255) from which on a pixel is print."""
SPECK = 4
"""Pixels of area under which ink is dirt."""
RULE = 80
"""Pixels in a row from which on an upright stroke is a rule or a frame, no letter."""
MIDDLE = (0.35, 0.65)
"""Where the gap between two columns may lie, shares of the page's width."""
GAP = 20
"""Least pixels between two columns."""
LEAST_RUN = 0.3
"""Least share of the page's height along which two columns stand side by side."""
LEAST_SIDE = 0.15
"""Least share of that stretch that has print, on both sides."""
LEAST_LINE = 8
JOIN = 3
"""Pixels of blank that do not part two lines."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One connected piece of ink: its box."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.y1 - self.y0


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, or a figure or table as one tall line; its pieces from left to right."""

    x0: int
    y0: int
    x1: int
    y1: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of lines from top to bottom. `left`: where its lines begin."""

    left: int
    right: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a page from left to right, and the usual height of a line in pixels."""

    columns: tuple[Column, ...]
    em: float
    ink: npt.NDArray[np.uint8]
    """1 where there is print, rules left out."""


def layout(page: Gray, *, single: bool = False) -> Layout:
    """Find columns and lines. `single`: there is one column, whatever gaps run down its choices."""
    ink, pieces = _print(page)
    columns = []
    for left, right, top, bottom in [(0, ink.shape[1], 0, ink.shape[0])] if single else _strips(ink):
        lines = _lines(ink[top:bottom, left:right], left, top, pieces)
        if lines:
            columns.append(Column(_edge(lines), max(line.x1 for line in lines), lines))
    heights = [line.y1 - line.y0 for column in columns for line in column.lines]
    return Layout(tuple(columns), float(np.median(heights)) if heights else 0.0, ink)


def _print(page: Gray) -> tuple[npt.NDArray[np.uint8], list[Piece]]:
    """Print without dirt, rules and what touches the page's edge; and its pieces."""
    ink = (page < 255 - DARK).astype(np.uint8)
    rules = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((RULE, 1), np.uint8))
    ink[cv2.dilate(rules, np.ones((5, 5), np.uint8)) > 0] = 0
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink)
    x, y, width, height, area = stats.T
    edge = (x == 0) | (y == 0) | (x + width == ink.shape[1]) | (y + height == ink.shape[0])
    drop = (area < SPECK) | edge
    drop[0] = True
    ink[drop[labels]] = 0
    kept = [
        Piece(int(x[one]), int(y[one]), int(x[one] + width[one]), int(y[one] + height[one]))
        for one in range(1, count)
        if not drop[one]
    ]
    return ink, kept


def _strips(ink: npt.NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
    """Left, right, top and bottom of the columns: one, or two where a gap runs down the middle."""
    height, width = ink.shape
    closed = cv2.dilate(ink, np.ones((1, GAP), np.uint8))
    best, top, bottom, middle = 0, 0, height, 0
    for x in range(round(MIDDLE[0] * width), round(MIDDLE[1] * width), 4):
        blank = np.flatnonzero(np.diff(np.concatenate([[1], closed[:, x], [1]])))
        starts, ends = blank[::2], blank[1::2]
        if len(starts) == 0:
            continue
        longest = int((ends - starts).argmax())
        if ends[longest] - starts[longest] > best:
            best, top, bottom, middle = ends[longest] - starts[longest], int(starts[longest]), int(ends[longest]), x
    beside = (ink[top:bottom, :middle], ink[top:bottom, middle:])
    if best < LEAST_RUN * height or any(_filled(side) < LEAST_SIDE for side in beside):
        return [(0, width, 0, height)]
    return [(0, middle, top, bottom), (middle, width, top, bottom)]


def _filled(side: npt.NDArray[np.uint8]) -> float:
    return float((side.sum(axis=1) > 0).mean()) if side.size else 0.0


def _lines(ink: npt.NDArray[np.uint8], left: int, top: int, pieces: list[Piece]) -> tuple[Line, ...]:
    """Rows of ink with blank above and below."""
    rows = cv2.dilate((ink.sum(axis=1) > 0).astype(np.uint8)[:, None], np.ones((JOIN, 1), np.uint8))[:, 0]
    turns = np.flatnonzero(np.diff(np.concatenate([[0], rows, [0]])))
    own = sorted((p for p in pieces if left <= (p.x0 + p.x1) / 2 < left + ink.shape[1]), key=lambda piece: piece.x0)
    out = []
    for start, end in zip(turns[::2] + top, turns[1::2] + top, strict=True):
        inside = tuple(piece for piece in own if start <= (piece.y0 + piece.y1) / 2 < end)
        if end - start >= LEAST_LINE and inside:
            out.append(Line(inside[0].x0, int(start), max(piece.x1 for piece in inside), int(end), inside))
    return tuple(out)


def _edge(lines: tuple[Line, ...]) -> int:
    """Where lines begin: the leftmost place at which several do."""
    return int(np.percentile([line.x0 for line in lines], 8))
