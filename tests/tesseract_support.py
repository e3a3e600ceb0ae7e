"""What tests that read made exam pages need of this machine."""

import shutil
import subprocess
from collections.abc import Callable
from typing import TypeVar

import exam_made
import numpy as np
import pytest
from PIL import Image, ImageDraw


def _languages() -> str:
    program = shutil.which("tesseract")
    return "" if program is None else subprocess.check_output([program, "--list-langs"], text=True)


fonts = pytest.mark.skipif(bool(exam_made.MISSING), reason="Korean fonts absent (fonts-nanum, fonts-noto-cjk)")
tesseract = pytest.mark.skipif("kor" not in _languages(), reason="tesseract-ocr, tesseract-ocr-kor absent")


F = TypeVar("F", bound=Callable[..., object])


def reads(test: F) -> F:
    """Marks a test that makes exam pages and reads them."""
    return fonts(tesseract(test))  # type: ignore[no-any-return]


def picture(lines: list[str], *, size: int = 32) -> exam_made.Picture:
    """Lines of print, as a straight picture."""
    sheet = Image.new("L", (1000, 40 + len(lines) * round(1.6 * size)), 255)
    for row, line in enumerate(lines):
        ImageDraw.Draw(sheet).text((30, 20 + row * 1.6 * size), line, font=exam_made.font(0, size), fill=20)
    return np.asarray(sheet, np.uint8)
