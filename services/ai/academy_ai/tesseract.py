"""Tesseract, behind one function. Shared by the kinds that read text; nothing else starts it.

The program is Debian's (tesseract-ocr, tesseract-ocr-kor). It runs on one thread: its own threads only wait for one
another on small pictures (a page in 3 to 4 s instead of 15). All pictures of a call go in as the pages of one TIFF, so
that models are loaded once.
"""

import csv
import io
import shutil
import subprocess
from collections.abc import Sequence

from PIL import Image

from academy_ai.paper import Gray
from academy_ai.text import Word
from academy_core.errors import Retryable

SECONDS = 120
"""Longest time that the pictures of one call may take."""
LINE, BLOCK = 7, 6
"""Page segmentation modes: one line of text, one block of lines."""
WORD = 5
"""Tesseract's level of words in its table."""


def words(pictures: Sequence[Gray], language: str, mode: int = LINE, *, dpi: int = 200) -> list[list[Word]]:
    """The words in each picture, in the order in which they are read.

    `language`: `kor` or `eng`. `mode`: LINE or BLOCK. Raises Retryable when Tesseract fails.
    """
    if not pictures:
        return []
    program = shutil.which("tesseract")
    if program is None:
        raise FileNotFoundError("tesseract is not installed")
    command = [program, "stdin", "stdout", "-l", language, "--psm", str(mode), "--dpi", str(dpi), "tsv"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program; the pictures go through a pipe
            command,
            input=_tiff(pictures),
            capture_output=True,
            env={"OMP_THREAD_LIMIT": "1"},
            timeout=SECONDS,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Retryable(f"tesseract: {error}") from error
    return _parsed(done.stdout.decode("utf-8"), len(pictures))


def _tiff(pictures: Sequence[Gray]) -> bytes:
    data = io.BytesIO()
    first, *rest = map(Image.fromarray, pictures)
    first.save(data, "TIFF", save_all=True, append_images=rest)
    return data.getvalue()


def _parsed(table: str, pages: int) -> list[list[Word]]:
    found: list[list[Word]] = [[] for _ in range(pages)]
    for row in csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
        if int(row["level"]) == WORD and row["text"].strip():
            left, top, width, height = (int(row[name]) for name in ("left", "top", "width", "height"))
            word = Word(row["text"].strip(), left, top, width, height, max(0.0, float(row["conf"])) / 100)
            found[int(row["page_num"]) - 1].append(word)
    return found
