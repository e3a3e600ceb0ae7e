"""Where in the sound each token was spoken: dynamic time warping over the decoder's attention. Pure.

As in openai/whisper's word timestamps: the heads known to follow the sound, normalised over the tokens, smoothed by a
median and averaged; the cheapest monotonic path through them gives each token its frame.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

MEDIAN = 7


def starts(attention: Array) -> npt.NDArray[np.int64]:
    """First frame of each token. `attention`: heads x tokens x frames, each row a distribution over the frames."""
    deviation = attention.std(axis=1, keepdims=True)
    normal = (attention - attention.mean(axis=1, keepdims=True)) / np.maximum(deviation, 1e-6)
    return _first_frames(-_median(normal).mean(axis=0))


def _median(values: Array) -> Array:
    """Along the frames, mirrored at the ends."""
    reach = MEDIAN // 2
    if values.shape[-1] <= reach:
        return values
    padded = np.pad(values, ((0, 0), (0, 0), (reach, reach)), mode="reflect")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, MEDIAN, axis=-1), axis=-1), np.float32)


def _first_frames(cost: Array) -> npt.NDArray[np.int64]:
    """Dynamic time warping from the first token and frame to the last, a diagonal of the table at a time."""
    tokens, frames = cost.shape
    total = np.full((tokens + 1, frames + 1), np.inf, np.float64)
    total[0, 0] = 0
    for diagonal in range(2, tokens + frames + 1):
        rows = np.arange(max(1, diagonal - frames), min(tokens, diagonal - 1) + 1)
        columns = diagonal - rows
        cheapest = np.minimum(
            np.minimum(total[rows - 1, columns - 1], total[rows - 1, columns]), total[rows, columns - 1]
        )
        total[rows, columns] = cheapest + cost[rows - 1, columns - 1]
    first = np.zeros(tokens, np.int64)
    row, column = tokens, frames
    while row > 0 and column > 0:
        first[row - 1] = column - 1
        before = (total[row - 1, column - 1], total[row - 1, column], total[row, column - 1])
        step = int(np.argmin(before))
        row, column = row - (step != 2), column - (step != 1)  # noqa: PLR2004 - diagonal, token, frame
    return first
