"""Figures of a question: what is drawn, not written. Step of `read` beside `formulae`; pure.

On a page taken apart into lines, a drawing is a line many times as high as the others. It is cut out and not read: what
a reader makes of curves is no text.
"""

import numpy as np
import numpy.typing as npt

from academy_ai.columns import Layout, Line
from academy_ai.kinds.exam_ocr.formulae import Region
from academy_ai.paper import Gray

TALL = 3.0
"""Line heights from which on a line is a drawing."""
PRINT = 180
"""Brightness under which there is ink; strokes that the layout leaves out (axes, frames) belong to the drawing."""


def figures(picture: Gray, seen: Layout, formulae: list[Region]) -> list[Region]:
    """The drawings of a picture of one column, from top to bottom."""
    lines = [line for column in seen.columns for line in column.lines]
    edges = [0, *(line.y1 for line in lines)], [*(line.y0 for line in lines), picture.shape[0]]
    ink = picture < PRINT
    out = []
    for place, line in enumerate(lines):
        if line.y1 - line.y0 >= TALL * seen.em and not any(_meets(line, one) for one in formulae):
            top, foot = _reach(np.asarray(ink.any(axis=1)), line, edges[0][place], edges[1][place + 1])
            across = np.flatnonzero(ink[top:foot].any(axis=0))
            out.append(Region(int(across[0]), top, int(across[-1]) + 1, foot))
    return out


def _meets(line: Line, one: Region) -> bool:
    return line.y0 < one.y1 and one.y0 < line.y1


def _reach(rows: npt.NDArray[np.bool_], line: Line, above: int, below: int) -> tuple[int, int]:
    """From where to where ink goes on without a blank row, no further than the lines above and below."""
    blank = np.flatnonzero(~rows)
    before, after = blank[blank < line.y0], blank[blank >= line.y1]
    top = int(before[-1]) + 1 if len(before) else 0
    foot = int(after[0]) if len(after) else len(rows)
    return max(top, above), min(foot, below)
