"""Tesseract, behind one function. Shared by the kinds that read text; nothing else starts it.

The program is Debian's (tesseract-ocr, tesseract-ocr-kor). It runs on one thread: its own threads only wait for one
another on small pictures (a page in 3 to 4 s instead of 15).
"""

import csv
import io
import shutil
import subprocess

from academy_ai.paper import Gray, png
from academy_ai.text import Lines, Word
from academy_core.errors import Retryable

SECONDS = 120
"""Longest time one picture may take."""
WORD = 5
"""Tesseract's level of words in its table."""


def lines(picture: Gray, language: str, *, mode: int, dpi: int = 200) -> Lines:
    """The words in a picture, line by line.

    `language`: `kor` or `eng`. `mode`: page segmentation mode (6: one block of text, 7: one line). Raises Retryable
    when Tesseract fails on it.
    """
    program = shutil.which("tesseract")
    if program is None:
        raise FileNotFoundError("tesseract is not installed")
    command = [program, "stdin", "stdout", "-l", language, "--psm", str(mode), "--dpi", str(dpi)]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program; the picture goes through a pipe
            [*command, "tsv"],
            input=png(picture),
            capture_output=True,
            env={"OMP_THREAD_LIMIT": "1"},
            timeout=SECONDS,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Retryable(f"tesseract: {error}") from error
    return _parsed(done.stdout.decode("utf-8"))


def _parsed(table: str) -> Lines:
    found: dict[tuple[str, str, str], list[Word]] = {}
    for row in csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
        if int(row["level"]) == WORD and row["text"].strip():
            left, top, width, height = (int(row[name]) for name in ("left", "top", "width", "height"))
            word = Word(row["text"].strip(), left, top, width, height, max(0.0, float(row["conf"])) / 100)
            found.setdefault((row["block_num"], row["par_num"], row["line_num"]), []).append(word)
    return list(found.values())
