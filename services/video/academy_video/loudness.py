"""How loud a lecture is, from windows of it: EBU R 128 (ITU-R BS.1770-4) gating over what ebur128 prints. Pure.

Part of `video.plan`: one linear gain for all chunks is decided from it.
"""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

WINDOW_SECONDS = 30
WINDOWS = 10
"""Together 5 minutes; a shorter lecture is measured whole."""
_ABSOLUTE_GATE = -70.0
_RELATIVE_GATE = -10.0
_MOST_DB = 24.0
"""A lecture that would need more is silence with noise: raised this much at most."""


Window = tuple[Fraction, Fraction]
"""(start, length) of what is measured, absolute source seconds."""


_BEHIND_KEY = Fraction(1, 5)
"""A window starts this much behind a key frame, so that looking for it does not lead to the key frame before."""


def windows(start: Fraction, seconds: Fraction, keys: Sequence[Fraction] = ()) -> tuple[Window | None, ...]:
    """What is measured: windows spread evenly, or None, the whole, of a short lecture.

    Reading can begin at `keys` alone (absolute source seconds, ascending): each window is moved back to the one before.
    """
    if seconds <= WINDOWS * WINDOW_SECONDS:
        return (None,)
    step = (seconds - WINDOW_SECONDS) / (WINDOWS - 1)
    return tuple((_moved(start + step * number, start, keys), Fraction(WINDOW_SECONDS)) for number in range(WINDOWS))


def _moved(wanted: Fraction, start: Fraction, keys: Sequence[Fraction]) -> Fraction:
    at = bisect_right(keys, wanted - _BEHIND_KEY)
    return max(start, keys[at - 1] + _BEHIND_KEY) if at else wanted


def timed(lines: Iterable[str]) -> Iterator[tuple[float, float]]:
    """(seconds, LUFS) of each block, from the same, where the frame's time is printed before it."""
    time = 0.0
    for line in lines:
        _, found, after = line.partition("pts_time:")
        if found:
            time = float(after.split()[0])
        yield from ((time, block) for block in momentaries(line))


def momentaries(text: str) -> Iterator[float]:
    """Momentary loudness of each 400-ms block, LUFS, from ffmpeg's `ametadata=print` of ebur128's results."""
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "lavfi.r128.M":
            yield float(value)


def folded(blocks: Iterable[float], known: Mapping[int, int]) -> dict[int, int]:
    """Tenths of LUFS -> how many blocks, with those that are `known` already: short, however long the lecture is."""
    counts = Counter(known)
    counts.update(round(10 * block) for block in blocks if block > _ABSOLUTE_GATE)
    return dict(sorted(counts.items()))


def unfolded(counts: Mapping[int, int]) -> list[float]:
    """The blocks that were folded."""
    return [tenths / 10 for tenths, count in counts.items() for _ in range(count)]


def integrated(blocks: Sequence[float]) -> float | None:
    """Integrated loudness of the blocks, LUFS; None when all of it is silence."""
    loud = [block for block in blocks if block > _ABSOLUTE_GATE]
    if not loud:
        return None
    gate = _mean(loud) + _RELATIVE_GATE
    return _mean([block for block in loud if block > gate])


def _mean(blocks: Sequence[float]) -> float:
    return 10 * math.log10(sum(10 ** (block / 10) for block in blocks) / len(blocks))


def gain(blocks: Sequence[float], target: float) -> float:
    """Decibels that bring the lecture to the target; 0 for silence. Rounded, so that the plan is readable."""
    loudness = integrated(blocks)
    return 0.0 if loudness is None else round(max(-_MOST_DB, min(_MOST_DB, target - loudness)), 2)
