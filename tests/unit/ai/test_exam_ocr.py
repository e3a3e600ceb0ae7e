"""exam.ocr: Korean, English, circled digits and formulae of made questions; and how two passes are weighed."""

import json
import re
from pathlib import Path

import cv2
import exam_made
import numpy as np
import pytest
from PIL import Image, ImageDraw
from tesseract_support import fonts, picture, reads, tesseract

from academy_ai import circled, glyphs
from academy_ai import tesseract as program
from academy_ai.kinds.exam_ocr.passes import chosen
from academy_ai.kinds.exam_ocr.run import run
from academy_ai.kinds.exam_ocr.spec import ExamOcrInput, PictureRead
from academy_ai.text import Word
from academy_core.errors import Retryable


def hangul(text: str) -> str:
    return "".join(re.findall("[가-힣]", text))


@reads
def test_a_question_is_read_with_its_choices(tmp_path: Path) -> None:
    lines = [
        "1. 다음 설명에 해당하는 것으로 가장 적절한 것은?",
        "① 광합성   ② 단백질   ③ 운동량",
        "④ 자본주의   ⑤ 공급 곡선",
    ]
    cv2.imwrite(str(tmp_path / "question.png"), picture(lines))
    (tmp_path / "no.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    out.mkdir()
    task = ExamOcrInput(pictures=("question.png", "no.png"))
    result = run(task, {name: tmp_path / name for name in task.sources()}, out, lambda _: None)
    assert sorted(result.keys()) == sorted(path.name for path in out.iterdir())
    read, refused = (PictureRead.model_validate(one) for one in json.loads((out / "text.json").read_text()))
    assert hangul(read.text) == hangul("".join(lines))
    assert re.findall("[①-⑤]", read.text) == list("①②③④⑤")
    assert read.confidence > 0.8
    assert (refused.refused, result.refused) == ("picture-unreadable", 1)


@reads
def test_a_fraction_stays_a_picture_and_marks_its_place(tmp_path: Path) -> None:
    sheet = Image.fromarray(picture(["3. 다음 식의 값을 구하시오.", "", "", "① 12   ② 48   ③ 35"]))
    draw, face = ImageDraw.Draw(sheet), exam_made.font(0, 32)
    draw.text((80, 110), "x =", font=face, fill=0)
    draw.text((160, 85), "7 + 6y", font=face, fill=0)
    draw.line((155, 130, 280, 130), fill=0, width=3)
    draw.text((200, 134), "9z", font=face, fill=0)
    sheet.save(tmp_path / "q.png")
    out = tmp_path / "out"
    out.mkdir()
    run(ExamOcrInput(pictures=("q",)), {"q": tmp_path / "q.png"}, out, lambda _: None)
    (read,) = (PictureRead.model_validate(one) for one in json.loads((out / "text.json").read_text()))
    assert len(read.formulae) == 1
    assert "⟦1⟧" in read.text.split("\n")
    box = read.formulae[0]
    assert (box.x <= 85, box.x + box.width >= 275, box.height > 60) == (True, True, True)


@fonts
@pytest.mark.parametrize("which", range(len(exam_made.FONTS)))
def test_circled_digits_are_told_from_circled_letters(which: int) -> None:
    sheet = Image.new("L", (900, 80), 255)
    ImageDraw.Draw(sheet).text((20, 20), "① ㉠ ② ⓐ ③ ㉡ ④ ○ ⑤ 이", font=exam_made.font(which, 32), fill=0)
    found = sorted(circled.circled(np.asarray(sheet, np.uint8), 32), key=lambda one: one.x0)
    assert [one.digit for one in found if one.digit is not None] == [1, 2, 3, 4, 5]


@fonts
def test_the_picture_of_signs_is_the_one_that_is_made() -> None:
    with Image.open(glyphs.PICTURE) as kept:
        away = np.abs(np.asarray(kept, np.int16) - np.asarray(glyphs.made(), np.int16))
    assert away.mean() < 2


KOREAN = Word("OIFL", 10, 10, 60, 30, 0.4)


@pytest.mark.parametrize(
    ("own", "other", "text"),
    [
        (KOREAN, Word("Energy", 12, 10, 58, 30, 0.9), "Energy"),
        (KOREAN, Word("Energy", 12, 10, 58, 30, 0.3), "OIFL"),
        (KOREAN, Word("Energy", 200, 10, 58, 30, 0.9), "OIFL"),
        (Word("있다", 10, 10, 60, 30, 0.9), Word("OIFL", 10, 10, 60, 30, 0.95), "있다"),
        (Word("뜨티스", 10, 10, 60, 30, 0.3), Word("RNA", 10, 10, 60, 30, 0.95), "RNA"),
        (Word("뜨티스", 10, 10, 60, 30, 0.3), Word("D|O", 10, 10, 60, 30, 0.95), "뜨티스"),
    ],
)
def test_english_words_are_taken_where_they_are_surer(own: Word, other: Word, text: str) -> None:
    assert chosen(own, [other]).text == text


@tesseract
def test_a_failing_tesseract_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "SECONDS", 0.001)
    with pytest.raises(Retryable, match="tesseract"):
        program.lines(np.full((800, 800), 255, np.uint8), "kor", mode=6)
