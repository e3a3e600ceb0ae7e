"""Files that are not what they say, too large or too small: kinds that read pictures refuse them, and say why."""

import json
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import omr_made
import pypdfium2 as pdfium
import pytest
from PIL import Image

from academy_ai.kinds.exam_ocr.run import run as exam_ocr
from academy_ai.kinds.exam_ocr.spec import ExamOcrInput
from academy_ai.kinds.exam_segment.run import run as exam_segment
from academy_ai.kinds.exam_segment.spec import ExamSegmentInput
from academy_ai.kinds.image_quality.run import run as image_quality
from academy_ai.kinds.image_quality.spec import ImageQualityInput
from academy_ai.kinds.omr_grade.run import run as omr_grade
from academy_ai.kinds.omr_grade.spec import OmrGradeInput
from academy_core.errors import Permanent

SECONDS = 10.0
"""In which a refusal is due: nothing of the promised pixels or pages is made."""


def one_pixel(path: Path) -> None:
    Image.new("L", (1, 1)).save(path, "PNG")


def promises_900_million_pixels(path: Path) -> None:
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(10_000))), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def cut_off(path: Path) -> None:
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (800, 800), np.uint8)).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:20_000])


def no_picture(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + bytes(100))


def ten_thousand_pages(path: Path) -> None:
    document = pdfium.PdfDocument.new()
    for _ in range(10_000):
        document.new_page(100, 100)
    document.save(path)


def turned_by_a_lie(path: Path) -> None:
    """A thread of a picture, and an EXIF orientation that would make it a wide one."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (5000, 20)).save(path, "JPEG", exif=exif)


HOSTILE: dict[Callable[[Path], None], str] = {
    one_pixel: "picture-size",
    promises_900_million_pixels: "picture-size",
    cut_off: "picture-unreadable",
    no_picture: "picture-unreadable",
    ten_thousand_pages: "pdf-pages",
    turned_by_a_lie: "picture-size",
}


def refusal(out: Path, file: str, rows: Callable[[Any], Any]) -> tuple[str, str, str]:
    (row,) = rows(json.loads((out / file).read_text()))
    return row["refused"], row["reason_ko"], row["reason_en"]


def graded(path: Path, out: Path) -> tuple[str, str, str]:
    (out / "template.json").write_text(omr_made.sheet(1).template)
    task = OmrGradeInput(template="t", sheets=("a",))
    omr_grade(task, {"t": out / "template.json", "a": path}, out, lambda _: None)
    return refusal(out, "answers.json", lambda rows: rows)


def judged(path: Path, out: Path) -> tuple[str, str, str]:
    with pytest.raises(Permanent) as refused:
        image_quality(ImageQualityInput(image="a"), {"a": path}, out, lambda _: None)
    return refused.value.reason.code, refused.value.reason.ko, refused.value.reason.en


def cut(path: Path, out: Path) -> tuple[str, str, str]:
    exam_segment(ExamSegmentInput(pages=("a",)), {"a": path}, out, lambda _: None)
    return refusal(out, "layout.json", lambda layout: layout["pages"])


def read(path: Path, out: Path) -> tuple[str, str, str]:
    exam_ocr(ExamOcrInput(pictures=("a",)), {"a": path}, out, lambda _: None)
    return refusal(out, "text.json", lambda rows: rows)


@pytest.mark.parametrize("kind", [graded, judged, cut, read])
@pytest.mark.parametrize("make", list(HOSTILE))
def test_a_hostile_file_is_refused_with_a_reason(
    make: Callable[[Path], None], kind: Callable[[Path, Path], tuple[str, str, str]], tmp_path: Path
) -> None:
    make(tmp_path / "a.jpg")
    no_pdf = kind is judged and make is ten_thousand_pages  # image.quality judges one photo
    expected = "picture-unreadable" if no_pdf else HOSTILE[make]
    out = tmp_path / "out"
    out.mkdir()
    began = time.process_time()
    code, korean, english = kind(tmp_path / "a.jpg", out)
    assert time.process_time() - began < SECONDS
    assert (code, english.isascii()) == (expected, True)
    assert any("가" <= letter <= "힣" for letter in korean)
