"""exam.ocr: Korean, English, circled digits and formulae of made questions; and how two passes share the work."""

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import exam_made
import numpy as np
import pytest
from PIL import Image, ImageDraw
from tesseract_support import fonts, picture, reads, tesseract

from academy_ai import circled, columns, glyphs
from academy_ai import tesseract as program
from academy_ai.kinds.exam_ocr import latin, passes
from academy_ai.kinds.exam_ocr.run import run
from academy_ai.kinds.exam_ocr.spec import ExamOcrInput, PictureRead
from academy_ai.text import Word
from academy_core.errors import Retryable


def hangul(text: str) -> str:
    return "".join(re.findall("[가-힣]", text))


@reads
def test_sentences_in_english_are_read_line_by_line(tmp_path: Path) -> None:
    lines = ["7. 다음 글의 내용과 일치하는 것은?", *exam_made.ENGLISH[:3], "정답을 고르시오."]
    assert read_one(Image.fromarray(picture(lines, size=26)), tmp_path).text.split("\n") == lines


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


def read_one(sheet: Image.Image, folder: Path) -> PictureRead:
    """What is read of one picture."""
    sheet.save(folder / "q.png")
    out = folder / "out"
    out.mkdir()
    run(ExamOcrInput(pictures=("q",)), {"q": folder / "q.png"}, out, lambda _: None)
    (read,) = (PictureRead.model_validate(one) for one in json.loads((out / "text.json").read_text()))
    return read


@reads
def test_a_fraction_stays_a_picture_and_marks_its_place(tmp_path: Path) -> None:
    sheet = Image.fromarray(picture(["3. 다음 식의 값을 구하시오.", "", "", "① 12   ② 48   ③ 35"]))
    draw, face = ImageDraw.Draw(sheet), exam_made.font(0, 32)
    draw.text((80, 110), "x =", font=face, fill=0)
    draw.text((160, 85), "7 + 6y", font=face, fill=0)
    draw.line((155, 130, 280, 130), fill=0, width=3)
    draw.text((200, 134), "9z", font=face, fill=0)
    read = read_one(sheet, tmp_path)
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
@pytest.mark.parametrize("which", range(len(exam_made.FONTS)))
def test_a_ring_that_is_faint_in_places_is_seen(which: int) -> None:
    sheet = Image.new("L", (500, 80), 255)
    ImageDraw.Draw(sheet).text((20, 20), "① ② ③ ④ ⑤", font=exam_made.font(which, 32), fill=0)
    print_of = np.array(sheet, np.int16)
    print_of[::7] = np.maximum(print_of[::7], 255 - 45)  # every seventh row of pixels hardly took ink
    found = circled.counted(circled.circled(print_of.astype(np.uint8), 32))
    assert [one.digit for one in found] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("read", "counted"),
    [
        ([1, 2, 3, 4, None], [1, 2, 3, 4, 5]),
        ([1, None, 3], [1, 2, 3]),
        ([None, 2, 3], [2, 3]),  # what begins is not told
        ([1, None, 4], [1, 4]),
        ([1, 2, None, 1, 2], [1, 2, 3, 1, 2]),
        ([None], []),
        ([9, None], [9]),
    ],
)
def test_an_unclear_ring_is_told_by_its_neighbours(read: list[int | None], counted: list[int]) -> None:
    places = [(100 * (place % 3), 50 * (place // 3) + place % 3) for place in range(len(read))]
    rings = [circled.Circled(digit, x, y, x + 30, y + 30, 0.8) for digit, (x, y) in zip(read, places, strict=True)]
    assert [one.digit for one in circled.counted(rings[::-1])] == counted
    doubtful = [replace(one, likeness=0.7) for one in rings]
    assert [one.digit for one in circled.counted(doubtful)] == [digit for digit in read if digit is not None]


@fonts
def test_the_picture_of_signs_is_the_one_that_is_made() -> None:
    with Image.open(glyphs.PICTURE) as kept:
        away = np.abs(np.asarray(kept, np.int16) - np.asarray(glyphs.made(), np.int16))
    assert away.mean() < 2


@pytest.mark.parametrize(
    ("text", "confidence", "taken"),
    [
        ("Energy", 0.7, True),
        ("Energy", 0.5, False),
        ("80km", 0.85, True),
        ("GA", 0.9, False),  # `도시`, cut after its third stroke
        ("AB", 0.95, True),
        ("He", 0.97, False),  # `모리`
        ("oll", 0.95, False),  # `에`
        ("3.5", 0.95, True),
        ("AoC", 0.95, False),  # `보다`
        ("pH", 0.9, True),
        ("3.5", 0.7, False),
        ("2", 0.97, False),  # `례`
        ("A", 0.95, True),
        ("A}", 0.99, False),
        ("", 0.99, False),
    ],
)
def test_what_the_english_pass_makes_of_syllables_is_not_taken(text: str, confidence: float, taken: bool) -> None:  # noqa: FBT001
    assert passes.sensible(text, confidence) is taken


def line_of(text: str) -> list[Word]:
    """Each syllable a word, as the Korean pass gives them; spaces are gaps."""
    return [Word(letter, 40 * at, 0, 38, 40, 0.9) for at, letter in enumerate(text) if letter != " "]


@pytest.mark.parametrize(
    ("read", "mended"),
    [
        ("다음 중 옮은 것은", "다음중옳은것은"),
        ("설명으로 율은 것만을", "설명으로옳은것만을"),
        ("을지 않은 것은", "옳지않은것은"),
        ("비율은 것이다", "비율은것이다"),
        ("짐을 옮겨 놓고", "짐을옮겨놓고"),
        ("조사한 뒤 모눔별로", "조사한뒤모둠별로"),
        ("밤의 어돔이 내리자", "밤의어둠이내리자"),
        ("나눔과 돔구장, 모든 것", "나눔과돔구장,모든것"),
    ],
)
def test_what_the_model_never_reads_rightly_is_put_right(read: str, mended: str) -> None:
    assert "".join(word.text for word in passes.mended(line_of(read))) == mended


AMONG = (
    "컴퓨터의 CPU는 메모리에서 명령어를 읽고",
    "그 RNA 정보를 Internet 자료로 저장한다.",
    "다음 설명에 해당하는 것을 고르시오.",
)


@fonts
@pytest.mark.parametrize("which", range(len(exam_made.FONTS)))
def test_latin_words_are_found_by_their_shape(which: int) -> None:
    face = exam_made.font(which, 40)
    sheet = Image.new("L", (900, 240), 255)
    for row, line in enumerate(AMONG):
        ImageDraw.Draw(sheet).text((20, 20 + 70 * row), line, font=face, fill=0)
    found = latin.runs(columns.layout(np.asarray(sheet, np.uint8), single=True))
    for line, word in ((AMONG[0], "CPU"), (AMONG[1], "RNA"), (AMONG[1], "Internet")):
        left = 20 + face.getlength(line.partition(word)[0])
        right = left + face.getlength(word)
        ends = [(run[0].x0, end.x1) for run in found for end in run[-2:]]  # the last piece may be a syllable's
        assert any(abs(start - left) < 10 and abs(end - right) < 10 for start, end in ends), word


@reads
def test_english_and_spaces_are_read_among_hangul(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "q.png"), picture(list(AMONG)))
    out = tmp_path / "out"
    out.mkdir()
    run(ExamOcrInput(pictures=("q",)), {"q": tmp_path / "q.png"}, out, lambda _: None)
    (read,) = (PictureRead.model_validate(one) for one in json.loads((out / "text.json").read_text()))
    assert read.text.split("\n") == list(AMONG)


@reads
def test_a_drawing_is_cut_out_and_not_read(tmp_path: Path) -> None:
    sheet = Image.fromarray(picture(["1. 그림을 보고 물음에 답하시오.", *[""] * 6, "① 농업   ② 단백질   ③ 광합성"]))
    draw = ImageDraw.Draw(sheet)
    for x in (300, 350, 420):
        draw.ellipse((x - 70, 130, x + 70, 270), outline=0, width=3)
    sheet.save(tmp_path / "q.png")
    out = tmp_path / "out"
    out.mkdir()
    result = run(ExamOcrInput(pictures=("q",)), {"q": tmp_path / "q.png"}, out, lambda _: None)
    (read,) = (PictureRead.model_validate(one) for one in json.loads((out / "text.json").read_text()))
    assert hangul(read.text) == "그림을보고물음에답하시오농업단백질광합성"
    (figure,) = read.figures
    assert figure.x <= 231
    assert figure.x + figure.width >= 489
    assert (figure.y <= 131, figure.y + figure.height >= 269) == (True, True)
    assert figure.picture in result.keys()  # noqa: SIM118 - a payload's keys


@reads
def test_a_fraction_whose_letters_touch_the_bar_is_found(tmp_path: Path) -> None:
    sheet = Image.fromarray(picture(["3. 다음 식의 값을 구하시오.", "", "", "① 12   ② 48   ③ 35"]))
    draw, face = ImageDraw.Draw(sheet), exam_made.font(1, 32)
    draw.text((160, 92), "7 + 6y", font=face, fill=0)  # the y's tail crosses the bar
    draw.line((155, 130, 280, 130), fill=0, width=3)
    draw.text((200, 136), "9z", font=face, fill=0)
    read = read_one(sheet, tmp_path)
    assert len(read.formulae) == 1
    assert read.text.split("\n")[0] == "3. 다음 식의 값을 구하시오."


@tesseract
def test_a_failing_tesseract_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "SECONDS", 0.001)
    with pytest.raises(Retryable, match="tesseract"):
        program.words([np.full((800, 800), 255, np.uint8)], "kor")
