"""Where there is speech, and where to cut: from a voice-activity curve to parts and windows. Pure.

Times are frames of the detector (FRAME samples at RATE) in the plan, seconds in the parts. A stretch is speech without
a pause. A part is what one task does: some stretches in a row. A window is what the model reads at once: at most 30 s
of stretches, the pauses between them left out. The model's work is the same for a window of 3 s and one of 30, and
what it does not hear it cannot invent words for.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

RATE = 16_000
FRAME = 512
"""Samples a frame of the detector: 32 ms."""
SECOND = RATE / FRAME

SPEECH, SILENCE = 0.5, 0.35
"""Speech begins above the one and ends below the other (silero-vad's defaults)."""
LEAST_SPEECH = round(0.2 * SECOND)
LEAST_SILENCE = round(0.3 * SECOND)
"""Shorter pauses do not end a span."""
PAD = round(0.2 * SECOND)
"""Kept around a span: first and last consonants are quiet."""
LONGEST = round(28 * SECOND)
"""Frames of a window; the model hears 30 s."""

Curve = npt.NDArray[np.float32]
"""Probability of speech of each frame."""
Frames = tuple[int, int]
"""[first, end)."""
Seconds = tuple[float, float]
"""Start and end."""


def spans(curve: Curve) -> list[Frames]:
    """Stretches of speech, padded, apart and in order."""
    found: list[Frames] = []
    start: int | None = None
    quiet = 0
    for frame, value in enumerate(curve):
        if start is None:
            if value >= SPEECH:
                start, quiet = frame, 0
            continue
        quiet = quiet + 1 if value < SILENCE else 0
        if quiet >= LEAST_SILENCE:
            found.append((start, frame + 1 - quiet))
            start = None
    if start is not None:
        found.append((start, len(curve) - quiet))
    return _padded([span for span in found if span[1] - span[0] >= LEAST_SPEECH], len(curve))


def _padded(found: Sequence[Frames], total: int) -> list[Frames]:
    """Each span with PAD around it, or half of the pause where that is less."""
    if not found:
        return []
    middles = [(one[1] + other[0]) // 2 for one, other in pairwise(found)]
    starts = [max(low, start - PAD) for low, (start, _) in zip([0, *middles], found, strict=True)]
    ends = [min(high, end + PAD) for high, (_, end) in zip([*middles, total], found, strict=True)]
    return list(zip(starts, ends, strict=True))


def stretches(found: Iterable[Frames], curve: Curve) -> list[Frames]:
    """Spans of at most LONGEST frames: a longer one is cut where speech is weakest."""
    out: list[Frames] = []
    for first, end in found:
        start = first
        while end - start > LONGEST:
            middle = start + LONGEST // 2
            cut = middle + _weakest(curve[middle : start + LONGEST])
            out.append((start, cut))
            start = cut
        out.append((start, end))
    return out


def _weakest(curve: Curve) -> int:
    """The frame in the middle of the quietest 0.2 s."""
    width = round(0.2 * SECOND)
    smooth = np.convolve(curve, np.full(width, 1 / width), mode="valid")
    return int(smooth.argmin()) + width // 2


def parts(found: Sequence[Frames], seconds: float) -> list[list[Frames]]:
    """Stretches in tasks of about `seconds` each, never cut."""
    tasks: list[list[Frames]] = []
    for stretch in found:
        if tasks and stretch[1] - tasks[-1][0][0] <= seconds * SECOND:
            tasks[-1].append(stretch)
        else:
            tasks.append([stretch])
    return tasks


def windows(found: Iterable[Seconds]) -> list[tuple[Seconds, ...]]:
    """Stretches in windows of at most LONGEST frames of sound, as many as go into each."""
    packed: list[tuple[Seconds, ...]] = []
    room = 0.0
    for start, end in found:
        if end - start <= room:
            packed[-1] += ((start, end),)
        else:
            packed.append(((start, end),))
            room = LONGEST / SECOND
        room -= end - start
    return packed
