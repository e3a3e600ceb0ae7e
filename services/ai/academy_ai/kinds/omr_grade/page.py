"""Where the page may lie in a picture: quadrilateral of the paper, corner markers, or the whole picture, deskewed.

Second step of `run`. Every finder returns guesses (`Frame`: a homography from page units to picture pixels and how
far it may be off); `search` tries them against the template's bubbles and keeps the one that fits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import cv2
import numpy as np
import numpy.typing as npt

from academy_ai.paper import Gray, Matrix, clockwise


@dataclass(frozen=True, slots=True)
class Frame:
    """A guess of where the page lies. `slack` is how far off a corner may be, as a share of the page."""

    source: str
    matrix: Matrix
    slack: float


LEAST_MARKER = 7
"""Pixels across the smallest marker that can be told from a dot."""
MARKER_LIKENESS = 0.45
SIZES = (0.5, 0.6, 0.72, 0.86, 1.0, 1.2)
"""Sizes at which markers are looked for, as shares of what the template says."""
SQUARE = 0.6
"""Least likeness of opposite sides of the quadrilateral between markers."""


Match = tuple[float, float, float]
"""Likeness to the marker, and where its middle is."""


def turns(corners: npt.NDArray[np.float32], aspect: float) -> Iterator[npt.NDArray[np.float32]]:
    """The corner orders (quarter turns of the page) that agree with the page's width over height."""
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    seen = float((sides[0] + sides[2]) / max(1e-6, float(sides[1] + sides[3])))
    upright = abs(np.log(seen / aspect))
    lying = abs(np.log(1 / seen / aspect))
    for turn in range(4):
        own, other = (upright, lying) if turn % 2 == 0 else (lying, upright)
        if own < other + 0.25:
            yield np.roll(corners, -turn, axis=0)


def markers(gray: Gray, marker: Gray, sheet_width: float, ratio: float) -> list[npt.NDArray[np.float32]]:
    """Quadrilaterals of marker centres, likeliest first. `sheet_width`: guess of the sheet's width in pixels.

    The four markers are of one size, or of two neighbouring ones in perspective: others are not put together.
    """
    base = sheet_width / ratio
    sides = [side for side in (round(base * share) for share in SIZES) if LEAST_MARKER <= side <= min(gray.shape) // 3]
    blurred = np.asarray(cv2.GaussianBlur(gray, (3, 3), 0), np.uint8)
    seen = [_matches(blurred, marker, side) for side in sides]
    found = []
    for near, far in pairwise([*seen, []]):
        points: list[Match] = []
        for one in sorted(near + far, reverse=True):
            if all(np.hypot(one[1] - x, one[2] - y) > 0.5 * base for _, x, y in points):
                points.append(one)
        found += _quads_of(points[:8])
    found.sort(key=lambda pair: -pair[0])
    return [quad for _, quad in found[:2]]


def _matches(blurred: Gray, marker: Gray, side: int) -> list[Match]:
    """The six places most like the marker at this size, best first."""
    pattern = cv2.resize(marker, (side, side), interpolation=cv2.INTER_AREA)
    answer = cv2.matchTemplate(blurred, cv2.GaussianBlur(pattern, (3, 3), 0), cv2.TM_CCOEFF_NORMED)
    out: list[Match] = []
    for _ in range(6):
        _, value, _, (x, y) = cv2.minMaxLoc(answer)
        if value < MARKER_LIKENESS:
            break
        out.append((value, x + side / 2, y + side / 2))
        cv2.rectangle(answer, (x - side // 2, y - side // 2), (x + side // 2, y + side // 2), -1.0, -1)
    return out


def _quads_of(points: list[Match]) -> list[tuple[float, npt.NDArray[np.float32]]]:
    found: list[tuple[float, npt.NDArray[np.float32]]] = []
    for four in combinations(points, 4):
        quad = clockwise(np.array([(x, y) for _, x, y in four], np.float32))
        if not cv2.isContourConvex(quad.astype(np.int32)):
            continue
        sides = np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1)
        if min(sides) < 1:
            continue
        likeness = min(sides[0], sides[2]) / max(sides[0], sides[2]) * min(sides[1], sides[3]) / max(sides[1], sides[3])
        if likeness > SQUARE:
            found.append((float(likeness * sum(value for value, _, _ in four)), quad))
    return found
