"""Formulae that no text engine reads: fractions and roots on a line of print. Second step of `run`, pure.

A fraction's bar is a flat stroke with print close above and below; a root is a sign with a long bar of its own. The
formula is everything on the same line that no word gap parts from them.
"""

from dataclasses import dataclass

from academy_ai.columns import Layout, Piece

FLAT = 0.14
"""Line heights that a bar is thick at most."""
LONG = 0.8
"""Line heights that a bar is long at least."""
NEAR = 0.4
"""Line heights from a bar within which what it parts begins."""
TALL = 1.6
"""Line heights from the top of what is above to the foot of what is below, at least; a syllable is one high."""
WIDER = 1.2
"""Widths of the bar that what it parts takes at most: wider print is text over a rule."""
APART = 1.3
"""Line heights of blank that end a formula to its left and right."""


@dataclass(frozen=True, slots=True)
class Region:
    """Where a formula stands, pixels."""

    x0: int
    y0: int
    x1: int
    y1: int


def formulae(seen: Layout, em: float) -> list[Region]:
    """The formulae of a picture, from top to bottom. `em`: pixels of a line of text."""
    lines = [line for column in seen.columns for line in column.lines]
    bars = [(place, bar) for place, line in enumerate(lines) for bar in line.pieces if _bar(bar, em)]
    out: list[Region] = []
    for place, bar in bars:
        around = [piece for line in lines[max(0, place - 1) : place + 2] for piece in line.pieces]
        if _fraction(bar, around, em):
            out.append(_grown(bar, around, em))
    return _joined(out)


def _bar(piece: Piece, em: float) -> bool:
    return piece.height <= max(3, FLAT * em) and piece.width >= LONG * em


def _fraction(bar: Piece, around: list[Piece], em: float) -> bool:
    over = [one for one in around if one is not bar and bar.x0 <= (one.x0 + one.x1) / 2 <= bar.x1]
    above = [one for one in over if 0 <= bar.y0 - one.y1 <= NEAR * em and one.height > FLAT * em]
    below = [one for one in over if 0 <= one.y0 - bar.y1 <= NEAR * em and one.height > FLAT * em]
    if not above or not below or max(_covered(above, bar), _covered(below, bar)) > WIDER:
        return False
    return max(one.y1 for one in below) - min(one.y0 for one in above) >= TALL * em


def _covered(pieces: list[Piece], bar: Piece) -> float:
    return (max(one.x1 for one in pieces) - min(one.x0 for one in pieces)) / max(1, bar.width)


def _grown(bar: Piece, around: list[Piece], em: float) -> Region:
    """The bar with all that stands at its height without a wide gap, and what it parts."""
    top, bottom = bar.y0 - 1.5 * em, bar.y1 + 1.5 * em
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
