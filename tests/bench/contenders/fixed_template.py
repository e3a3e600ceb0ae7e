"""Answer sheets as template readers do it: our own small version of the method that OMRChecker publishes.

Page: the largest four-sided contour (`CropPage`), or the best match of the corner marker in each quarter of the picture
(`CropOnMarkers`), else the whole picture; warped to `pageDimensions`. Bubbles: mean grey of each box where the template
puts it. Marked: darker than the field's threshold, the middle of the widest gap between its means, or, where that is
narrow, than the widest gap between the means of the whole sheet. The bench's peer: no code of OMRChecker is in it.
"""

import cv2
import numpy as np
import numpy.typing as npt

from academy_ai.kinds.omr_grade.template import Sheet
from academy_ai.paper import Gray, clockwise, from_corners

LONG_SIDE = 820
"""Pixels at which the page is looked for."""
LEAST_PAGE = 0.15
"""Share of the picture that a page fills at least."""
MARKER_SIZES = np.arange(0.85, 1.16, 0.06)
LEAST_MARKER = 0.3
GAP = 25.0
"""Grey levels between empty and marked bubbles, at least."""
CORNERS = 4

Corners = npt.NDArray[np.float32]


def answers(sheet: Sheet, picture: Gray, marker: Gray | None) -> dict[str, str]:
    """Column -> reading."""
    flat = _page(sheet, picture, marker)
    means = [
        np.array([_mean(flat, bubble.x, bubble.y, bubble.width, bubble.height) for bubble in field.bubbles])
        for field in sheet.fields
    ]
    overall, _ = _widest_gap(np.concatenate(means))
    read = {}
    for field, seen in zip(sheet.fields, means, strict=True):
        own, gap = _widest_gap(seen)
        least = own if gap >= GAP else overall
        marked = "".join(bubble.value for bubble, mean in zip(field.bubbles, seen, strict=True) if mean < least)
        read[field.label] = marked or field.empty_value
    return {column: "".join(read[label] for label in labels) for column, labels in sheet.columns.items()}


def _page(sheet: Sheet, picture: Gray, marker: Gray | None) -> Gray:
    height, width = picture.shape
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    if sheet.crop_page:
        corners = _contour(picture, corners)
    if marker is not None:
        corners = _between_markers(picture, corners, marker, sheet.marker_ratio)
    size = round(sheet.width), round(sheet.height)
    matrix = from_corners(*size, corners)
    flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
    flat = cv2.warpPerspective(picture, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.normalize(flat, np.empty_like(flat), 0, 255, cv2.NORM_MINMAX), np.uint8)


def _contour(picture: Gray, whole: Corners) -> Corners:
    """The largest convex outline of four corners, else the whole picture."""
    scale = LONG_SIDE / max(picture.shape)
    small = cv2.GaussianBlur(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), (3, 3), 0)
    _, even = cv2.threshold(small, 200, 255, cv2.THRESH_TRUNC)
    closed = cv2.morphologyEx(even, cv2.MORPH_CLOSE, np.ones((10, 10), np.uint8))
    outlines, _ = cv2.findContours(cv2.Canny(closed, 55, 185), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    for outline in sorted((cv2.convexHull(one) for one in outlines), key=cv2.contourArea, reverse=True)[:5]:
        if cv2.contourArea(outline) < LEAST_PAGE * small.size:
            break
        rough = cv2.approxPolyDP(outline, 0.025 * cv2.arcLength(outline, closed=True), closed=True)
        if len(rough) == CORNERS:
            return clockwise(rough.reshape(CORNERS, 2).astype(np.float32) / np.float32(scale))
    return whole


def _between_markers(picture: Gray, corners: Corners, marker: Gray, ratio: float) -> Corners:
    """The middles of the best match in each quarter of the page, at the one size that fits best."""
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    scale = LONG_SIDE / float(max(sides))
    width, height = round(float(sides[0] + sides[2]) / 2 * scale), round(float(sides[1] + sides[3]) / 2 * scale)
    matrix = from_corners(width, height, corners)
    flat = cv2.warpPerspective(picture, matrix, (width, height), flags=cv2.INTER_AREA | cv2.WARP_INVERSE_MAP)
    best, places = 0.0, []
    for size in MARKER_SIZES:
        side = max(3, round(width / ratio * float(size)))
        pattern = cv2.resize(marker, (side, side), interpolation=cv2.INTER_AREA)
        found = []
        for x, y in ((0, 0), (width // 2, 0), (width // 2, height // 2), (0, height // 2)):
            quarter = flat[y : y + height // 2, x : x + width // 2]
            _, value, _, (left, top) = cv2.minMaxLoc(cv2.matchTemplate(quarter, pattern, cv2.TM_CCOEFF_NORMED))
            found.append((value, x + left + side / 2, y + top + side / 2))
        worst = min(value for value, _, _ in found)
        if worst > best:
            best, places = worst, [place for _, *place in found]
    if best < LEAST_MARKER:
        return corners
    middles = np.array(places, np.float32).reshape(-1, 1, 2)
    return np.asarray(cv2.perspectiveTransform(middles, matrix).reshape(CORNERS, 2), np.float32)


def _mean(flat: Gray, x: float, y: float, width: float, height: float) -> float:
    return float(flat[round(y) : round(y + height), round(x) : round(x + width)].mean())


def _widest_gap(means: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Middle and width of the widest gap between neighbouring means."""
    ordered = np.sort(means)
    if len(ordered) < 2:
        return 0.0, 0.0
    gaps = np.diff(ordered)
    at = int(gaps.argmax())
    return float(ordered[at] + ordered[at + 1]) / 2, float(gaps[at])
