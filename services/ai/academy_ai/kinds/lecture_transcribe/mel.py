"""What Whisper hears: 30 s of sound as 80 mel bands, 100 a second. Pure.

Follows the model's paper (Radford et al. 2022) and openai/whisper's definition: Hann windows of 25 ms every 10 ms,
Slaney's mel scale from 0 to 8 kHz, log10 cut at 8 below the window's maximum, scaled to about -1 … 1.
"""

import functools

import numpy as np
import numpy.typing as npt

from academy_ai.kinds.lecture_transcribe.speech import RATE

Array = npt.NDArray[np.float32]

SECONDS = 30
BANDS, POINTS, HOP = 80, 400, 160
FRAMES = SECONDS * RATE // HOP
_BREAK_HZ, _LINEAR_HZ = 1000.0, 200.0 / 3
_LOG_STEP = np.log(6.4) / 27
"""Slaney's scale: linear to 1 kHz, then 27 steps to 6.4 kHz (Auditory Toolbox, 1998)."""


@functools.cache
def _filters() -> Array:
    """Triangles of equal area: BANDS x frequencies."""
    top = _BREAK_HZ / _LINEAR_HZ + np.log(RATE / 2 / _BREAK_HZ) / _LOG_STEP
    mels = np.linspace(0, top, BANDS + 2)
    linear, bent = mels * _LINEAR_HZ, _BREAK_HZ * np.exp(_LOG_STEP * (mels - _BREAK_HZ / _LINEAR_HZ))
    edges = np.where(mels < _BREAK_HZ / _LINEAR_HZ, linear, bent)
    bins = np.fft.rfftfreq(POINTS, 1 / RATE)
    rising = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (edges[2:] - edges[:-2]))[:, None], np.float32)


def log_mel(sound: Array) -> Array:
    """BANDS x FRAMES of at most 30 s of sound (-1 to 1 at RATE); the rest is silence."""
    padded = np.pad(sound[: SECONDS * RATE], (0, max(0, SECONDS * RATE - len(sound))))
    padded = np.pad(padded, POINTS // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, POINTS)[::HOP][:FRAMES]
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(POINTS) / POINTS)).astype(np.float32)
    power = np.abs(np.fft.rfft(windows * hann, axis=1)).astype(np.float32) ** 2
    logs = np.log10(np.maximum(_filters() @ power.T, 1e-10))
    return np.asarray((np.maximum(logs, logs.max() - 8) + 4) / 4, np.float32)
