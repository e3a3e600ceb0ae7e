"""Fitting the template to the picture by the printed bubbles themselves.

Third step of `run`. A guess of the page's place (`page.Frame`) is warped upright; pieces of the bubble pattern are
searched around where the template expects them (normalised cross-correlation), and the corner shifts that serve all
pieces together are found (random search over the pieces' answers, narrowed step by step). Then every field is
searched again finely and a smooth surface takes up curl and perspective. The bubbles decide between
guesses and between upright and upside down, so no page edge and no marker is needed.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from academy_ai.kinds.omr_grade.page import Floats, Frame, Gray, Matrix, ink
from academy_ai.kinds.omr_grade.template import Sheet

COARSE_BUBBLE = 6.0
COARSE_SIDES = (300.0, 640.0)
FINE_BUBBLE = 9.0
FINE_SIDES = (400.0, 1600.0)
"""Pixels across a bubble in the coarse and the fine search, unless the page's long side would leave these bounds."""

"""Ink (of 255) above this counts as print: a filled bubble must not outweigh the printed ones."""
RING = 1.45
"""The paper around a bubble reaches this many bubble radii."""
FLAT = 0.03
"""Contrast (in ink) under which a place counts as empty."""
BEYOND = 0.5
"""Weight of the places next to a lattice, where no bubble may be."""
PRIOR = 0.15
"""Cost of shifting the whole page as far as the slack allows."""
SEED = 20_240_601
MAX_REACH = 40
"""Pixels that a field is followed at most."""
RELAX = 0.3
"""Bubble pitches that a piece may be off while the page as a whole is looked for."""
SEEDS = 4
ROUNDS = ((4000, 0.3, 0.6), (1500, 0.25, 0.25), (800, 0.15, 0.12), (500, 0.0, 0.06), (300, 0.0, 0.02))
"""Guesses a round, relaxation in bubble pitches, spread as a share of the slack."""
SURVIVORS = 40
PULL = 0.35
"""Bubble pitches within which a piece draws the corners to its peak."""
STIFF = 0.01
"""Resistance of the corners to the pieces, which together pull with at most 1."""
FEW = 4
"""With fewer pieces the corners are not drawn far apart: nothing could tell."""
RUN = 3
STEPS = 2
"""Rows or columns that the lattice may be found off, one at a time."""
LOOK = 2.0
"""How much of a bubble's surroundings belongs to its look, in bubbles."""
PRINTED = 90
MARK, MARKED = 0.6, 2.0
"""A place this dark (of the darkest) is marked; a mark beside the lattice means that the lattice is off."""
LEAST_STEP = 0.8
MISSTEP = 0.06
"""By how much (per place on a block's shorter side) another place must look better before the lattice moves."""
PIECE = 8
"""Rows and columns of bubbles in one piece, at most."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some neighbouring bubbles that are searched together, page units."""

    centres: npt.NDArray[np.float64]
    beyond: npt.NDArray[np.float64]
    """Where the next bubbles would be if the lattice went on, and the template has none."""

    @property
    def centre(self) -> npt.NDArray[np.float64]:
        """Middle of the piece."""
        middle: npt.NDArray[np.float64] = self.centres.mean(axis=0)
        return middle


@dataclass(frozen=True, slots=True)
class Layout:
    """The bubbles of a sheet as arrays, made once a template."""

    sheet: Sheet
    boxes: npt.NDArray[np.float64]
    size: npt.NDArray[np.float64]
    """Usual width and height of a bubble, page units."""
    pieces: tuple[Piece, ...]
    starts: npt.NDArray[np.intp]
    """First bubble of each run: up to three neighbouring bubbles of one field, followed together in the fine fit."""
    places: npt.NDArray[np.float64]
    """Middle of each run, page units."""
    blocks: tuple[npt.NDArray[np.intp], ...]
    """Runs of each block."""
    grids: tuple[npt.NDArray[np.intp], ...]
    """Bubbles of each block as they lie: rows by columns."""
    step: npt.NDArray[np.float64]
    """Usual distance from column to column and from row to row, page units."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The page found: `picture` is it upright, `boxes` are the bubbles' (x0, y0, x1, y1) in its pixels."""

    source: str
    likeness: float
    """How well the bubbles were found, 0 (not at all) to about 0.5."""
    picture: Gray
    dark: Gray
    """Ink of `picture`."""
    boxes: npt.NDArray[np.float64]
    scale: float
    """Pixels a page unit."""


def layout(sheet: Sheet) -> Layout:
    """Cut the template into pieces for the search."""
    boxes = np.array([(b.x, b.y, b.x + b.width, b.y + b.height) for f in sheet.fields for b in f.bubbles], np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    near = 0.8 * float(np.median(boxes[:, 2:] - boxes[:, :2]))
    counts = [len(one.bubbles) for one in sheet.fields]
    starts = np.cumsum([0, *counts])[:-1]
    blocks: dict[str, list[int]] = {}
    for number, one in enumerate(sheet.fields):
        blocks.setdefault(one.block, []).append(number)
    pieces: list[Piece] = []
    laid: list[npt.NDArray[np.intp]] = []
    for members in blocks.values():
        rows = starts[members][:, None] + np.arange(counts[members[0]])
        first = sheet.fields[members[0]].bubbles
        laid.append(rows if first[0].y == first[-1].y and first[0].x <= first[-1].x else rows.T)
        pieces.extend(
            Piece(centres[part.ravel()], _beyond(centres[part], centres, near))
            for part in np.array_split(rows, -(-len(rows) // PIECE))
        )
    grids = tuple(laid)
    runs, owners = _runs(counts, [number for number, members in enumerate(blocks.values()) for _ in members])
    lengths = np.diff(np.append(runs, len(boxes)))
    return Layout(
        sheet,
        boxes,
        np.median(boxes[:, 2:] - boxes[:, :2], axis=0),
        tuple(pieces),
        runs,
        np.stack([np.add.reduceat(centres[:, axis], runs) / lengths for axis in (0, 1)], axis=1),
        tuple(np.flatnonzero(owners == number) for number in range(len(blocks))),
        grids,
        np.array([_step(centres, grids, axis) for axis in (0, 1)]),
    )


def _runs(counts: list[int], blocks: list[int]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """First bubbles of the runs of fields with these numbers of bubbles, and the block of each run."""
    starts: list[int] = []
    owners: list[int] = []
    first = 0
    for count, block in zip(counts, blocks, strict=True):
        parts = [len(part) for part in np.array_split(np.arange(count), -(-count // RUN))]
        starts += [first + sum(parts[:place]) for place in range(len(parts))]
        owners += [block] * len(parts)
        first += count
    return np.array(starts, np.intp), np.array(owners, np.intp)


def _step(centres: npt.NDArray[np.float64], grids: tuple[npt.NDArray[np.intp], ...], axis: int) -> float:
    gaps = [np.diff(centres[grid][..., axis], axis=1 - axis).ravel() for grid in grids]
    every = np.concatenate(gaps)
    return float(np.median(every)) if len(every) else 2 * float(np.ptp(centres[:, axis]) + 1)


def _beyond(
    lattice: npt.NDArray[np.float64], everything: npt.NDArray[np.float64], near: float
) -> npt.NDArray[np.float64]:
    """One step beyond each side of a lattice (fields x bubbles x 2), but where another bubble is."""
    sides = []
    for grid in (lattice, lattice.swapaxes(0, 1)):
        if len(grid) > 1:
            sides += [2 * grid[0] - grid[1], 2 * grid[-1] - grid[-2]]
    if not sides:
        return np.empty((0, 2))
    places = np.concatenate(sides)
    gap = np.abs(places[:, None, :] - everything[None, :, :]).max(axis=2).min(axis=1)
    return np.asarray(places[gap > near])


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


def upright(gray: Gray, matrix: Matrix, sheet: Sheet, scale: float, pad: float) -> Gray:
    """The page as the template sees it, `scale` pixels a unit, with `pad` units of surroundings."""
    move = np.array([[1 / scale, 0, -pad], [0, 1 / scale, -pad], [0, 0, 1]])
    size = round((sheet.width + 2 * pad) * scale), round((sheet.height + 2 * pad) * scale)
    return np.asarray(
        cv2.warpPerspective(
            gray, matrix @ move, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        ),
        np.uint8,
    )


@dataclass(slots=True)
class Trial:
    """A guess under trial: the pieces' answers by shift, and the best shifts of the four corners so far (pixels)."""

    frame: Frame
    grow: float
    answers: Floats
    scale: float
    reach: int
    weights: Floats
    score: float
    seeds: Floats
    """Candidate corner shifts (n x 2 x 4), best first."""


def _scale(plan: Layout, bubble: float, sides: tuple[float, float]) -> float:
    """Pixels a page unit."""
    longest = max(plan.sheet.width, plan.sheet.height)
    return float(np.clip(bubble / float(plan.size.min()), sides[0] / longest, sides[1] / longest))


def trial(gray: Gray, frame: Frame, plan: Layout, grow: float = 1.0) -> Trial:
    """Warp the picture by the guess and ask every piece for its likeness at every shift within the slack.

    `grow`: how much larger the printed bubbles are than the template's boxes.
    """
    sheet = plan.sheet
    scale = _scale(plan, COARSE_BUBBLE, COARSE_SIDES)
    slack = frame.slack * min(sheet.width, sheet.height)
    pad = slack + 2 * sheet.pitch
    reach = max(1, round(slack * scale))
    dark = ink(upright(gray, frame.matrix, sheet, scale, pad), round(3 * float(plan.size.min()) * scale))
    alike = _alike(dark, plan, scale, grow, reach)
    answers = np.stack([_answer(alike, piece, scale, pad, reach) for piece in plan.pieces])
    weights = np.array([len(piece.centres) for piece in plan.pieces], np.float32)
    weights /= weights.sum()
    score, seeds = _translations(answers, weights, reach, sheet.pitch * scale)
    return Trial(frame, grow, answers, scale, reach, weights, score, seeds)


def _translations(answers: Floats, weights: Floats, reach: int, pitch: float) -> tuple[float, Floats]:
    """The best shifts of the page as a whole, its pieces free to move a little; and the score of the best."""
    together = np.tensordot(weights, _relaxed(answers, RELAX * pitch), axes=1)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] / reach
    together = (together - PRIOR * (np.square(x) + np.square(y)) / 2).astype(np.float32)
    score = float(together.max())
    seeds = []
    apart = max(1, round(0.4 * pitch))
    for _ in range(SEEDS):
        _, _, _, (column, row) = cv2.minMaxLoc(together)
        seeds.append(np.repeat(np.array([[column - reach], [row - reach]], np.float32), 4, axis=1))
        cv2.rectangle(together, (column - apart, row - apart), (column + apart, row + apart), -9.0, -1)
    return score, np.stack(seeds)


def _relaxed(answers: Floats, radius: float) -> Floats:
    """Every answer replaced by the best one within `radius` pixels."""
    width = 2 * round(radius) + 1
    if width == 1:
        return answers
    box = cv2.getStructuringElement(cv2.MORPH_RECT, (width, width))
    return np.stack([cv2.dilate(one, box) for one in answers])


def _alike(dark: Gray, plan: Layout, scale: float, grow: float, reach: int) -> Floats:
    width, height = np.minimum(plan.size * grow, np.maximum(plan.size, plan.sheet.pitch * 0.95)) * scale
    alike = likeness(dark, float(width), float(height))
    return np.asarray(cv2.copyMakeBorder(alike, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0.0))


def corrected(found: Trial, sheet: Sheet) -> Frame:
    """The guess moved to where the bubbles were found."""
    shifts = found.seeds[0].T.astype(np.float64)
    corners = np.array([(0, 0), (sheet.width, 0), (sheet.width, sheet.height), (0, sheet.height)], np.float64)
    moved = cv2.perspectiveTransform((corners + shifts / found.scale).reshape(-1, 1, 2), found.frame.matrix).reshape(
        4, 2
    )
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32))
    return Frame(found.frame.source, np.asarray(matrix, np.float64), 0.0)


def _answer(alike: Floats, piece: Piece, scale: float, pad: float, reach: int) -> Floats:
    """Mean likeness of the piece's bubbles, less that of the places where its lattice must have ended, by shift."""
    side = 2 * reach + 1
    out = np.zeros((side, side), np.float32)
    corners = np.maximum(np.rint((piece.centres + pad) * scale).astype(int), 0)
    for x, y in corners:
        out += alike[y : y + side, x : x + side]
    if len(piece.beyond):
        outside = np.zeros_like(out)
        for x, y in np.maximum(np.rint((piece.beyond + pad) * scale).astype(int), 0):
            seen = alike[y : y + side, x : x + side]
            outside[: seen.shape[0], : seen.shape[1]] += seen
        out -= BEYOND * outside
    return np.asarray(out / len(piece.centres), np.float32)


def _run_answers(alike: Floats, plan: Layout, scale: float, pad: float, reach: int) -> Floats:
    """Mean likeness of each run's bubbles by shift."""
    side = 2 * reach + 1
    middles = (plan.boxes[:, :2] + plan.boxes[:, 2:]) / 2
    x, y = np.rint((middles + pad) * scale).astype(int).T
    windows = np.lib.stride_tricks.sliding_window_view(alike, (side, side))[y, x]
    sums = np.add.reduceat(windows, plan.starts, axis=0)
    counts = np.diff(np.append(plan.starts, len(middles)))
    return np.asarray(sums / counts[:, None, None], np.float32)


def _jumps(random: np.random.Generator, count: int, step: npt.NDArray[np.float64]) -> Floats:
    """For half of the guesses, some corners moved by a whole row or column: the way out of a fit that is one off."""
    corners = random.integers(0, 2, (count, 1, 4)).astype(np.float32)
    ways = np.array([(0, 0), (0, 0), (0, 0), (0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)], np.float32) * step
    return np.asarray(corners * ways[random.integers(0, len(ways), count)][:, :, None], np.float32)


def search(found: Trial, plan: Layout) -> None:
    """Find the shifts of the four corners under which the pieces answer best together.

    Evolution: each round draws around the survivors of the last with less and less spread, first over relaxed
    answers, in which a piece may be a little off, at last over the answers themselves.
    """
    sheet, reach = plan.sheet, found.reach
    centres = np.array([piece.centre for piece in plan.pieces], np.float32)
    u, v = centres[:, 0] / sheet.width, centres[:, 1] / sheet.height
    share = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v])
    random = np.random.default_rng(SEED)
    survivors = found.seeds
    for count, relax, spread in ROUNDS:
        noise = max(spread * reach, 0.4)
        drawn = survivors[random.integers(0, len(survivors), count)]
        drawn = drawn + random.standard_normal((count, 2, 1), np.float32) * (noise / 2)
        drawn = drawn + random.standard_normal((count, 2, 4), np.float32) * (
            noise if len(plan.pieces) >= FEW else noise / 3
        )
        guesses = np.concatenate([survivors, drawn + _jumps(random, count, plan.step * found.scale)])
        value = _scores(found, _relaxed(found.answers, relax * sheet.pitch * found.scale), guesses, share)
        survivors = guesses[np.argsort(value)[::-1][:SURVIVORS]]
        survivors = _polished(found, survivors, share, PULL * sheet.pitch * found.scale)
        scores = _scores(found, found.answers, survivors, share)
        order = np.argsort(scores)[::-1]
        survivors, found.score = survivors[order], float(scores[order[0]])
    found.seeds = survivors


def _scores(found: Trial, answers: Floats, corners: Floats, share: Floats) -> npt.NDArray[np.float32]:
    """How well the pieces answer under each of the corner shifts (n x 2 x 4), less the cost of shifting."""
    pieces, side, _ = answers.shape
    whole = np.rint(np.clip(corners @ share, -found.reach, found.reach)).astype(np.intp) + found.reach
    flat = (np.arange(pieces) * side + whole[:, 1]) * side + whole[:, 0]
    value = answers.ravel()[flat] @ found.weights
    return np.asarray(value - PRIOR * np.square(corners / found.reach).mean(axis=(1, 2)), np.float32)


def _polished(found: Trial, corners: Floats, share: Floats, radius: float) -> Floats:
    """Each of the corner shifts drawn to the peaks that its pieces see within `radius` (least squares, kept stiff)."""
    side, near = found.answers.shape[1], max(1, round(radius))
    pieces = np.arange(len(found.answers))[None, :, None]
    y, x = (axis.ravel() for axis in np.mgrid[-near : near + 1, -near : near + 1])
    at = corners @ share
    whole = np.rint(np.clip(at, -found.reach, found.reach)).astype(np.intp) + found.reach
    columns = np.clip(whole[:, 0, :, None] + x, 0, side - 1)
    rows = np.clip(whole[:, 1, :, None] + y, 0, side - 1)
    seen = found.answers[pieces, rows, columns]
    peak = seen.argmax(axis=2)
    trust = np.maximum(np.take_along_axis(seen, peak[..., None], axis=2)[..., 0], 0.0) * found.weights
    target = np.stack([whole[:, 0] + x[peak], whole[:, 1] + y[peak]], axis=1) - found.reach
    left = np.einsum("np,ap,bp->nab", trust, share, share) + STIFF * np.eye(4)
    right = np.einsum("np,ncp,ap->nac", trust, target - at, share)
    return np.asarray(corners + np.linalg.solve(left, right).swapaxes(1, 2), np.float32)


def settle(gray: Gray, found: Trial, plan: Layout) -> Fit:
    """Fit finely; where the lattice turns out to lie a row or column off, step over and fit again."""
    guess, grow, slack = corrected(found, plan.sheet), found.grow, found.frame.slack
    fit = fine(gray, guess, plan, grow)
    for _ in range(STEPS):
        column, row = misstep(fit, plan)
        if not (column or row):
            break
        step = plan.step * (column, row)
        if np.abs(step).max() > 1.2 * slack * min(plan.sheet.width, plan.sheet.height):
            break
        move = np.array([[1, 0, step[0]], [0, 1, step[1]], [0, 0, 1.0]])
        guess = Frame(guess.source, guess.matrix @ move, 0.0)
        fit = fine(gray, guess, plan, grow)
    return fit


def misstep(fit: Fit, plan: Layout) -> tuple[int, int]:
    """Columns and rows by which the lattice should move so that all its places look like one another.

    Question numbers or a header can be as dark as a bubble, but do not look like one: the usual look is the median
    of all places, and the lattice extended by one place on each side tells where that look begins and ends.
    """
    centres = (fit.boxes[:, :2] + fit.boxes[:, 2:]) / 2
    grids = [_extended(centres[cells], plan.step * fit.scale) for cells in plan.grids]
    half = np.minimum(plan.size * LOOK, plan.step * 1.1) * fit.scale / 2
    looks = [_looks(fit.dark, grid.reshape(-1, 2), half) for grid in grids]
    inside = [look.reshape(*grid.shape[:2], -1)[1:-1, 1:-1] for look, grid in zip(looks, grids, strict=True)]
    usual = np.median(np.concatenate([look.reshape(-1, look.shape[-1]) for look in inside])[:: _every(inside)], axis=0)
    usual = (usual - usual.mean()) / max(float(usual.std()), 1e-3)
    cover = [_cover(fit.dark, grid.reshape(-1, 2), plan.size * fit.scale * 0.35) for grid in grids]
    mark = MARK * float(np.percentile(np.concatenate(cover), 98))
    gain = np.zeros((3, 3))
    edge = 0
    for look, grid, dark in zip(looks, grids, cover, strict=True):
        rows, columns = grid.shape[0] - 2, grid.shape[1] - 2
        alike = np.where(dark > mark, MARKED, look @ usual / usual.size).reshape(rows + 2, columns + 2)
        edge += min(rows, columns)
        for down in range(3):
            for along in range(3):
                gain[down, along] += alike[down : down + rows, along : along + columns].sum()
    gain -= gain[1, 1] + MISSTEP * edge + LEAST_STEP
    gain[1, 1] = 0.0
    best = int(gain.argmax())
    return best % 3 - 1, best // 3 - 1


def _cover(dark: Gray, centres: npt.NDArray[np.float64], half: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean ink in the middle of each place."""
    across, along = np.meshgrid(np.linspace(-1, 1, 4), np.linspace(-1, 1, 4))
    x = (centres[:, 0, None] + across.ravel() * half[0]).astype(np.float32)
    y = (centres[:, 1, None] + along.ravel() * half[1]).astype(np.float32)
    return np.asarray(cv2.remap(dark, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT).mean(axis=1), np.float64)


def _every(inside: list[npt.NDArray[np.float32]]) -> int:
    places = sum(int(look.shape[0] * look.shape[1]) for look in inside)
    return max(1, places // 300)


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


def _looks(dark: Gray, centres: npt.NDArray[np.float64], half: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The picture around each place, 9 x 9 samples, of mean 0 and contrast at most 1 (places x 81)."""
    spots = np.linspace(-1, 1, 9)
    across, along = np.meshgrid(spots, spots)
    x = (centres[:, 0, None] + across.ravel() * half[0]).astype(np.float32)
    y = (centres[:, 1, None] + along.ravel() * half[1]).astype(np.float32)
    seen = cv2.remap(dark, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT).astype(np.float32)
    seen = np.minimum(seen, PRINTED)
    seen -= seen.mean(axis=1, keepdims=True)
    return np.asarray(seen / np.maximum(seen.std(axis=1, keepdims=True), 8.0), np.float32)


def fine(gray: Gray, guess: Frame, plan: Layout, grow: float) -> Fit:
    """Follow every run of bubbles around a corrected guess and bend the template to them."""
    sheet = plan.sheet
    scale = _scale(plan, FINE_BUBBLE, FINE_SIDES)
    pad = sheet.pitch
    picture = upright(gray, guess.matrix, sheet, scale, pad)
    reach = min(MAX_REACH, max(2, round(0.45 * sheet.pitch * scale)))
    dark = ink(picture, round(3 * float(plan.size.min()) * scale))
    alike = _alike(dark, plan, scale, grow, reach)
    answers = _run_answers(alike, plan, scale, pad, reach)
    shifts, found = _bend(answers, plan)
    boxes = (plan.boxes + np.tile(shifts / scale, 2) + pad) * scale
    return Fit(guess.source, found, picture, dark, boxes, scale)


def _bend(answers: Floats, plan: Layout) -> tuple[npt.NDArray[np.float64], float]:
    """Shift of each bubble, pixels, and the likeness there.

    A stiff polynomial over the page, then a little shift and stretch of its own for each block.
    """
    places, sheet = plan.places, plan.sheet
    middles = (plan.boxes[:, :2] + plan.boxes[:, 2:]) / 2
    over_page = (2 / sheet.width, 2 / sheet.height)
    page_terms = _terms(places * over_page - 1)
    weights = _follow(answers, np.zeros_like(places), page_terms, STIFFNESS, (1.0, 0.6, 0.4, 0.3))
    runs, bubbles = page_terms @ weights, _terms(middles * over_page - 1) @ weights
    for members, own in zip(plan.blocks, plan.grids, strict=True):
        centre = places[members].mean(axis=0)
        half = np.maximum(np.ptp(places[members], axis=0), sheet.pitch) / 2
        block_terms = _terms((places[members] - centre) / half)[:, :3]
        weights = _follow(answers[members], runs[members], block_terms, BLOCK_STIFFNESS, (0.5, 0.35))
        runs[members] += block_terms @ weights
        bubbles[own.ravel()] += _terms((middles[own.ravel()] - centre) / half)[:, :3] @ weights
    reach = answers.shape[1] // 2
    at = np.clip(np.rint(runs), -reach, reach).astype(int) + reach
    return bubbles, float(answers[np.arange(len(at)), at[:, 1], at[:, 0]].mean())


def _terms(at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cubic polynomial terms of places scaled to -1..1."""
    x, y = at.T
    return np.stack([np.ones_like(x), x, y, x * y, x * x, y * y, x**3, x * x * y, x * y * y, y**3], axis=1)


STIFFNESS = np.array([0.0, 0.1, 0.1, 0.5, 0.5, 0.5, 2.0, 2.0, 2.0, 2.0])
"""How much evidence (fields) each term of the page's bend needs before it moves."""
BLOCK_STIFFNESS = np.array([3.0, 3.0, 3.0])
"""The same for a block's own shift and stretch: templates are measured by hand, block by block."""


def _follow(
    answers: Floats,
    start: npt.NDArray[np.float64],
    terms: npt.NDArray[np.float64],
    stiffness: npt.NDArray[np.float64],
    radii: tuple[float, ...],
) -> npt.NDArray[np.float64]:
    """Weights of `terms` that carry `start` to the peaks of the runs' answers; runs that disagree lose their say."""
    side = answers.shape[1]
    reach = side // 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    weights = np.zeros((terms.shape[1], 2))
    for radius in radii:
        expected = start + terms @ weights
        away = np.square(x - expected[:, 0, None, None].astype(np.float32))
        away += np.square(y - expected[:, 1, None, None].astype(np.float32))
        seen = np.maximum(answers, 0.0) * np.exp(away / (-2 * (radius * reach) ** 2))
        peak = seen.reshape(len(seen), -1).argmax(axis=1)
        shift = np.stack([_subpixel(seen, peak, side, 1), _subpixel(seen, peak, side, side)], axis=1)
        shift[:, 0] += peak % side - reach
        shift[:, 1] += peak // side - reach
        trust = seen.reshape(len(seen), -1).max(axis=1).astype(np.float64)
        trust *= np.exp(-np.square(shift - expected).sum(axis=1) / (radius * reach) ** 2)
        trust /= max(float(np.percentile(trust, 80)), 1e-6)
        left = terms.T @ (terms * trust[:, None]) + np.diag(stiffness + 1e-6)
        weights = np.linalg.solve(left, terms.T @ ((shift - start) * trust[:, None]))
    return weights


def _subpixel(seen: Floats, peak: npt.NDArray[np.intp], side: int, step: int) -> npt.NDArray[np.float64]:
    """Offset of the peak between pixels along one axis, by a parabola through its neighbours."""
    flat = seen.reshape(len(seen), -1)
    rows = np.arange(len(flat))
    inside = (peak - step >= 0) & (peak + step < side * side)
    before, after = flat[rows, np.maximum(peak - step, 0)], flat[rows, np.minimum(peak + step, side * side - 1)]
    bottom = before + after - 2 * flat[rows, peak]
    peaked = inside & (bottom < 0)
    offset = np.where(peaked, (before - after) / np.where(peaked, 2 * bottom, -1.0), 0.0)
    return np.clip(offset, -0.5, 0.5)
