"""From numbers at the edges to questions and passages: which lines belong to which, and where the choices stand.

Fourth step of `run`, pure. Reading order is page by page, column by column, line by line; what stands before the
first number of a column goes on from the column before.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from academy_ai.circled import Circled
from academy_ai.columns import Layout, Line
from academy_ai.kinds.exam_segment.starts import Start, run_of

MARGIN = 0.3
"""Line heights around what is cut out."""
CENTRED = 0.04
"""Share of the page's width by which a heading's middle may be off the page's."""
SHORT = 0.6
"""Share of the page's width that a heading has at most."""
FOOT = 0.93
"""Share of the page's height below which a few centred signs are the page's number."""
FEW = 6
MOST = 5
"""Choices of a question."""


@dataclass(frozen=True, slots=True)
class Area:
    """Lines of one column that belong together: their box on the page."""

    page: int
    column: int
    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(slots=True)
class Found:
    """A question or passage: its start, and lines by page and column in reading order."""

    start: Start
    stretches: list[tuple[int, int, list[Line]]] = field(default_factory=list)


def gathered(pages: list[Layout], sizes: list[tuple[int, int]], starts: list[Start]) -> list[Found]:
    """Every line given to the number before it. `sizes`: width and height of the pages."""
    at = {(one.page, one.column, one.line): one for one in starts}
    out: list[Found] = []
    for page, seen in enumerate(pages):
        for column, lines in enumerate(seen.columns):
            fresh = True
            for row, line in enumerate(lines.lines):
                start = at.get((page, column, row))
                if start is not None:
                    out.append(Found(start))
                    fresh = True
                if not out or _heading(line, sizes[page], alone=len(seen.columns) == 1):
                    continue
                if fresh:
                    out[-1].stretches.append((page, column, []))
                    fresh = False
                out[-1].stretches[-1][2].append(line)
    return out


def _heading(line: Line, size: tuple[int, int], *, alone: bool) -> bool:
    """Whether a line is the page's heading or number: short and in the middle of the page."""
    width, height = size
    centred = abs((line.x0 + line.x1) / 2 - width / 2) < CENTRED * width and line.x1 - line.x0 < SHORT * width
    return centred and ((line.y0 > FOOT * height and len(line.pieces) <= FEW) or (alone and line.y1 < 0.1 * height))


def areas(found: Found, pages: list[Layout]) -> Iterator[Area]:
    """The boxes of what was gathered, with a margin."""
    for page, column, lines in found.stretches:
        seen = pages[page]
        margin = round(MARGIN * seen.em)
        height, width = seen.ink.shape
        edge = seen.columns[column]
        yield Area(
            page,
            column,
            max(0, edge.left - margin),
            max(0, lines[0].y0 - margin),
            min(width, edge.right + margin),
            min(height, max(line.y1 for line in lines) + margin),
        )


def choices(found: Found, pages: list[Layout], rings: list[list[Circled]]) -> dict[int, Area]:
    """The question's choices: the longest run of circled digits, each with what follows it."""
    placed = [(area, one) for area, one in _inside(found, pages, rings) if one.digit is None or one.digit <= MOST]
    run = {place: digit for place, digit in run_of([one.digit for _, one in placed]).items() if digit <= MOST}
    chosen = [placed[place] for place in run]
    digits = list(run.values())
    out = {}
    for place, (area, one) in enumerate(chosen):
        following = [other for near, other in chosen[place + 1 :] if near == area]
        beside = [other.x0 for other in following if other.y0 < one.y1]
        below = [other.y0 for other in following if other.y0 >= one.y1]
        right = min(beside, default=area.x1) - 2
        top = one.y0 - round(0.1 * (one.y1 - one.y0))
        out[digits[place]] = replace(area, x0=one.x0, y0=top, x1=right, y1=min(below, default=area.y1) - 2)
    return {digit: _tight(box, pages[box.page]) for digit, box in out.items()}


def _inside(found: Found, pages: list[Layout], rings: list[list[Circled]]) -> Iterator[tuple[Area, Circled]]:
    """Circled digits in reading order."""
    for area, (page, _, lines) in zip(areas(found, pages), found.stretches, strict=True):
        for line in lines:
            own = [
                one
                for one in rings[page]
                if area.x0 <= one.x0 <= area.x1 and line.y0 <= (one.y0 + one.y1) / 2 < line.y1
            ]
            yield from ((area, one) for one in sorted(own, key=lambda one: one.x0))


def _tight(box: Area, seen: Layout) -> Area:
    """The same box around its print only."""
    inside = seen.ink[box.y0 : box.y1, box.x0 : box.x1]
    rows, columns = np.flatnonzero(inside.max(axis=1)), np.flatnonzero(inside.max(axis=0))
    if not len(rows):
        return box
    return replace(
        box,
        x0=box.x0 + int(columns[0]),
        y0=box.y0 + int(rows[0]),
        x1=box.x0 + int(columns[-1]) + 1,
        y1=box.y0 + int(rows[-1]) + 1,
    )
