"""Circled digits ①–⑨ on a page: where and which. Shared by the kinds that read exams."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from academy_ai import glyphs
from academy_ai.paper import Gray

ROUND = (0.8, 1.25)
"""Width over height of a ring."""
RING = 0.6
"""Least likeness of the whole sign, ring and all: those of a ring have 0.7 and more, syllables like `치` 0.5."""
INNER = 0.5
"""Least likeness of what the ring holds."""
LEAD = 0.03
"""By how much it must look more like one digit than like any other sign in a ring."""
COUNTED = 0.75
"""Least likeness of a ring that is told by its neighbours."""
SIGNS = glyphs.CIRCLED
DARK = (60, 30)
"""Ink (of 255) from which on a pixel is print; a thin ring that is broken at the first is whole at the second."""


@dataclass(frozen=True, slots=True)
class Circled:
    """A circled digit: what it says (None: unclear), its box, and how much it looks like that (0 to 1)."""

    digit: int | None
    x0: int
    y0: int
    x1: int
    y1: int
    likeness: float


def circled(page: Gray, em: float) -> list[Circled]:
    """Circled digits of about a line's height (`em` pixels) in a picture of print, from top to bottom.

    Unclear ones are there too: what stands before and after them may tell.
    """
    ink = np.asarray(cv2.bitwise_not(page), np.uint8)
    out: list[Circled] = []
    for dark in DARK:
        out += [one for one in _found(ink, em, dark) if not any(_meet(one, other) for other in out)]
    return sorted(out, key=lambda one: (one.y0, one.x0))


def counted(rings: Sequence[Circled]) -> list[Circled]:
    """Circled digits in reading order; an unclear one that stands where the count goes on is the next number.

    It stands there where the one after it counts on, too, or counts anew, or where there is none.
    """
    out: list[Circled] = []
    ordered = _by_rows(rings)
    for one, after in zip(ordered, [*ordered, None][1:], strict=True):
        due = out[-1].digit + 1 if out and out[-1].digit is not None else 0
        goes_on = due in range(2, len(SIGNS) + 1) and (after is None or after.digit in (due + 1, 1))
        if one.digit is None and goes_on and one.likeness >= COUNTED:
            out.append(replace(one, digit=due))
        else:
            out.append(one)
    return [one for one in out if one.digit is not None]


def _by_rows(rings: Sequence[Circled]) -> list[Circled]:
    """From left to right in rows from top to bottom: a row's rings begin above the middle of its first."""
    rows: list[list[Circled]] = []
    for one in sorted(rings, key=lambda ring: ring.y0):
        if rows and one.y0 < (rows[-1][0].y0 + rows[-1][0].y1) / 2:
            rows[-1].append(one)
        else:
            rows.append([one])
    return [one for row in rows for one in sorted(row, key=lambda ring: ring.x0)]


def _found(ink: Gray, em: float, dark: int) -> list[Circled]:
    """Circled digits among the pieces of what is darker."""
    _, _, stats, _ = cv2.connectedComponentsWithStats((ink > dark).astype(np.uint8))
    x, y, width, height, _ = stats[1:].T
    size = np.maximum(width, height)
    fits = (size >= 0.55 * em) & (size <= 1.35 * em) & (width >= ROUND[0] * height) & (width <= ROUND[1] * height)
    out = []
    for at in np.flatnonzero(fits):
        box = int(x[at]), int(y[at]), int(x[at] + width[at]), int(y[at] + height[at])
        found = _read(ink[box[1] : box[3], box[0] : box[2]])
        if found is not None:
            out.append(Circled(found[0], *box, found[1]))
    return out


def _meet(one: Circled, other: Circled) -> bool:
    return one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1


def _read(ink: Gray) -> tuple[int | None, float] | None:
    ringed = glyphs.CIRCLED + glyphs.OTHERS
    if glyphs.likely(ink, ringed).likeness < RING:
        return None
    inner = glyphs.likely(ink, ringed, inside=True)
    if inner.likeness < INNER or inner.lead < LEAD:
        return None, inner.likeness
    return (glyphs.CIRCLED.index(inner.sign) + 1, inner.likeness) if inner.sign in glyphs.CIRCLED else None
