"""The teacher's picture: the sheet upright, every reading drawn on it. Colours are told apart without colour too."""

import cv2
import numpy as np
import numpy.typing as npt

from academy_ai.kinds.omr_grade.fit import Fit
from academy_ai.kinds.omr_grade.read import Reading, State
from academy_ai.kinds.omr_grade.template import Sheet

Colour = tuple[int, int, int]
RIGHT: Colour = (40, 150, 30)
WRONG: Colour = (40, 40, 220)
PLAIN: Colour = (190, 110, 20)
UNSURE: Colour = (0, 140, 255)
EMPTY: Colour = (190, 190, 190)


def draw(
    fit: Fit, sheet: Sheet, readings: tuple[Reading, ...], verdicts: dict[str, str], line: str
) -> npt.NDArray[np.uint8]:
    """The sheet with marked bubbles boxed (thick), unsure fields boxed whole, and a line of text below.

    `verdicts`: field label -> `right` or `wrong`, where there is a key.
    """
    out = cv2.cvtColor(fit.picture, cv2.COLOR_GRAY2BGR)
    start = 0
    for field, reading in zip(sheet.fields, readings, strict=True):
        boxes = np.rint(fit.boxes[start : start + len(field.bubbles)]).astype(int)
        start += len(field.bubbles)
        colour = {"right": RIGHT, "wrong": WRONG}.get(verdicts.get(field.label, ""), PLAIN)
        for bubble, (x0, y0, x1, y1) in zip(field.bubbles, boxes.tolist(), strict=True):
            marked = bubble.value in reading.marked
            cv2.rectangle(out, (x0, y0), (x1, y1), colour if marked else EMPTY, 2 if marked else 1)
        if reading.state is State.UNSURE:
            low, high = boxes[:, :2].min(axis=0) - 3, boxes[:, 2:].max(axis=0) + 3
            cv2.rectangle(out, low.tolist(), high.tolist(), UNSURE, 2)
            at = (int(high[0]) + 2, int(high[1]) - 2)
            cv2.putText(out, "?", at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, UNSURE, 2, cv2.LINE_AA)
    foot = np.full((28, out.shape[1], 3), 255, np.uint8)
    cv2.putText(foot, line, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.asarray(np.concatenate([out, foot]), np.uint8)
