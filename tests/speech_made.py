"""Speech, music, noise and silence for the tests of speech to text: spoken by espeak-ng, or made of numbers."""

import os
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from academy_local import speech_model

RATE = 16_000
WORDS = (
    *("apple", "river", "mountain", "teacher", "window", "garden"),
    *("kitchen", "hospital", "bicycle", "elephant", "planet", "summer"),
)
"""Short nouns that the made voice says clearly."""

Sound = npt.NDArray[np.int16]

needs_voice = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed: `make setup`, or `apt-get install espeak-ng`"
)


def model(folder: Path) -> dict[str, str]:
    """Put the model into the folder; the options that name it."""
    speech_model.assemble(folder)
    return {"TRANSCRIBE_MODEL_DIR": str(folder), "TRANSCRIBE_MODEL_SHA256": speech_model.SHA256}


def say(text: str, *, voice: str = "en-us", speed: int = 140) -> Sound:
    """Spoken text, silence around it cut away."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", text]
    spoken = subprocess.run(command, check=True, capture_output=True).stdout
    convert = ["ffmpeg", "-v", "error", "-f", "wav", "-i", "pipe:0", "-ar", str(RATE), "-ac", "1", "-f", "s16le", "-"]
    raw = subprocess.run(convert, check=True, capture_output=True, input=spoken).stdout
    sound = np.frombuffer(raw, np.int16)
    loud = np.flatnonzero(np.abs(sound) > 200)
    return sound[loud[0] : loud[-1]]


def silence(seconds: float) -> Sound:
    return np.zeros(round(seconds * RATE), np.int16)


def noise(seconds: float, seed: int = 1) -> Sound:
    """White noise at about -20 dB."""
    return (
        (np.random.default_rng(seed).normal(0, 0.05, round(seconds * RATE)) * 32767)
        .clip(-32768, 32767)
        .astype(np.int16)
    )


def music(seconds: float, seed: int = 1) -> Sound:
    """Chords of plucked strings with a beat, four a bar."""
    draw = np.random.default_rng(seed)
    out = np.zeros(round(seconds * RATE))
    length = RATE // 2
    time = np.arange(length) / RATE
    for start in range(0, len(out) - length, length):
        for note in draw.choice([0, 2, 4, 5, 7, 9, 11, 12], 3, replace=False):
            pitch = 220 * 2 ** (note / 12)
            tone = sum(np.sin(2 * np.pi * pitch * part * time) / part for part in range(1, 6))
            out[start : start + length] += tone * np.exp(-3 * time) * 0.1
        out[start : start + 800] += draw.normal(0, 0.2, 800) * np.exp(-np.arange(800) / 150)
    return (out.clip(-1, 1) * 32767).astype(np.int16)


def write(path: Path, *pieces: Sound) -> Path:
    """A WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.concatenate(pieces).tobytes())
    return path


def reference(name: str) -> Path | None:
    """A file of the reference data (speech/…), None where there is none."""
    folder = Path(os.environ.get("ACADEMY_REFERENCE_DATA", Path(__file__).parents[2] / "shared" / "data"))
    found = folder / "speech" / name
    return found if found.is_file() else None
