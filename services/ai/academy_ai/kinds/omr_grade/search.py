"""Where on the picture the page lies, coarsely: all pieces of the bubble pattern together (third step of `run`).

A guess of the page's place (`page.Frame`) is warped upright; every piece is asked for its likeness at every shift
within the slack, and the corner shifts that serve all pieces together are found by evolution over those answers.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from academy_ai.kinds.omr_grade import view
from academy_ai.kinds.omr_grade.layout import Layout, Piece
from academy_ai.kinds.omr_grade.page import Frame
from academy_ai.paper import Floats, Gray, ink

COARSE_BUBBLE = 6.0
COARSE_SIDES = (300.0, 640.0)
"""Pixels across a bubble in this search, unless the page's long side would leave these bounds."""
BEYOND = 0.5
"""Weight of the places next to a lattice, where no bubble may be."""
PRIOR = 0.15
"""Cost of shifting the whole page as far as the slack allows."""
SEED = 20_240_601
RELAX = 0.3
"""Bubble pitches that a piece may be off while the page as a whole is looked for."""
SEEDS = 4
ROUNDS = ((2000, 0.3, 0.6), (1500, 0.25, 0.25), (800, 0.15, 0.12), (500, 0.0, 0.06), (300, 0.0, 0.02))
"""Guesses a round, relaxation in bubble pitches, spread as a share of the slack."""
SURVIVORS = 40
PEAKS, DRAWS = 4, 1500
"""Peaks of each piece, and fours of pieces drawn to peaks of theirs."""
REFINE, DRAWN = (0.12, 0.06, 0.02), 2
"""Spread in bubble pitches around given corner shifts, round by round, and draws around each."""
CONVEX = 0.3
"""Share of the lattice's size that a corner may shift: four such corners never cross."""
PULL = 0.35
"""Bubble pitches within which a piece draws the corners to its peak."""
STIFF = 0.01
"""Resistance of the corners to the pieces, which together pull with at most 1."""
HELD = 0.2
"""Share of a piece's extent that keeps its shape when the page is moved: the larger, the stiffer the page."""
FEW = 4
"""With fewer pieces the corners are not drawn far apart: nothing could tell."""


@dataclass(slots=True)
class Trial:
    """A guess under trial: the pieces' answers by shift, and the best shifts of the four corners so far (pixels)."""

    frame: Frame
    grow: float
    answers: Floats
    scale: float
    reach: int
    prior: float
    weights: Floats
    score: float
    seeds: Floats
    """Candidate corner shifts (n x 2 x 4), best first."""


def trial(gray: Gray, frame: Frame, plan: Layout, grow: float = 1.0) -> Trial:
    """Warp the picture by the guess and ask every piece for its likeness at every shift within the slack.

    `grow`: how much larger the printed bubbles are than the template's boxes.
    """
    sheet = plan.sheet
    scale = view.pixels(plan, COARSE_BUBBLE, COARSE_SIDES)
    slack = frame.slack * min(sheet.width, sheet.height)
    pad = slack + 2 * sheet.pitch
    reach = max(1, round(slack * scale))
    dark = ink(view.upright(gray, frame.matrix, sheet, scale, pad), round(3 * float(plan.size.min()) * scale))
    alike = view.alike(dark, plan, scale, grow, reach)
    return on_pieces(frame, grow, plan, Alike(alike, scale, pad, reach))


@dataclass(frozen=True, slots=True)
class Alike:
    """A page of likenesses to a bubble's middle: `scale` pixels a page unit, with `pad` units around the page.

    The picture has `reach` more pixels on every side, as far as pieces are looked for.
    """

    picture: Floats
    scale: float
    pad: float
    reach: int
    prior: float = PRIOR
    """Cost of shifting the whole page by `reach`."""


def on_pieces(frame: Frame, grow: float, plan: Layout, alike: Alike) -> Trial:
    """Ask every piece for its likeness at every shift within reach."""
    answers = np.stack([_answer(alike, piece) for piece in plan.pieces])
    weights = np.array([len(piece.centres) for piece in plan.pieces], np.float32)
    weights /= weights.sum()
    score, seeds = _translations(answers, weights, alike, plan.sheet.pitch * alike.scale)
    return Trial(frame, grow, answers, alike.scale, alike.reach, alike.prior, weights, score, seeds)


def _translations(answers: Floats, weights: Floats, alike: Alike, pitch: float) -> tuple[float, Floats]:
    """The best shifts of the page as a whole, its pieces free to move a little; and the score of the best."""
    together = np.tensordot(weights, _relaxed(answers, RELAX * pitch), axes=1)
    reach = alike.reach
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] / reach
    together = (together - alike.prior * (np.square(x) + np.square(y)) / 2).astype(np.float32)
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


def corrected(found: Trial, plan: Layout) -> Frame:
    """The guess moved to where the bubbles were found.

    The search asked every piece at one shift, without turning or stretching it, so that is all it knows: the
    homography is the one that comes nearest to it. One through the page's corners would not do, as a corner without
    bubbles near it may have gone anywhere, and its perspective bends the lattice away by half a row.
    """
    shifts = _shifts(found.seeds[:1], _spans(found, plan))[0].T / found.scale
    marks = np.stack([piece.centre + HELD * _corners_of(piece, plan) for piece in plan.pieces])
    moved = (marks + shifts[:, None, :]).reshape(-1, 1, 2)
    there = cv2.perspectiveTransform(moved.astype(np.float64), found.frame.matrix)
    matrix, _ = cv2.findHomography(marks.reshape(-1, 1, 2), there, 0)
    return Frame(found.frame.source, np.asarray(matrix, np.float64), 0.0)


def _corners_of(piece: Piece, plan: Layout) -> npt.NDArray[np.float64]:
    """The corners of what a piece covers, as seen from its middle (4 x 2, page units)."""
    half = (np.ptp(piece.centres, axis=0) + plan.size) / 2
    return np.asarray(np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half, np.float64)


def _answer(alike: Alike, piece: Piece) -> Floats:
    """Mean likeness of the piece's bubbles, less that of the places where its lattice must have ended, by shift."""
    scale, pad = alike.scale, alike.pad
    side = 2 * alike.reach + 1
    out = np.zeros((side, side), np.float32)
    corners = np.maximum(np.rint((piece.centres + pad) * scale).astype(int), 0)
    for x, y in corners:
        out += alike.picture[y : y + side, x : x + side]
    if len(piece.beyond):
        outside = np.zeros_like(out)
        for x, y in np.maximum(np.rint((piece.beyond + pad) * scale).astype(int), 0):
            seen = alike.picture[y : y + side, x : x + side]
            outside[: seen.shape[0], : seen.shape[1]] += seen
        out -= BEYOND * outside
    return np.asarray(out / len(piece.centres), np.float32)


def _jumps(random: np.random.Generator, count: int, step: npt.NDArray[np.float64]) -> Floats:
    """For half of the guesses, some corners moved by a whole row or column: the way out of a fit that is one off."""
    corners = random.integers(0, 2, (count, 1, 4)).astype(np.float32)
    ways = np.array([(0, 0), (0, 0), (0, 0), (0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)], np.float32) * step
    return np.asarray(corners * ways[random.integers(0, len(ways), count)][:, :, None], np.float32)


@dataclass(frozen=True, slots=True)
class Spans:
    """Where the pieces lie in the lattice, in the trial's pixels."""

    size: Floats
    """Width and height of what all bubbles cover, as a column: `plan.span`."""
    within: Floats
    """The pieces' middles as shares of it (2 x pieces)."""
    loose: float
    """How far one corner may go alone, of how far all may together: what is small on its page keeps its shape."""

    @property
    def share(self) -> Floats:
        """How much each piece moves with each corner when the lattice is stretched evenly (4 x pieces)."""
        u, v = self.within
        return np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v])


def _spans(found: Trial, plan: Layout) -> Spans:
    low, high = plan.span
    middles = np.array([piece.centre for piece in plan.pieces])
    return Spans(
        ((high - low)[:, None] * found.scale).astype(np.float32),
        ((middles - low) / (high - low)).T.astype(np.float32),
        float(((high - low) / (plan.sheet.width, plan.sheet.height)).max()),
    )


def search(found: Trial, plan: Layout) -> None:
    """Find the shifts of the four corners under which the pieces answer best together.

    Evolution: each round draws around the survivors of the last with less and less spread, first over relaxed
    answers, in which a piece may be a little off, at last over the answers themselves.
    """
    sheet, reach = plan.sheet, found.reach
    spans = _spans(found, plan)
    random = np.random.default_rng(SEED)
    survivors = found.seeds
    if len(plan.pieces) >= FEW:
        survivors = np.concatenate([survivors, _through_peaks(found, spans, random, sheet.pitch * found.scale)])
    for count, relax, spread in ROUNDS:
        noise = max(spread * reach, 0.4)
        drawn = survivors[random.integers(0, len(survivors), count)]
        drawn = drawn + random.standard_normal((count, 2, 1), np.float32) * (noise / 2)
        drawn = drawn + random.standard_normal((count, 2, 4), np.float32) * (
            spans.loose * (noise if len(plan.pieces) >= FEW else noise / 3)
        )
        guesses = np.concatenate([survivors, drawn + _jumps(random, count, plan.step * found.scale)])
        value = _scores(found, _relaxed(found.answers, relax * sheet.pitch * found.scale), guesses, spans)
        survivors = guesses[np.argsort(value)[::-1][:SURVIVORS]]
        survivors = _polished(found, survivors, spans, PULL * sheet.pitch * found.scale)
        scores = _scores(found, found.answers, survivors, spans)
        order = np.argsort(scores)[::-1]
        survivors, found.score = survivors[order], float(scores[order[0]])
    found.seeds = survivors


def _through_peaks(found: Trial, spans: Spans, random: np.random.Generator, pitch: float) -> Floats:
    """Corner shifts that carry four drawn pieces to peaks of theirs (sample consensus, Fischler and Bolles 1981).

    A peak is drawn by its height; the best `SURVIVORS` of all draws.
    """
    places, heights = _peaks(found.answers, max(1, round(0.4 * pitch)))
    near = np.cumsum(spans.share**2, axis=1)
    four = (random.random((DRAWS, 4, 1), np.float32) * near[:, -1:] > near).sum(axis=2)
    chance = np.cumsum(np.maximum(heights, 1e-3) ** 2, axis=1)
    which = (random.random((DRAWS, 4, 1), np.float32) * chance[four][:, :, -1:] > chance[four]).sum(axis=2)
    target = (places[four, which] - found.reach).astype(np.float32)
    share = spans.share.T[four]
    left = share.swapaxes(1, 2) @ share + STIFF * np.eye(4, dtype=np.float32)
    guesses = np.linalg.solve(left, share.swapaxes(1, 2) @ target).swapaxes(1, 2)
    guesses = np.asarray(np.clip(guesses, -2 * found.reach, 2 * found.reach), np.float32)
    value = _scores(found, _relaxed(found.answers, RELAX * pitch), guesses, spans)
    return guesses[np.argsort(value)[::-1][:SURVIVORS]]


def _peaks(answers: Floats, apart: int) -> tuple[npt.NDArray[np.intp], Floats]:
    """The `PEAKS` best shifts of each piece (pieces x PEAKS x 2, as columns and rows of its answers), and how good."""
    left = answers.copy()
    places, heights = np.zeros((len(answers), PEAKS, 2), np.intp), np.zeros((len(answers), PEAKS), np.float32)
    for piece, seen in enumerate(left):
        for number in range(PEAKS):
            _, height, _, (column, row) = cv2.minMaxLoc(seen)
            places[piece, number], heights[piece, number] = (column, row), height
            cv2.rectangle(seen, (column - apart, row - apart), (column + apart, row + apart), -9.0, -1)
    return places, heights


def refine(found: Trial, plan: Layout, seeds: Floats) -> None:
    """Find the best of these corner shifts (n x 2 x 4, pixels), each drawn to the peaks around it."""
    spans = _spans(found, plan)
    pitch = plan.sheet.pitch * found.scale
    random = np.random.default_rng(SEED)
    survivors = seeds
    for spread in REFINE:
        drawn = np.repeat(survivors, DRAWN, axis=0)
        drawn = drawn + random.standard_normal(drawn.shape, np.float32) * (spread * pitch)
        guesses = _polished(found, np.concatenate([survivors, drawn]), spans, PULL * pitch)
        scores = _scores(found, found.answers, guesses, spans)
        order = np.argsort(scores)[::-1][:SURVIVORS]
        survivors, found.score = guesses[order], float(scores[order[0]])
    found.seeds = survivors


def _shifts(corners: Floats, spans: Spans) -> Floats:
    """The pieces' shifts (n x 2 x pieces) when the lattice's corners shift (n x 2 x 4): perspective carries the rest.

    The homography from the unit square to a quadrilateral is Heckbert's (Fundamentals of Texture Mapping, 1989).
    """
    unit = np.array([(0, 1, 1, 0), (0, 0, 1, 1)], np.float32)
    p0, p1, p2, p3 = np.moveaxis(unit + np.clip(corners / spans.size, -CONVEX, CONVEX), 2, 0)
    one, two, bend = p1 - p2, p3 - p2, p0 - p1 + p2 - p3
    area = one[:, 0] * two[:, 1] - two[:, 0] * one[:, 1]
    g = ((bend[:, 0] * two[:, 1] - two[:, 0] * bend[:, 1]) / area)[:, None]
    h = ((one[:, 0] * bend[:, 1] - bend[:, 0] * one[:, 1]) / area)[:, None]
    u, v = spans.within
    across, down = p1 - p0 + g * p1, p3 - p0 + h * p3
    placed = across[:, :, None] * u + down[:, :, None] * v + p0[:, :, None]
    return np.asarray((placed / (g * u + h * v + 1)[:, None] - spans.within) * spans.size, np.float32)


def _scores(found: Trial, answers: Floats, corners: Floats, spans: Spans) -> npt.NDArray[np.float32]:
    """How well the pieces answer under each of the corner shifts (n x 2 x 4), less the cost of shifting."""
    pieces, side, _ = answers.shape
    shifts = _shifts(corners, spans)
    whole = np.rint(np.clip(shifts, -found.reach, found.reach)).astype(np.intp) + found.reach
    flat = (np.arange(pieces) * side + whole[:, 1]) * side + whole[:, 0]
    value = answers.ravel()[flat] @ found.weights
    common = corners.mean(axis=2, keepdims=True)
    moved = np.square(common / found.reach) + np.square((corners - common) / (spans.loose * found.reach))
    return np.asarray(value - found.prior * moved.mean(axis=(1, 2)), np.float32)


def _polished(found: Trial, corners: Floats, spans: Spans, radius: float) -> Floats:
    """Each of the corner shifts drawn to the peaks that its pieces see within `radius` (least squares, kept stiff)."""
    side, near = found.answers.shape[1], max(1, round(radius))
    share = spans.share
    pieces = np.arange(len(found.answers))[None, :, None]
    y, x = (axis.ravel() for axis in np.mgrid[-near : near + 1, -near : near + 1])
    at = _shifts(corners, spans)
    whole = np.rint(np.clip(at, -found.reach, found.reach)).astype(np.intp) + found.reach
    columns = np.clip(whole[:, 0, :, None] + x, 0, side - 1)
    rows = np.clip(whole[:, 1, :, None] + y, 0, side - 1)
    seen = found.answers[pieces, rows, columns]
    peak = seen.argmax(axis=2)[..., None]
    trust = np.maximum(np.take_along_axis(seen, peak, axis=2)[..., 0], 0.0) * found.weights
    target = (
        np.stack([np.take_along_axis(axis, peak, axis=2)[..., 0] for axis in (columns, rows)], axis=1) - found.reach
    )
    left = np.einsum("np,ap,bp->nab", trust, share, share) + STIFF * np.eye(4)
    right = np.einsum("np,ncp,ap->nac", trust, target - at, share)
    return np.asarray(corners + np.linalg.solve(left, right).swapaxes(1, 2), np.float32)
