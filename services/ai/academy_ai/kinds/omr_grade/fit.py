"""Following the printed bubbles finely from a coarse guess: the template is bent to them (fourth step of `run`).

Every run of bubbles is searched around its place; a smooth surface takes up curl and perspective, then each block
may move a little of its own, since templates are measured by hand.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from academy_ai.kinds.omr_grade import view
from academy_ai.kinds.omr_grade.layout import Layout
from academy_ai.kinds.omr_grade.page import Frame
from academy_ai.paper import Floats, Gray, Matrix, ink

FINE_BUBBLE = 9.0
FINE_SIDES = (400.0, 1600.0)
"""Pixels across a bubble in the fit, unless the page's long side would leave these bounds."""
MAX_REACH = 40
"""Pixels that a field is followed at most."""
STIFFNESS = np.array([0.0, 0.1, 0.1, 0.5, 0.5, 0.5, 2.0, 2.0, 2.0, 2.0])
"""How much evidence (fields) each term of the page's bend needs before it moves."""
BLOCK_STIFFNESS = np.array([3.0, 3.0, 3.0])
"""The same for a block's own shift and stretch: templates are measured by hand, block by block."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The page found: `picture` is it upright, `boxes` are the bubbles' (x0, y0, x1, y1) in its pixels."""

    source: str
    likeness: float
    """How well the bubbles were found, 0 (not at all) to about 0.5."""
    picture: Gray
    dark: Gray
    """Ink of `picture`."""
    alike: Floats
    """How much each pixel of `picture` looks like the middle of a printed bubble."""
    boxes: npt.NDArray[np.float64]
    scale: float
    """Pixels a page unit."""
    pad: float
    """Page units of surroundings."""
    matrix: Matrix
    """From `picture` to the picture that was given."""
    doubtful: npt.NDArray[np.bool_]
    """Bubbles that may lie a row or column off."""

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """The bubbles' middles in `picture`."""
        return np.asarray((self.boxes[:, :2] + self.boxes[:, 2:]) / 2)


def fine(gray: Gray, guess: Frame, plan: Layout, grow: float) -> Fit:
    """Follow every run of bubbles around a corrected guess and bend the template to them."""
    sheet = plan.sheet
    scale = view.pixels(plan, FINE_BUBBLE, FINE_SIDES)
    pad = sheet.pitch
    picture = view.upright(gray, guess.matrix, sheet, scale, pad)
    reach = min(MAX_REACH, max(2, round(0.45 * sheet.pitch * scale)))
    dark = ink(picture, round(3 * float(plan.size.min()) * scale))
    alike = view.alike(dark, plan, scale, grow, reach)
    answers = _run_answers(alike, plan, scale, pad, reach)
    shifts, found = _bend(answers, plan)
    boxes = (plan.boxes + np.tile(shifts / scale, 2) + pad) * scale
    return Fit(
        guess.source,
        found,
        picture,
        dark,
        alike[reach:-reach, reach:-reach],
        boxes,
        scale,
        pad,
        guess.matrix @ view.to_page(scale, pad),
        np.zeros(len(boxes), bool),
    )


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


def _run_answers(alike: Floats, plan: Layout, scale: float, pad: float, reach: int) -> Floats:
    """Mean likeness of each run's bubbles by shift."""
    side = 2 * reach + 1
    middles = (plan.boxes[:, :2] + plan.boxes[:, 2:]) / 2
    x, y = np.rint((middles + pad) * scale).astype(int).T
    windows = np.lib.stride_tricks.sliding_window_view(alike, (side, side))[y, x]
    sums = np.add.reduceat(windows, plan.starts, axis=0)
    counts = np.diff(np.append(plan.starts, len(middles)))
    return np.asarray(sums / counts[:, None, None], np.float32)


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
