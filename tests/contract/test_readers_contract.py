"""What every reader of print does: Tesseract, and Google Vision against a stand-in of its REST API."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import exam_made
import numpy as np
import pytest
import tesseract_support
import vision_server
from PIL import Image, ImageDraw

from academy_ai.kinds.exam_ocr.passes import Tesseract
from academy_ai.text import Reader
from academy_ai.vision import Vision

pytestmark = [tesseract_support.fonts, tesseract_support.tesseract]

LINES = ["화자는 떠나간 임을 그리워하며", "Energy 보존 법칙을 설명하시오.", "온도가 일정할 때 기체의 부피는"]


@pytest.fixture(params=["tesseract", "google-vision"])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reader]:
    if request.param == "tesseract":
        yield Tesseract()
        return
    with vision_server.serving(tmp_path) as server, closing(Vision(server.url, server.key_file)) as vision:
        yield vision


def test_it_says_who_it_is(reader: Reader) -> None:
    assert reader.name in {"tesseract", "google-vision"}


def test_lines_come_from_top_to_bottom_and_words_from_left_to_right(reader: Reader) -> None:
    sheet = Image.new("L", (760, 260), 255)
    for row, line in enumerate(LINES):
        ImageDraw.Draw(sheet).text((30, 24 + 74 * row), line, font=exam_made.font(1, 38), fill=0)
    found = reader.lines(np.asarray(sheet, np.uint8))
    assert ["".join(word.text for word in line) for line in found] == [line.replace(" ", "") for line in LINES]
    for row, line in enumerate(found):
        assert [word.x for word in line] == sorted(word.x for word in line)
        for word in line:
            assert 0 <= word.x < word.x + word.width <= 760
            assert 24 + 74 * row <= word.y + word.height / 2 <= 24 + 74 * (row + 1)
            assert 0 < word.confidence <= 1


def test_white_paper_has_no_lines(reader: Reader) -> None:
    assert reader.lines(np.full((200, 400), 255, np.uint8)) == []
