"""Slide changes in a stream of small grey frames. Pure: frames in, times out.

A slide change is a difference that stays: most of what was written is gone or new, and what came stands still. A
pointer is too small, pen strokes come little by little, a webcam inset never stands still and is left out of view.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]

RATE = 2
"""Frames a second that are looked at."""
WIDTH, HEIGHT = 160, 90
DIFFERENT = 22
"""Grey levels by which a pixel must differ."""
NEW_CONTENT = 0.35
"""Share of old and new writing together that must have changed."""
LEAST_AREA = 0.012
"""Share of the picture that must have changed."""
STILL = 0.006
"""Share of the picture that may differ from one frame to the next on a slide that stands still."""
STAND = 2
"""Frames for which the new slide must stand still."""
GIVE_UP = 16
"""Frames after which a picture that does not stand still is taken as it is (a film on a slide)."""
BUSY, MEMORY = 0.3, 60
"""A pixel that changed in this share of about the last MEMORY frames belongs to a webcam or a film."""
MARGIN = 5
"""Pixels around a busy one that are left out as well."""


def changes(frames: Iterable[Frame]) -> Iterator[float]:
    """Seconds at which a new slide begins; the first slide, at 0, is not named."""
    slide: Frame | None = None
    before: Frame | None = None
    activity = np.zeros((HEIGHT, WIDTH), np.float32)
    began: int | None = None
    standing = 0
    for number, frame in enumerate(frames):
        if slide is None or before is None:
            slide = before = frame
            continue
        moved = different(frame, before)
        activity += (moved - activity) / min(number, MEMORY)
        view = ~_wide(activity > BUSY)
        standing = standing + 1 if float((moved & view).mean()) < STILL else 0
        before = frame
        new = _is_new(slide, frame, view)
        if began is None and new:
            began = number
        if began is None:
            slide = np.where(view, frame, slide) if standing else slide
        elif standing >= STAND or number - began >= GIVE_UP:
            if new and standing >= STAND:
                yield began / RATE
            slide, began = frame, None


def different(one: Frame, other: Frame) -> npt.NDArray[np.bool_]:
    """Pixels that differ visibly."""
    return np.asarray(np.abs(one.astype(np.int16) - other) > DIFFERENT)


def _is_new(slide: Frame, frame: Frame, view: npt.NDArray[np.bool_]) -> bool:
    """Whether most of the writing in view is not what it was."""
    changed = float((different(slide, frame) & view).mean())
    written = float(((_written(slide) | _written(frame)) & view).mean())
    return changed > LEAST_AREA and changed > NEW_CONTENT * written


def _written(frame: Frame) -> npt.NDArray[np.bool_]:
    """Pixels with an edge beside them: writing and drawings, not the even ground and bars of the design."""
    wide = frame.astype(np.int16)
    out = np.zeros(frame.shape, np.bool_)
    out[:, 1:] |= np.abs(np.diff(wide, axis=1)) > DIFFERENT
    out[1:] |= np.abs(np.diff(wide, axis=0)) > DIFFERENT
    return out


def _wide(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask and MARGIN pixels around it."""
    if not mask.any():
        return mask
    padded = np.pad(mask, MARGIN)
    rows = np.lib.stride_tricks.sliding_window_view(padded, 2 * MARGIN + 1, axis=0).any(axis=-1)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(rows, 2 * MARGIN + 1, axis=1).any(axis=-1))
