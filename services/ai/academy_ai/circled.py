"""Circled digits ①–⑨ on a page: where and which. Shared by the kinds that read exams."""

from dataclasses import dataclass

import cv2
import numpy as np

from academy_ai import glyphs
from academy_ai.paper import Gray

ROUND = (0.8, 1.25)
"""Width over height of a ring."""
RING = 0.5
"""Least likeness of the whole sign, ring and all."""
INNER = 0.5
"""Least likeness of what the ring holds."""
LEAD = 0.03
"""By how much it must look more like one digit than like any other sign in a ring."""
SIGNS = glyphs.CIRCLED
DARK = 60
"""Ink (of 255) from which on a pixel is print."""


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
    _, _, stats, _ = cv2.connectedComponentsWithStats((ink > DARK).astype(np.uint8))
    x, y, width, height, _ = stats[1:].T
    size = np.maximum(width, height)
    fits = (size >= 0.55 * em) & (size <= 1.35 * em) & (width >= ROUND[0] * height) & (width <= ROUND[1] * height)
    out = []
    for at in np.flatnonzero(fits):
        box = int(x[at]), int(y[at]), int(x[at] + width[at]), int(y[at] + height[at])
        found = _read(ink[box[1] : box[3], box[0] : box[2]])
        if found is not None:
            out.append(Circled(found[0], *box, found[1]))
    return sorted(out, key=lambda one: (one.y0, one.x0))


def _read(ink: Gray) -> tuple[int | None, float] | None:
    ringed = glyphs.CIRCLED + glyphs.OTHERS
    if glyphs.likely(ink, ringed).likeness < RING:
        return None
    inner = glyphs.likely(ink, ringed, inside=True)
    if inner.likeness < INNER or inner.lead < LEAD:
        return None, inner.likeness
    return (glyphs.CIRCLED.index(inner.sign) + 1, inner.likeness) if inner.sign in glyphs.CIRCLED else None
