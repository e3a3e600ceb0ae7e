"""The picture as the template sees it, and how much each of its pixels looks like the middle of a bubble.

Shared by the coarse search (`search`) and the fit (`fit`).
"""

import math

import cv2
import numpy as np

from academy_ai.kinds.omr_grade.layout import Layout
from academy_ai.kinds.omr_grade.template import Sheet
from academy_ai.paper import Floats, Gray, Matrix

RING = 1.45
"""The paper around a bubble reaches this many bubble radii."""
FLAT = 0.03
"""Contrast (in ink) under which a place counts as empty."""


def likeness(evidence: Gray, width: float, height: float) -> Floats:
    """How much each pixel looks like the middle of a `width` x `height` bubble, about -1 to 1.

    Ink inside the box less ink in a wider one around it, over the contrast there (box filters), so that a faint
    printed bubble counts as much as a filled one; `FLAT` keeps empty paper near 0.
    """
    field = evidence.astype(np.float32) / 255
    inner = 2 * round((width - 1) / 2) + 1, 2 * round((height - 1) / 2) + 1
    outer = 2 * math.ceil(width * RING / 2) + 1, 2 * math.ceil(height * RING / 2) + 1
    around = cv2.blur(field, outer)
    spread = cv2.sqrBoxFilter(field, cv2.CV_32F, outer) - cv2.multiply(around, around)
    contrast = cv2.sqrt(np.maximum(spread, 0.0) + FLAT**2)
    return np.asarray(cv2.divide(cv2.blur(field, inner) - around, contrast), np.float32)


def to_page(scale: float, pad: float) -> Matrix:
    """From pixels of an upright page, `scale` a unit and `pad` units around it, to page units."""
    return np.array([[1 / scale, 0, -pad], [0, 1 / scale, -pad], [0, 0, 1]])


def upright(gray: Gray, matrix: Matrix, sheet: Sheet, scale: float, pad: float) -> Gray:
    """The page as the template sees it, `scale` pixels a unit, with `pad` units of surroundings."""
    size = round((sheet.width + 2 * pad) * scale), round((sheet.height + 2 * pad) * scale)
    return np.asarray(
        cv2.warpPerspective(
            gray,
            matrix @ to_page(scale, pad),
            size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )


def pixels(plan: Layout, bubble: float, sides: tuple[float, float]) -> float:
    """Pixels a page unit for `bubble` pixels across a bubble, the long side within `sides`."""
    longest = max(plan.sheet.width, plan.sheet.height)
    return float(np.clip(bubble / float(plan.size.min()), sides[0] / longest, sides[1] / longest))


def alike(dark: Gray, plan: Layout, scale: float, grow: float, reach: int) -> Floats:
    """Likeness for the template's usual bubble, printed `grow` times as large, with a border of `reach` pixels."""
    width, height = np.minimum(plan.size * grow, np.maximum(plan.size, plan.sheet.pitch * 0.95)) * scale
    seen = likeness(dark, float(width), float(height))
    return np.asarray(cv2.copyMakeBorder(seen, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0.0))
