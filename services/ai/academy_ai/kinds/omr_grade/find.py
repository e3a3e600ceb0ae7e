"""Finding the page: every guess of where it lies is tried against the bubbles, the best is followed finely.

Between the finders (`page`) and the fit (`fit`). Raises Permanent when no guess shows the template's bubbles.
"""

from collections.abc import Iterator
from itertools import chain

import cv2
import numpy as np
import numpy.typing as npt

from academy_ai import paper
from academy_ai.kinds.omr_grade import page, search, steps
from academy_ai.kinds.omr_grade.fit import Fit
from academy_ai.kinds.omr_grade.layout import Layout
from academy_ai.kinds.omr_grade.page import Frame
from academy_ai.paper import Gray
from academy_core.errors import Permanent, Reason

PAPER_SLACK = 0.045
MARKER_SLACK = 0.02
WHOLE_SLACK = 0.075
GOOD = 0.18
"""Likeness of a coarse fit above which no further guesses are made."""
LEAST = 0.10
"""Likeness under which the bubbles were not found."""
KEEP = 0.75
"""Share of the best relaxed score that a guess needs to be looked at closely."""
CLEAR = 0.35
"""Relaxed score from which on the template's own bubble size is taken as right."""
SIZES = (1.4, 0.7)
"""Printed bubbles may be this much larger or smaller than the boxes that teachers draw in templates."""
MARKER_VIEW = 640
"""Width in pixels of the view in which corner markers are looked for."""

NOT_FOUND = Reason(
    "omr-sheet-not-found",
    "사진에서 답안지를 찾지 못했습니다. 답안지 네 모서리가 모두 보이도록 밝은 곳에서 다시 찍어 주세요.",
    "The answer sheet was not found in the picture. Take it again in good light with all four corners in view.",
)


def frames(gray: Gray, plan: Layout, marker: Gray | None) -> Iterator[list[Frame]]:
    """Guesses in groups, the most telling first; a later group is only needed when the earlier ones fail."""
    sheet = plan.sheet
    height, width = gray.shape
    shrink = paper.COARSE_SIDE / max(height, width)
    small = np.asarray(cv2.resize(gray, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
    papers = [quad / shrink for quad in paper.papers(small)]
    if marker is not None:
        yield list(chain.from_iterable(_between_markers(gray, quad, marker, plan) for quad in papers[:2]))
    on_paper = [f for quad in papers for f in _frames("paper", quad, plan, PAPER_SLACK)]
    if sheet.crop_page and marker is None:
        yield on_paper
    angles = paper.skews(paper.ink(small, 12))
    wholes = [paper.turned_frame(width, height, angle) for angle in angles]
    if marker is not None:
        yield list(chain.from_iterable(_between_markers(gray, quad, marker, plan) for quad in wholes))
        yield on_paper
    yield [f for quad in wholes for f in _frames("whole", quad, plan, WHOLE_SLACK)]
    if not sheet.crop_page and marker is None:
        yield on_paper


def _frames(source: str, quad: npt.NDArray[np.float32], plan: Layout, slack: float) -> Iterator[Frame]:
    sheet = plan.sheet
    for corners in page.turns(quad, sheet.width / sheet.height):
        yield Frame(source, paper.from_corners(sheet.width, sheet.height, corners), slack)


def _between_markers(gray: Gray, quad: npt.NDArray[np.float32], marker: Gray, plan: Layout) -> Iterator[Frame]:
    sides = np.linalg.norm(quad - np.roll(quad, -1, axis=0), axis=1)
    width, height = float(sides[0] + sides[2]) / 2, float(sides[1] + sides[3]) / 2
    scale = MARKER_VIEW / max(width, height)
    view = paper.from_corners(width * scale, height * scale, quad)
    flat = np.asarray(
        cv2.warpPerspective(
            gray,
            view,
            (round(width * scale), round(height * scale)),
            flags=cv2.INTER_AREA | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )
    for found in page.markers(flat, marker, min(width, height) * scale, plan.sheet.marker_ratio):
        corners = cv2.perspectiveTransform(found.reshape(-1, 1, 2), view).reshape(4, 2)
        yield from _frames("markers", corners.astype(np.float32), plan, MARKER_SLACK)


def find(gray: Gray, plan: Layout, marker: Gray | None = None) -> Fit:
    """The page in the picture. Raises Permanent when it is not there."""
    best: search.Trial | None = None
    for group in frames(gray, plan, marker):
        for found in _tried(gray, group, plan):
            if best is None or found.score > best.score:
                best = found
        if best is not None and best.score > GOOD:
            break
    if best is None or best.score < LEAST * 0.8:
        raise Permanent(f"best coarse likeness {best and round(best.score, 3)}", reason=NOT_FOUND)
    fit = steps.settle(gray, best, plan)
    if fit.likeness < LEAST:
        raise Permanent(f"likeness {fit.likeness:.3f}", reason=NOT_FOUND)
    return fit


def _tried(gray: Gray, group: list[Frame], plan: Layout) -> list[search.Trial]:
    """The group's promising guesses, searched to the end; printed bubbles may be larger than the template's boxes."""
    kept = _leaders([search.trial(gray, frame, plan) for frame in group])
    if max((one.score for one in kept), default=0.0) < CLEAR:
        kept = _leaders([*kept, *(search.trial(gray, one.frame, plan, size) for one in kept for size in SIZES)])
    for one in kept:
        search.search(one, plan)
    return kept


def _leaders(trials: list[search.Trial]) -> list[search.Trial]:
    leader = max((one.score for one in trials), default=0.0)
    return [one for one in trials if one.score >= KEEP * leader]
