"""Formulae that no text engine reads: fractions and roots on a line of print. Second step of `run`, pure.

A fraction's bar is a flat stroke with print close above and below; a root is a sign with a long bar of its own. The
formula is everything on the same line that no word gap parts from them.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from academy_ai.columns import Piece

Ink = npt.NDArray[np.uint8]

FLAT = 0.14
"""Line heights that a bar is thick at most."""
LONG = 0.8
"""Line heights that a bar is long at least."""
SHORT, CLOSE = 1.1, 0.3
"""A bar as short as a syllable's has what it parts closer: else it is the `ㅡ` of a syllable above a formula."""
NEAR = 0.55
"""Line heights from a bar within which what it parts begins."""
TALL = 1.6
"""Line heights from the top of what is above to the foot of what is below, at least; a syllable is one high."""
WIDER = 1.2
"""Widths of the bar that what it parts takes at most: wider print is text over a rule."""
APART = 1.3
"""Line heights of blank that end a formula to its left and right."""
RAISED = 0.25
"""Line heights by which a power or an index stands out above and below."""
AROUND = 1.6
"""Line heights above and below a bar that are looked at."""


@dataclass(frozen=True, slots=True)
class Region:
    """Where a formula stands, pixels."""

    x0: int
    y0: int
    x1: int
    y1: int


def formulae(ink: Ink, em: float) -> list[Region]:
    """The formulae of a picture, from top to bottom. `ink`: 1 where there is print; `em`: pixels of a line of text."""
    kernel = np.ones((1, max(3, round(LONG * em))), np.uint8)
    flat = np.asarray(cv2.morphologyEx(ink, cv2.MORPH_OPEN, kernel), np.uint8)
    bars = [bar for bar in _pieces(flat) if bar.height <= max(3, FLAT * em)]
    pieces = _pieces(np.where(flat > 0, 0, ink).astype(np.uint8))  # what touches a bar is told from it
    out: list[Region] = []
    for bar in bars:
        around = [one for one in pieces if one.y1 > bar.y0 - AROUND * em and one.y0 < bar.y1 + AROUND * em]
        parted = _parted(bar, around, em)
        if parted is not None:
            out.append(_grown(bar, parted, [*around, bar], em))
    return _joined(out)


def _pieces(ink: Ink) -> list[Piece]:
    _, _, stats, _ = cv2.connectedComponentsWithStats(ink)
    return [Piece(int(x), int(y), int(x + width), int(y + height)) for x, y, width, height, _ in stats[1:]]


def _parted(bar: Piece, around: list[Piece], em: float) -> tuple[list[Piece], list[Piece]] | None:
    """What a fraction's bar has above and below it; None when it is no fraction's."""
    near = (NEAR if bar.width > SHORT * em else CLOSE) * em
    over = [one for one in around if bar.x0 <= (one.x0 + one.x1) / 2 <= bar.x1]
    above = [one for one in over if 0 <= bar.y0 - one.y1 <= near and one.height > FLAT * em]
    below = [one for one in over if 0 <= one.y0 - bar.y1 <= near and one.height > FLAT * em]
    if not above or not below or max(_covered(above, bar), _covered(below, bar)) > WIDER:
        return None
    high = max(one.y1 for one in below) - min(one.y0 for one in above)
    return (above, below) if high >= TALL * em else None


def _covered(pieces: list[Piece], bar: Piece) -> float:
    return (max(one.x1 for one in pieces) - min(one.x0 for one in pieces)) / max(1, bar.width)


def _grown(bar: Piece, parted: tuple[list[Piece], list[Piece]], around: list[Piece], em: float) -> Region:
    """The bar and what it parts, with all that stands at their height without a wide gap."""
    top = min(one.y0 for one in parted[0]) - RAISED * em
    bottom = max(one.y1 for one in parted[1]) + RAISED * em
    level = sorted((one for one in around if one.y0 >= top and one.y1 <= bottom), key=lambda one: one.x0)
    x0, x1 = bar.x0, bar.x1
    grew = True
    while grew:
        grew = False
        for one in level:
            if one.x1 >= x0 - APART * em and one.x0 <= x1 + APART * em and (one.x0 < x0 or one.x1 > x1):
                x0, x1, grew = min(x0, one.x0), max(x1, one.x1), True
    inside = [one for one in level if one.x0 >= x0 and one.x1 <= x1]
    return Region(x0, min(one.y0 for one in inside), x1, max(one.y1 for one in inside))


def _joined(found: list[Region]) -> list[Region]:
    """Overlapping regions as one."""
    out: list[Region] = []
    for one in sorted(found, key=lambda region: region.y0):
        last = out[-1] if out else None
        if last is not None and one.y0 < last.y1 and one.x0 < last.x1 and last.x0 < one.x1:
            out[-1] = Region(min(last.x0, one.x0), last.y0, max(last.x1, one.x1), max(last.y1, one.y1))
        else:
            out.append(one)
    return out
