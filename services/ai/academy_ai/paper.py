"""Paper in a picture: its ink free of light and shadow, its edges, its skew. Shared by the kinds that read pages."""

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

Gray = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

COARSE_SIDE = 480
"""Long side, pixels, of the picture in which paper, markers and skew are looked for."""
SKEW_LIMIT = 16.0
"""Degrees of skew looked for beyond quarter turns in a picture without paper edges."""
SIDES = 4
LEVEL = 0.3
"""Degrees under which a picture counts as straight."""
NO_PAPER = 45
"""Brightness under which the surroundings are a dark table, not paper in shade."""


def ink(gray: Gray, radius: int) -> Gray:
    """Darkness against the paper around it, 0 (paper) to 255 (black), free of shadow and exposure.

    The paper's brightness is the local maximum over `radius` pixels, smoothed; where even that is dark there is
    no paper and thus no ink.
    """
    step = max(1, radius // 6)
    small = cv2.resize(gray, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
    size = 2 * max(1, radius // step) + 1
    bright = cv2.dilate(cv2.medianBlur(small, 3), cv2.getStructuringElement(cv2.MORPH_RECT, (size, size)))
    paper = cv2.resize(cv2.blur(bright, (size, size)), (gray.shape[1], gray.shape[0]), interpolation=cv2.INTER_LINEAR)
    dark = cv2.bitwise_not(cv2.divide(gray, paper, scale=255))
    return np.asarray(np.where(paper >= NO_PAPER, dark, 0), np.uint8)


def png(picture: Gray) -> bytes:
    """The picture as a PNG, quickly made."""
    _, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return np.asarray(data).tobytes()


def from_corners(width: float, height: float, corners: npt.NDArray[np.float32]) -> Matrix:
    """Homography that takes the page's corners (0,0) (w,0) (w,h) (0,h) to `corners`."""
    page = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    return np.asarray(cv2.getPerspectiveTransform(page, corners.astype(np.float32)), np.float64)


def clockwise(points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Four points in the order top left, top right, bottom right, bottom left."""
    centre = points.mean(axis=0)
    angle = np.arctan2(points[:, 1] - centre[1], points[:, 0] - centre[0])
    ring = points[np.argsort(angle)]
    return np.roll(ring, -int(np.argmin(ring.sum(axis=1))), axis=0)


def papers(small: Gray) -> list[npt.NDArray[np.float32]]:
    """Quadrilaterals of paper in a small picture, likeliest first (at most three)."""
    height, width = small.shape
    found: list[tuple[float, npt.NDArray[np.float32]]] = []
    for mask in _masks(small):
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for contour in sorted(contours, key=cv2.contourArea, reverse=True)[:2]:
            hull = cv2.convexHull(contour)
            area = float(cv2.contourArea(hull))
            if area < 0.04 * width * height or area > 0.985 * width * height:
                continue
            quad = _quad(np.asarray(hull, np.int32))
            if quad is None:
                continue
            fill = area / max(1.0, float(cv2.contourArea(quad)))
            inner = float(cv2.contourArea(contour)) / area
            found.append((fill * inner * min(1.0, 0.5 + area / (width * height)), clockwise(quad)))
    found.sort(key=lambda pair: -pair[0])
    kept: list[npt.NDArray[np.float32]] = []
    for _, quad in found:
        if all(np.abs(quad - other).max() > 0.02 * max(width, height) for other in kept):
            kept.append(quad)
    return kept[:3]


def _masks(small: Gray) -> Iterator[npt.NDArray[np.uint8]]:
    gray = cv2.GaussianBlur(small, (5, 5), 0)
    close = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    _, bright = cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    yield np.asarray(cv2.morphologyEx(bright, cv2.MORPH_CLOSE, close), np.uint8)
    edges = cv2.dilate(cv2.Canny(gray, 40, 120), cv2.getStructuringElement(cv2.MORPH_RECT, (3, 3)))
    yield _outlines(np.asarray(cv2.morphologyEx(edges, cv2.MORPH_CLOSE, close), np.uint8))


def _outlines(edges: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Closed outlines of an edge picture, filled."""
    contours, _ = cv2.findContours(edges, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    mask = np.zeros_like(edges)
    cv2.drawContours(mask, contours, -1, 255, -1)
    return mask


def _quad(hull: npt.NDArray[np.int32]) -> npt.NDArray[np.float32] | None:
    """The four corners of a convex outline; None when it has no four sides."""
    length = cv2.arcLength(hull, closed=True)
    for tolerance in (0.02, 0.03, 0.05, 0.08):
        rough = cv2.approxPolyDP(hull, tolerance * length, closed=True)
        if len(rough) <= SIDES:
            return rough.reshape(SIDES, 2).astype(np.float32) if len(rough) == SIDES else None
    return None


def skews(evidence: Gray, limit: float = SKEW_LIMIT) -> list[float]:
    """Likely skew angles in degrees (positive: the picture is turned anticlockwise), best first.

    Rows and columns of print make the projection on the upright axes peaky; the angle that makes it peakiest is
    the skew (projection-profile method, Postl 1986).
    """
    height, width = evidence.shape
    scale = 300 / max(height, width)
    small = cv2.resize(evidence, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    centre = (small.shape[1] / 2, small.shape[0] / 2)

    def peakiness(angle: float) -> float:
        turned = cv2.warpAffine(small, cv2.getRotationMatrix2D(centre, -angle, 1.0), small.shape[::-1])
        return float(np.square(np.diff(turned.sum(axis=1))).sum() + np.square(np.diff(turned.sum(axis=0))).sum())

    coarse = np.arange(-limit, limit + 0.1, 1.0)
    scores = np.array([peakiness(float(angle)) for angle in coarse])
    best = float(coarse[int(scores.argmax())])
    fine = np.arange(best - 0.75, best + 0.8, 0.25)
    refined = float(fine[int(np.argmax([peakiness(float(angle)) for angle in fine]))])
    return [refined] if abs(refined) < LEVEL else [refined, 0.0]


def turned_frame(width: int, height: int, angle: float) -> npt.NDArray[np.float32]:
    """Corners of a `width` x `height` picture turned by `angle` degrees (anticlockwise) about its middle."""
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    return np.asarray(corners @ turn[:, :2].T + turn[:, 2], np.float32)


WHOLE_PAGE = 0.4
"""Share of the picture that paper must fill to be taken as the page."""
DARKER = 0.8
"""Brightness of what lies around paper, as a share of the paper's, at most."""
EDGED = 0.7
"""Share of its outline that the page must show against something darker."""
TEXT_RADIUS = 40
"""Pixels around a place in which a page of text shows its paper."""


def flat(gray: Gray) -> Gray:
    """The page alone, upright within `SKEW_LIMIT` degrees, on even white paper: photos are cut out and straightened."""
    page = _cut_out(gray)
    small, _ = shrunk(page)
    angle = skews(ink(small, 12))[0]
    height, width = page.shape
    quad = turned_frame(width, height, _finer(page, angle))
    matrix = from_corners(width, height, quad)
    straight = cv2.warpPerspective(
        page, matrix, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(cv2.bitwise_not(ink(np.asarray(straight, np.uint8), TEXT_RADIUS)), np.uint8)


def shrunk(gray: Gray) -> tuple[Gray, float]:
    """The picture at `COARSE_SIDE`, and its size there over its size here."""
    scale = COARSE_SIDE / max(gray.shape)
    return np.asarray(cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8), scale


def _finer(page: Gray, angle: float) -> float:
    """The skew to a twentieth of a degree, by the same measure on a larger picture."""
    height, width = page.shape
    scale = min(1.0, 1000 / max(height, width))
    small = cv2.resize(ink(page, TEXT_RADIUS), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    centre = (small.shape[1] / 2, small.shape[0] / 2)

    def peakiness(turn: float) -> float:
        turned = cv2.warpAffine(small, cv2.getRotationMatrix2D(centre, -turn, 1.0), small.shape[::-1])
        return float(np.square(np.diff(turned.sum(axis=1, dtype=np.float64))).sum())

    turns = np.arange(angle - 0.4, angle + 0.41, 0.05)
    return float(turns[int(np.argmax([peakiness(float(turn)) for turn in turns]))])


def _cut_out(gray: Gray) -> Gray:
    """The paper's quadrilateral as a rectangle, where it shows its edges on something darker; else all."""
    small, scale = shrunk(gray)
    quads = [quad for quad in papers(small) if cv2.contourArea(quad) >= WHOLE_PAGE * small.size]
    edged = [_edged(small, quad) for quad in quads]
    if not edged or max(edged) < EDGED:
        return gray
    corners = (quads[int(np.argmax(edged))] / scale).astype(np.float32)
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    width, height = round(max(sides[0], sides[2])), round(max(sides[1], sides[3]))
    matrix = from_corners(width, height, corners)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(gray, matrix, (width, height), flags=flags), np.uint8)


def _edged(small: Gray, quad: Floats) -> float:
    """Share of a quadrilateral's outline along which what lies outside is darker than what lies inside."""
    middle, away = quad.mean(axis=0), 0.015 * max(small.shape)
    along = np.linspace(0.04, 0.96, 40, dtype=np.float32)[:, None]
    seen = []
    for start, end in zip(quad, np.roll(quad, -1, axis=0), strict=True):
        outward = np.array([end[1] - start[1], start[0] - end[0]], np.float32)
        outward /= max(float(np.linalg.norm(outward)), 1e-6)
        outward *= np.sign(outward @ (start - middle))
        places = start + along * (end - start)
        seen.append([_sampled(small, places + shift * away * outward) for shift in (1, -1)])
    outside, inside = np.concatenate(seen, axis=1)
    return float((outside < DARKER * inside).mean())


def _sampled(small: Gray, places: Floats) -> Floats:
    values = cv2.remap(small, places[None, :, 0], places[None, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values[0], np.float32)
