"""exam.read: questions put together from cut-out pictures' texts; and the whole way over made pages."""

import json
from pathlib import Path

import cv2
import exam_made
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tesseract_support import reads

from academy_ai.__main__ import follow
from academy_ai.kind import discover
from academy_ai.kinds.exam_ocr.spec import Formula, LineRead, PictureRead
from academy_ai.kinds.exam_read.collect import SIGNS, collected, split
from academy_ai.kinds.exam_read.spec import CollectResult, ExamRead, ExamReadInput
from academy_ai.kinds.exam_segment.spec import Box, Choice, ExamLayout, PageSeen, Passage, Question

BOX = Box(page=0, x=0, y=0, width=9, height=9)
PAGE = PageSeen(source="exam.pdf", page=1, picture="page-001.png", columns=1)


def question(number: int, *pictures: str, choices: int = 0, passage: int | None = None) -> Question:
    labels = tuple(Choice(label=label, box=BOX) for label in range(1, choices + 1))
    boxes = (BOX,) * len(pictures)
    return Question(boxes=boxes, pictures=pictures, number=number, choices=labels, passage=passage)


def read(picture: str, text: str, *, formulae: int = 0, confidence: float = 0.9) -> PictureRead:
    return PictureRead(
        source=picture,
        page=1,
        text=text,
        confidence=confidence,
        lines=tuple(
            LineRead(text=line, confidence=confidence, x=0, y=0, width=1, height=1) for line in text.split("\n")
        ),
        formulae=tuple(
            Formula(picture=f"{place}-{picture}", x=0, y=0, width=1, height=1) for place in range(1, formulae + 1)
        ),
    )


def put_together(layout: ExamLayout, *reads: PictureRead) -> ExamRead:
    return collected(layout, {one.source: one for one in reads})


def exam(*questions: Question, passages: tuple[Passage, ...] = ()) -> ExamLayout:
    return ExamLayout(pages=(PAGE,), passages=passages, questions=questions)


def test_number_choices_and_passage_are_put_apart() -> None:
    passage = Passage(boxes=(BOX,), pictures=("p.png",), first=3, last=4)
    found = put_together(
        exam(question(3, "q.png", choices=3, passage=0), passages=(passage,)),
        read("p.png", "[3~4] 다음 글을 읽고 물음에 답하시오.\n옛날에"),
        read("q.png", "3. 옳은 것은?\n① 농업 ② 광합성\n합성 ③ RNA"),
    )
    (one,) = found.questions
    assert (one.number, one.text, one.choices) == (3, "옳은 것은?", ("농업", "광합성 합성", "RNA"))
    assert one.passage.startswith("[3~4]")
    assert one.doubts == ()
    assert [(crop.what, crop.picture) for crop in one.crops] == [("question", "q.png"), ("passage", "p.png")]


def test_formulae_of_a_question_over_two_columns_are_counted_through() -> None:
    found = put_together(
        exam(question(1, "a.png", "b.png")),
        read("a.png", "1. ⟦1⟧의 값은", formulae=1),
        read("b.png", "⟦1⟧ + ⟦2⟧", formulae=2),
    )
    (one,) = found.questions
    assert one.text == "⟦1⟧의 값은\n⟦2⟧ + ⟦3⟧"
    assert [crop.what for crop in one.crops].count("figure") == 0
    signs = {crop.sign: crop.picture for crop in one.crops if crop.what == "formula"}
    assert signs == {"⟦1⟧": "1-a.png", "⟦2⟧": "1-b.png", "⟦3⟧": "2-b.png"}


@pytest.mark.parametrize(
    ("text", "confidence", "seen", "doubts"),
    [
        ("1. 옳은 것은?\n① 가 ② 나", 0.9, 2, ()),
        ("1. 옳은 것은?\n① 가 ② 나", 0.9, 3, ("choices",)),
        ("1. 옳은 것은?\n① 가 ②", 0.9, 2, ("choices",)),
        ("1. 옳은 것은?", 0.3, 0, ("text",)),
        ("1.", 0.9, 0, ("text",)),
    ],
)
def test_what_a_person_has_to_look_at(text: str, confidence: float, seen: int, doubts: tuple[str, ...]) -> None:
    (one,) = put_together(
        exam(question(1, "q.png", choices=seen)), read("q.png", text, confidence=confidence)
    ).questions
    assert one.doubts == doubts


def test_a_picture_that_could_not_be_read_is_a_doubt_not_a_loss() -> None:
    (one,) = put_together(exam(question(1, "q.png"))).questions
    assert (one.doubts, one.confidence, one.crops[0].picture) == (("picture", "text"), 0.0, "q.png")


def test_numbers_that_were_not_found_are_named() -> None:
    found = put_together(exam(question(2, "b.png"), question(5, "e.png")))
    assert found.missing == (3, 4)
    assert put_together(exam()).missing == ()


def test_a_stem_that_names_choices_keeps_them() -> None:
    stem, choices = split("①과 ②를 보고 답하시오. ① 가 ② 나 ③ 다")
    assert (stem, choices) == ("①과 ②를 보고 답하시오.", ["가", "나", "다"])


TEXT = st.text(st.characters(blacklist_characters=SIGNS, blacklist_categories=["C", "Z"]), min_size=1, max_size=20)


@given(TEXT, st.lists(TEXT, min_size=2, max_size=5))
def test_choices_are_split_as_they_were_joined(stem: str, choices: list[str]) -> None:
    joined = "\n".join([stem, *(f"{sign} {choice}" for sign, choice in zip(SIGNS, choices, strict=False))])
    assert split(joined) == (stem, choices)


@reads
def test_a_page_becomes_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way as the ledger goes it: exam.read, exam.ocr on what was cut out, exam.read.collect."""
    made = exam_made.page(3, columns=2)
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("page.png", made.picture)
    Path("broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    out = tmp_path / "out"
    out.mkdir()
    task = ExamReadInput(pages=("page.png", "broken.pdf"))
    result = follow(discover(), "exam.read", task, out, lambda kind: kind.load({}))
    assert isinstance(result, CollectResult)
    assert (result.pages, result.refused, result.questions) == (2, 1, len(made.questions))
    found = ExamRead.model_validate_json((out / result.details).read_text())
    assert [one.number for one in found.questions] == [one.number for one in made.questions]
    for one, true in zip(found.questions, made.questions, strict=True):
        assert len(one.choices) == len(true.choices) or "choices" in one.doubts
        assert all((out / crop.picture).is_file() for crop in one.crops)
    assert json.loads((out / "layout.json").read_text())["pages"][1]["refused"] == "picture-unreadable"
