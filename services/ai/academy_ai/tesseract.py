"""Tesseract, behind one function. Shared by the kinds that read text; nothing else starts it.

The program is Debian's (tesseract-ocr, tesseract-ocr-kor). It runs on one thread: its own threads only wait for one
another on small pictures (a page in 3 to 4 s instead of 15).
"""

import csv
import io
import shutil
import subprocess
from dataclasses import dataclass

import cv2
import numpy as np

from academy_ai.paper import Gray
from academy_core.errors import Retryable

SECONDS = 120
"""Longest time one picture may take."""
WORD = 5
"""Tesseract's level of words in its table."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word: its text, box in pixels, confidence 0 to 1, and the line it stands on."""

    text: str
    x: int
    y: int
    width: int
    height: int
    confidence: float
    line: tuple[int, int, int]
    """Block, paragraph and line."""


def words(picture: Gray, language: str, *, mode: int, allowed: str = "", dpi: int = 200) -> list[Word]:
    """The words in a picture in reading order.

    `language`: `kor` or `eng`. `mode`: page segmentation mode (6: one block of text, 7: one line). `allowed`: the
    only characters there can be. Raises Retryable when Tesseract fails on it.
    """
    program = shutil.which("tesseract")
    if program is None:
        raise FileNotFoundError("tesseract is not installed")
    _, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    command = [program, "stdin", "stdout", "-l", language, "--psm", str(mode), "--dpi", str(dpi)]
    if allowed:
        command += ["-c", f"tessedit_char_whitelist={allowed}"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program; the picture goes through a pipe
            [*command, "tsv"],
            input=np.asarray(data).tobytes(),
            capture_output=True,
            env={"OMP_THREAD_LIMIT": "1"},
            timeout=SECONDS,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Retryable(f"tesseract: {error}") from error
    return _parsed(done.stdout.decode("utf-8"))


def _parsed(table: str) -> list[Word]:
    out = []
    for row in csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
        if int(row["level"]) == WORD and row["text"].strip():
            left, top, width, height = (int(row[name]) for name in ("left", "top", "width", "height"))
            line = (int(row["block_num"]), int(row["par_num"]), int(row["line_num"]))
            out.append(Word(row["text"].strip(), left, top, width, height, max(0.0, float(row["conf"])) / 100, line))
    return out
