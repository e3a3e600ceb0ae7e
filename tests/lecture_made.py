"""A made lecture with known slide changes: pointer, pen strokes, webcam inset, cuts and fades; seeded."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
WIDTH, HEIGHT, FPS = 854, 480, 10
FADE = 6
"""Frames of a fade."""


@dataclass(frozen=True)
class Lecture:
    """Frames on demand, and the seconds at which a slide begins (without the first)."""

    seed: int
    starts: tuple[float, ...]
    seconds: float

    def frames(self) -> Iterator[Picture]:
        """Every frame, in colour."""
        random = np.random.default_rng(self.seed)
        bounds = [0, *(round(start * FPS) for start in self.starts), round(self.seconds * FPS)]
        slides = [_slide(random, number) for number in range(len(bounds) - 1)]
        walk = np.array([400.0, 200.0])
        face = 0.0
        for number, (first, last) in enumerate(pairwise(bounds)):
            board = slides[number].copy()
            pen = random.uniform((80, 120), (500, 380))
            for frame in range(first, last):
                if frame - first > 30 and frame % 3 == 0:  # the teacher writes
                    to = np.clip(pen + random.normal(0, 12, 2), (40, 60), (600, 430))
                    cv2.line(
                        board, np.rint(pen).astype(int).tolist(), np.rint(to).astype(int).tolist(), (30, 30, 200), 2
                    )
                    pen = to
                out = board.copy()
                if number and number % 2 and frame - first < FADE:
                    share = (frame - first + 1) / (FADE + 1)
                    out = np.asarray(cv2.addWeighted(board, share, slides[number - 1], 1 - share, 0), np.uint8)
                walk = np.clip(walk + random.normal(0, 15, 2), (20, 20), (830, 460))
                cv2.circle(out, np.rint(walk).astype(int).tolist(), 6, (0, 0, 255), -1)
                face += random.normal(0, 0.35)
                _webcam(out, face, random)
                yield out


def lecture(seed: int, slides: int = 24, shortest: float = 8.0, longest: float = 20.0) -> Lecture:
    """A lecture of `slides` slides."""
    random = np.random.default_rng(seed)
    lengths = np.round(random.uniform(shortest, longest, slides) * FPS) / FPS
    bounds = np.cumsum(lengths)
    return Lecture(seed, tuple(float(round(bound, 1)) for bound in bounds[:-1]), float(round(bounds[-1], 1)))


def _slide(random: np.random.Generator, number: int) -> Picture:
    """The same design each time: title, bar, some lines of text, at times a diagram."""
    out = np.full((HEIGHT, WIDTH, 3), 250, np.uint8)
    cv2.rectangle(out, (0, 0), (WIDTH, 46), (120, 70, 30), -1)
    title = "".join(random.choice(list("abcdefghij "), int(random.integers(8, 22))))
    cv2.putText(out, f"{number + 1} {title}", (24, 33), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (255, 255, 255), 2, cv2.LINE_AA)
    for row in range(int(random.integers(4, 9))):
        text = "".join(random.choice(list("klmnopqrstuvwx  "), int(random.integers(15, 42))))
        cv2.putText(out, text, (40, 95 + 42 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.75, (40, 40, 40), 2, cv2.LINE_AA)
    if random.random() < 0.4:
        x, y = (int(v) for v in random.integers((350, 120), (520, 250)))
        cv2.rectangle(out, (x, y), (x + 140, y + 110), (60, 150, 60), 3)
    return out


def _webcam(out: Picture, face: float, random: np.random.Generator) -> None:
    inset = np.full((120, 160, 3), 90, np.uint8)
    centre = (80 + round(12 * np.sin(face)), 62 + round(6 * np.cos(1.7 * face)))
    cv2.circle(inset, centre, 36, (140, 170, 210), -1)
    cv2.ellipse(
        inset, (centre[0], centre[1] + 15), (12, 2 + round(6 * abs(np.sin(3 * face)))), 0, 0, 360, (60, 60, 120), -1
    )
    noise = random.normal(0, 8, inset.shape)
    out[HEIGHT - 130 : HEIGHT - 10, WIDTH - 170 : WIDTH - 10] = np.clip(inset + noise, 0, 255).astype(np.uint8)


def film(made: Lecture, target: Path) -> None:
    """Encode the lecture as H.264 at its frame rate."""
    command = [
        "ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS),
        "-i", "pipe:0", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "26", "-pix_fmt", "yuv420p", str(target),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        for frame in made.frames():
            child.stdin.write(frame.tobytes())
        child.stdin.close()
        assert child.wait(timeout=300) == 0
