"""Whether the lattice lies a row or column off, by what is printed beside it, and stepping over where it does.

Fifth step of `run`. Rows and columns repeat, so a fit may settle one off, as a whole or at one end. Where the printed
bubbles end tells: every such alternative is weighed against the fit, and what no clear difference decides is left
doubtful.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from academy_ai.kinds.omr_grade.fit import Fit, fine
from academy_ai.kinds.omr_grade.layout import Layout
from academy_ai.kinds.omr_grade.page import Frame
from academy_ai.kinds.omr_grade.search import Alike, Trial, corrected, on_pieces, refine
from academy_ai.paper import Floats, Gray

STEPS = 3
"""Times that the lattice is searched again."""
REACH = 1.6
"""How far the lattice may move then, in rows or columns."""
PRIOR = 0.01
"""Cost (in likeness) of moving the whole page so far."""
LEAST_SPREAD = 8.0
"""Contrast (of 255) under which a place counts as empty."""
LOOK = 2.0
"""How much of a bubble's surroundings belongs to its look, in bubbles."""
PRINTED = 90
"""Ink (of 255) above this counts as print: a filled bubble must not outweigh the printed ones."""
MARK, MARKED = 0.75, 2.0
"""A place this dark (of the darkest) is marked, and tells more than print, which text may look like."""
LIGHTER = 0.75
"""Share of a mark's ink that its surroundings have at most: a dark table is no mark."""
BESIDE = 0.5
"""Weight of the places beside the lattice, which must not look like bubbles."""
LEAD = 1.5
"""By how much (likenesses of one bubble) a fit must look better than all alternatives to be taken at once."""
DOUBT = 0.5
"""By how much it must look better in the end for the fields that an alternative would move to be sure."""
FAR = 0.4
"""Rows or columns that an alternative must move a bubble to make it another."""
ROOM = 1.5
"""How far off a guess's slack may be."""
NEAR = 0.15
"""Distance, in rows or columns, within which an alternative's bubbles may be off."""
CUTS = 8
LIKELIEST = 16
"""Tilts from which the search by look begins."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """A fit and its alternatives."""

    fit: Fit
    guess: Frame
    alike: Floats
    """How much each of the fit's pixels looks like the middle of a bubble."""
    close: Floats
    """The same, where the best within a small distance counts."""
    worth: float
    """How much the fit's places look like bubbles, and those beside them do not; in likenesses of one bubble."""
    moves: Floats
    """Alternatives x bubbles x 2: by how much each would move every bubble, in the fit's pixels."""
    gains: npt.NDArray[np.float64]
    """How much better than the fit each alternative looks."""


def settle(gray: Gray, found: Trial, plan: Layout) -> Fit:
    """Fit finely; unless the fit stands out from all alternatives, look for a better one around it."""
    room = ROOM * found.frame.slack * min(plan.sheet.width, plan.sheet.height)

    def fitted(guess: Frame) -> Weighed:
        return weigh(fine(gray, guess, plan, found.grow), guess, plan, room)

    best = fitted(corrected(found, plan))
    for _ in range(STEPS):
        if best.gains.max() < -LEAD:
            break
        for guess in _better(best, plan, found.grow):
            other = fitted(guess)
            if _lead(other, best, plan) > _lead(best, other, plan):
                best = other
                break
        else:
            break
    return replace(best.fit, doubtful=_doubtful(best, plan))


def _better(best: Weighed, plan: Layout, grow: float) -> Iterator[Frame]:
    """Guesses around a fit: its best alternative, if that looks better, and what a search by look finds."""
    if best.gains.max() > 0:
        target = best.fit.centres + best.moves[int(best.gains.argmax())]
        source = (plan.boxes[:, :2] + plan.boxes[:, 2:]) / 2
        matrix, _ = cv2.findHomography(source, target / best.fit.scale - best.fit.pad, 0)
        if matrix is not None:
            yield Frame(best.guess.source, best.guess.matrix @ np.asarray(matrix, np.float64), 0.0)
    again = _by_look(best, plan, grow)
    refine(again, plan, _corner_shifts(best, plan))
    yield corrected(again, plan)


def _doubtful(best: Weighed, plan: Layout) -> npt.NDArray[np.bool_]:
    """The bubbles that an alternative, hardly worse than the fit, would put on another row or column.

    Cuts do not count here: a few bubbles of one area may stand beside any odd print.
    """
    moved = np.abs(best.moves / (plan.step * best.fit.scale)).max(axis=2) > FAR
    close = best.gains > -DOUBT
    close[TILTS:] = False
    return np.asarray(moved[close].any(axis=0))


def _by_look(seen: Weighed, plan: Layout, grow: float) -> Trial:
    """A search around a fit, over the look of its own bubbles and far enough to leave it by a row or column."""
    fit = seen.fit
    reach = round(REACH * float(plan.step.max()) * fit.scale)
    around = cv2.copyMakeBorder(seen.alike, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0.0)
    return on_pieces(seen.guess, grow, plan, Alike(np.asarray(around, np.float32), fit.scale, fit.pad, reach, PRIOR))


def _corner_shifts(best: Weighed, plan: Layout) -> Floats:
    """The likeliest tilts of a fit as shifts of the lattice's four corners (n x 2 x 4, pixels); first, none."""
    (left, top), (right, bottom) = plan.span
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
    middles = (plan.boxes[:, :2] + plan.boxes[:, 2:]) / 2
    places = (corners - middles.min(axis=0)) / np.maximum(np.ptp(middles, axis=0), 1.0)
    moves = _tilts(places, WAYS[:, None] * (plan.step * best.fit.scale).astype(np.float32))
    moves = moves[np.argsort(best.gains[:TILTS])[: -LIKELIEST - 1 : -1]]
    return np.concatenate([np.zeros_like(moves[:1]), moves]).swapaxes(1, 2)


def _lead(other: Weighed, own: Weighed, plan: Layout) -> float:
    """How much better another fit is, seen with this one's eyes."""
    there = np.linalg.inv(own.fit.matrix) @ other.fit.matrix
    placed = np.asarray(cv2.perspectiveTransform(other.fit.centres.reshape(-1, 1, 2), there), np.float64)
    return float(_worth(own.close, own.fit, plan, placed.reshape(1, -1, 2))[0]) - own.worth


def weigh(fit: Fit, guess: Frame, plan: Layout, room: float) -> Weighed:
    """Weigh a fit against its alternatives; rows and columns wider than `room` page units cannot have been missed."""
    centres = fit.centres
    seen = _likeness(fit, plan, centres)
    near = 2 * max(1, round(NEAR * float(plan.step.min()) * fit.scale)) + 1
    close = np.asarray(cv2.dilate(seen, np.ones((near, near), np.uint8)), np.float32)
    places = (centres - centres.min(axis=0)) / np.maximum(np.ptp(centres, axis=0), 1.0)
    ways = _ways(fit, plan)
    moves = np.concatenate([_tilts(places, ways), _cuts(centres, plan, ways)])
    worth = _worth(close, fit, plan, np.concatenate([centres[None], centres + moves]).astype(np.float64))
    gains = worth[1:] - worth[0]
    gains[np.abs(moves).max(axis=(1, 2)) > room * fit.scale] = -np.inf
    return Weighed(fit, guess, seen, close, float(worth[0]), moves, gains)


def _worth(close: Floats, fit: Fit, plan: Layout, centres: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How much bubbles at these places (n x bubbles x 2) would look like bubbles, and those beside them not."""
    beside = 2 * centres[:, plan.rim.edge] - centres[:, plan.rim.before] + plan.rim.offset * fit.scale
    return _sums(close, centres) - BESIDE * _sums(close, beside)


def _sums(seen: Floats, places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    x = np.clip(np.rint(places[..., 0]).astype(np.intp), 0, seen.shape[1] - 1)
    y = np.clip(np.rint(places[..., 1]).astype(np.intp), 0, seen.shape[0] - 1)
    return np.asarray(seen[y, x].sum(axis=1), np.float64)


WAYS = np.array([(0, -1), (0, 1), (-1, 0), (1, 0)], np.float32)
"""Columns and rows by which a lattice may be off."""
FARTHER = 2
"""Rows or columns by which a side may be off."""
SIDES = np.array(
    [(a, b) for a in range(-FARTHER, FARTHER + 1) for b in range(-FARTHER, FARTHER + 1) if a or b], np.float32
)
TILTS = 4 * len(SIDES) + 4 * len(WAYS)
"""So many alternatives are tilts; the rest are cuts."""


def _ways(fit: Fit, plan: Layout) -> Floats:
    """How far, in the fit's pixels, it is from each bubble to its neighbour each way (ways x bubbles x 2)."""
    out = np.zeros((len(WAYS), len(plan.boxes), 2), np.float32)
    for area in plan.areas:
        inside = fit.centres[area]
        grid = _extended(inside, plan.step * fit.scale)
        rows, columns = area.shape
        for way, (along, down) in enumerate(WAYS.astype(int)):
            moved = grid[1 + down : 1 + down + rows, 1 + along : 1 + along + columns]
            out[way, area.ravel()] = (moved - inside).reshape(-1, 2)
    return out


def _extended(grid: npt.NDArray[np.float64], step: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A lattice of places (rows x columns x 2) with one more on every side."""
    for axis, own in ((0, np.array([0.0, step[1]])), (1, np.array([step[0], 0.0]))):
        first, last = np.take(grid, [0], axis), np.take(grid, [-1], axis)
        if grid.shape[axis] > 1:
            before, after = first - np.take(grid, [1], axis), last - np.take(grid, [-2], axis)
        else:
            before, after = -own, own
        grid = np.concatenate([first + before, grid, last + after], axis=axis)
    return grid


def _tilts(places: npt.NDArray[np.float64], ways: Floats) -> Floats:
    """The lattice moved by columns or rows: by some at one side and by others at the opposite one, or at one corner.

    `places`: where in the lattice, 0 to 1 across and down; `ways`: how far a column or row is there.
    """
    u, v = places.T.astype(np.float32)
    near, far = SIDES[:, 0, None], SIDES[:, 1, None]
    sides = [(near * (1 - along) + far * along)[:, :, None] * way for along in (u, v) for way in ways[1::2]]
    corners = [share[:, None] * way for share in (u * v, u * (1 - v), (1 - u) * v, (1 - u) * (1 - v)) for way in ways]
    return np.concatenate([*sides, np.stack(corners)])


def _cuts(centres: npt.NDArray[np.float64], plan: Layout, ways: Floats) -> Floats:
    """The areas on one side of a line moved by a column or row."""
    middles = np.array([centres[area.ravel()].mean(axis=0) for area in plan.areas])
    out = []
    for axis in (0, 1):
        order = np.argsort(middles[:, axis])
        for count in sorted({round(share) for share in np.linspace(1, len(order) - 1, CUTS)} - {0, len(order)}):
            part = np.zeros(len(centres), np.float32)
            for area in order[:count]:
                part[plan.areas[area].ravel()] = 1.0
            out += [side[:, None] * way for side in (part, 1 - part) for way in ways]
    return np.stack(out) if out else np.empty((0, len(centres), 2), np.float32)


def _likeness(fit: Fit, plan: Layout, centres: npt.NDArray[np.float64]) -> Floats:
    """How much the surroundings of each pixel look like those of the usual bubble, -1 to 1; `MARKED` where marked.

    Question numbers or a header can be as dark as a bubble, but do not look like one. The usual look is the median
    over all places of the fit.
    """
    print_ = np.minimum(fit.dark, PRINTED)
    half = np.maximum(np.rint(np.minimum(plan.size * LOOK, plan.step * 1.1) * fit.scale / 2).astype(int), 2)
    across, along = np.meshgrid(np.arange(-half[0], half[0] + 1), np.arange(-half[1], half[1] + 1))
    some = centres[:: max(1, len(centres) // 300)]
    x = (some[:, 0, None] + across.ravel()).astype(np.float32)
    y = (some[:, 1, None] + along.ravel()).astype(np.float32)
    looks = cv2.remap(print_, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    usual = np.median(looks, axis=0).reshape(across.shape).astype(np.uint8)
    edges = (half[1], half[1], half[0], half[0])
    padded = cv2.copyMakeBorder(print_, *edges, cv2.BORDER_CONSTANT, value=0)
    along_with = cv2.matchTemplate(padded, usual, cv2.TM_CCOEFF)
    box = (usual.shape[1], usual.shape[0])
    mean = cv2.blur(padded, box, borderType=cv2.BORDER_CONSTANT).astype(np.float32)
    spread = cv2.sqrBoxFilter(padded, cv2.CV_32F, box, borderType=cv2.BORDER_CONSTANT) - mean * mean
    spread = np.sqrt(np.maximum(spread, LEAST_SPREAD**2))[half[1] : -half[1], half[0] : -half[0]]
    alike = along_with / (usual.size * max(float(usual.std()), 1.0) * spread)
    return np.asarray(np.where(_marked(fit, plan, centres), np.float32(MARKED), alike), np.float32)


def _marked(fit: Fit, plan: Layout, centres: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Where a mark's middle is: dark as this sheet's marks, and lighter half way to each of the next places."""
    width, height = np.maximum(np.rint(plan.size * fit.scale * 0.7).astype(int), 1).tolist()
    cover = cv2.blur(fit.dark, (width, height))
    x, y = np.rint(centres).astype(int).T
    at = cover[np.clip(y, 0, cover.shape[0] - 1), np.clip(x, 0, cover.shape[1] - 1)]
    half = np.rint(np.minimum(plan.step / 2, plan.size * 0.9) * fit.scale).astype(int)
    blurred, around = cv2.blur(fit.dark, (3, 3)), np.zeros_like(cover)
    for along, down in ((half[0], 0), (-half[0], 0), (0, half[1]), (0, -half[1])):
        move = np.array([[1, 0, along], [0, 1, down]], np.float64)
        around = np.maximum(around, cv2.warpAffine(blurred, move, cover.shape[::-1], flags=cv2.INTER_NEAREST))
    return np.asarray((cover > MARK * float(np.percentile(at, 98))) & (around < LIGHTER * cover.astype(np.float32)))
