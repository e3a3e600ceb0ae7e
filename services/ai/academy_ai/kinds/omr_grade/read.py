"""From a found page to answers: how dark each bubble is, and what that says about each field.

Fourth step of `run`, pure. A bubble is judged against unmarked bubbles with the same printed letter and against the
marks on the same sheet; between the two lies a band in which the answer is *unsure*, never a guess.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt

from academy_ai.kinds.omr_grade.fit import Fit
from academy_ai.kinds.omr_grade.template import Sheet

INNER = 0.7
"""Share of the bubble's box that is measured: its printed outline stays outside."""
SAMPLES = 8
"""Points measured across and along a bubble."""
LEAST = 0.10
"""Excess ink that the palest mark must have."""
USUAL = 0.30
"""Excess ink taken for a mark while a sheet shows too few to tell."""
BAND = (0.36, 0.50)
"""From empty (0) to this sheet's usual mark (1): below is empty, above is marked, between is unsure."""

GROUND = 0.3
"""Level that a field's emptier bubbles may have in common, at most: more would be marks."""
SEEN = 0.3
"""Likeness, as a share of the upper quartile of this sheet's bubbles, that those of a blank field have at least."""
CLEAR, SMUDGE = 0.75, 0.43
"""Beside a mark as clear as CLEAR, ink below SMUDGE is a smudge or a heavy printed letter, not a second mark."""


class State(StrEnum):
    """What a field says."""

    MARKED = "marked"
    BLANK = "blank"
    DOUBLE = "double"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Reading:
    """One field as read: `level` of each bubble (0 empty, 1 a usual mark), the state and its confidence 0 to 1."""

    label: str
    state: State
    marked: tuple[str, ...]
    levels: tuple[float, ...]
    confidence: float


def darkness(fit: Fit) -> npt.NDArray[np.float64]:
    """Mean ink inside each bubble, 0 to 1."""
    spots = (np.arange(SAMPLES) + 0.5) / SAMPLES - 0.5
    across, along = np.meshgrid(spots, spots)
    disc = np.hypot(2 * across, 2 * along) <= 1
    points = np.stack([across[disc], along[disc]], axis=1) * INNER
    middle, extent = (fit.boxes[:, :2] + fit.boxes[:, 2:]) / 2, fit.boxes[:, 2:] - fit.boxes[:, :2]
    places = (middle[:, None, :] + points[None, :, :] * extent[:, None, :] - 0.5).astype(np.float32)
    values = cv2.remap(
        fit.dark.astype(np.float32), places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(values.mean(axis=1) / 255, np.float64)


def levels(dark: npt.NDArray[np.float64], sheet: Sheet) -> npt.NDArray[np.float64]:
    """Darkness on the sheet's own scale: 0 an empty bubble with the same letter, 1 this sheet's usual mark."""
    values = np.array([bubble.value for one in sheet.fields for bubble in one.bubbles])
    common = float(np.percentile(dark, 25))
    empty = np.empty_like(dark)
    for value in np.unique(values):
        same = values == value
        count = int(same.sum())
        own = float(np.percentile(dark[same], 30))
        share = count / (count + FEW)
        empty[same] = share * min(own, common + LEAST) + (1 - share) * common
    excess = dark - empty
    return _over_own(np.asarray(excess / _usual(excess)), sheet)


def _over_own(level: npt.NDArray[np.float64], sheet: Sheet) -> npt.NDArray[np.float64]:
    """Levels over the field's own emptier bubbles: print or a slight shift that darkens all of a field marks none."""
    starts = np.cumsum([len(one.bubbles) for one in sheet.fields])[:-1]
    out = []
    for own in np.split(level, starts):
        ground = float(np.clip(np.percentile(own, 25), 0.0, GROUND)) if len(own) > FEW else 0.0
        out.append((own - ground) / (1 - ground))
    return np.concatenate(out)


FEW = 3.0
"""This many bubbles with a letter weigh as much as the whole sheet's empty level."""


def _usual(excess: npt.NDArray[np.float64]) -> float:
    """Excess ink of this sheet's usual mark: the upper of two groups (Otsu's split), kept plausible."""
    ordered = np.sort(excess)
    total = len(ordered)
    sums, rank = np.cumsum(ordered), np.arange(1, total)
    low = sums[:-1] / rank
    high = (sums[-1] - sums[:-1]) / (total - rank)
    between = rank * (total - rank) * np.square(high - low)
    split = int(between.argmax())
    upper = ordered[split + 1 :]
    usual = float(np.median(upper))
    if len(upper) < 3 or usual < 2 * LEAST:  # noqa: PLR2004 - fewer than three marks tell little
        usual = max(usual, USUAL)
    return usual


def judge(level: npt.NDArray[np.float64], sheet: Sheet) -> tuple[Reading, ...]:
    """What each field says."""
    out = []
    start = 0
    for one in sheet.fields:
        own = level[start : start + len(one.bubbles)]
        start += len(one.bubbles)
        marked = tuple(b.value for b, value in zip(one.bubbles, own, strict=True) if value >= BAND[1])
        least = SMUDGE if own.max() >= CLEAR else BAND[0]
        unsure = bool(((own > least) & (own < BAND[1])).any())
        middle = sum(BAND) / 2
        confidence = float(np.clip(np.abs(own - middle).min() / middle, 0.0, 1.0))
        if unsure:
            state = State.UNSURE
        elif not marked:
            state = State.BLANK
        else:
            state = State.MARKED if len(marked) == 1 else State.DOUBLE
        out.append(Reading(one.label, state, marked, tuple(round(float(v), 3) for v in own), round(confidence, 3)))
    return tuple(out)


def unseen(fit: Fit, sheet: Sheet) -> list[bool]:
    """Fields whose printed bubbles are not where the fit puts them: paper without a mark there says nothing."""
    column, row = np.rint(fit.centres).astype(int).T
    height, width = fit.alike.shape
    seen = fit.alike[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    starts = np.cumsum([len(one.bubbles) for one in sheet.fields])[:-1]
    least = SEEN * float(np.percentile(seen, 75))
    return [float(own.mean()) < least for own in np.split(seen, starts)]


def unsure(reading: Reading) -> Reading:
    """The same reading left to a person."""
    return replace(reading, state=State.UNSURE)
