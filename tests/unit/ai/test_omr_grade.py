"""omr.grade on made sheets: known marks, degraded, in PDFs, refused, and marked against a key."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import omr_made
import pypdfium2 as pdfium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from academy_ai.kinds.omr_grade import marking, page, read, template
from academy_ai.kinds.omr_grade.find import find
from academy_ai.kinds.omr_grade.layout import layout
from academy_ai.kinds.omr_grade.run import Exam, collect, judged, measure, run, table
from academy_ai.kinds.omr_grade.spec import OmrGradeInput, SheetRead
from academy_ai.paper import Gray
from academy_core.errors import Permanent

BLOCK: dict[str, Any] = {
    "fieldType": "QTYPE_MCQ4", "origin": [10, 10], "bubblesGap": 30, "labelsGap": 20, "fieldLabels": ["q1..3"],
}  # fmt: skip


def simple(**changes: Any) -> str:
    whole = {"pageDimensions": [300, 400], "bubbleDimensions": [16, 16], "fieldBlocks": {"A": BLOCK}}
    return json.dumps({**whole, **changes})


def grey(picture: omr_made.Picture) -> omr_made.Picture:
    return omr_made.DEGRADATIONS["grey"](picture, np.random.default_rng(0))


def read_made(made: omr_made.Made, picture: omr_made.Picture) -> dict[str, str]:
    exam = Exam(layout(template.parse(made.template)), None, None)
    _, done = measure(exam, grey(picture))
    return collect(exam.plan.sheet, done, "made", 1).answers


def test_template_lays_out_bubbles_and_joins_custom_labels() -> None:
    sheet = template.parse(simple(customLabels={"Roll": ["q1..2"]}))
    assert [field.label for field in sheet.fields] == ["q1", "q2", "q3"]
    assert sheet.columns == {"Roll": ("q1", "q2"), "q3": ("q3",)}
    second = sheet.fields[1].bubbles
    assert [(bubble.value, bubble.x, bubble.y) for bubble in second[:2]] == [("A", 10, 30), ("B", 40, 30)]


def test_vertical_types_run_down() -> None:
    block = {**BLOCK, "fieldType": "QTYPE_INT", "bubblesGap": 20, "labelsGap": 30}
    bubbles = template.parse(simple(fieldBlocks={"A": block})).fields[1].bubbles
    assert [(bubble.value, bubble.x, bubble.y) for bubble in (bubbles[0], bubbles[9])] == [
        ("0", 40, 10),
        ("9", 40, 190),
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fieldBlocks": {"A": {**BLOCK, "fieldType": "QTYPE_ODD"}}}, "unknown fieldType"),
        ({"fieldBlocks": {"A": {**BLOCK, "origin": [290, 10]}}}, "outside pageDimensions"),
        ({"fieldBlocks": {"A": BLOCK, "B": BLOCK}}, "appears twice"),
        ({"fieldBlocks": {"A": {**BLOCK, "fieldLabels": ["q3..1"]}}}, "does not run upwards"),
        ({"fieldBlocks": {"A": {**BLOCK, "fieldLabels": ["q1..999999999"]}}}, "too long"),
        ({"customLabels": {"Roll": ["q9"]}}, "unknown field 'q9'"),
        ({"outputColumns": ["q7"]}, "unknown column 'q7'"),
        ({"pageDimensions": [0, 400]}, "pageDimensions.0"),
        ({"preProcessors": [{"name": "CropOnMarkers", "options": {"sheetToMarkerWidthRatio": 0}}]}, "WidthRatio"),
    ],
)
def test_bad_template_says_what_is_wrong(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Permanent, match=words) as refused:
        template.parse(simple(**changes))
    assert refused.value.reason.code == "omr-template"


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_template_text_does_more_than_refuse(value: Any) -> None:
    with pytest.raises(Permanent):
        template.parse(json.dumps(value))


@pytest.mark.parametrize("name", sorted(omr_made.DEGRADATIONS))
def test_made_sheet_is_read_under_degradation(name: str) -> None:
    made = omr_made.sheet(11, questions=40)
    worse = omr_made.DEGRADATIONS[name](made.picture, np.random.default_rng(11))
    got = read_made(made, worse)
    wrong = {column: (got[column], value) for column, value in made.truth.items() if got[column] not in {value, "?"}}
    assert wrong == {}
    assert sum(got[column] == value for column, value in made.truth.items()) >= 0.97 * len(made.truth)


@pytest.mark.parametrize("questions", [20, 40, 60])
@pytest.mark.parametrize("quality", [95, 75, 40])
def test_a_compressed_scan_is_read(questions: int, quality: int) -> None:
    """Seed 2 with 20 questions: no bubbles on the right, whose corners the search leaves anywhere."""
    made = omr_made.sheet(2, questions=questions, blank=0.0, double=0.0)
    assert read_made(made, omr_made.jpeg(made.picture, quality)) == made.truth


@pytest.mark.parametrize("rows", [-0.5, 0.4, 0.5])
def test_a_field_whose_bubbles_are_not_seen_is_never_blank(rows: float) -> None:
    made = omr_made.sheet(4, questions=20, blank=0.2)
    exam = Exam(layout(template.parse(made.template)), None, None)
    fit = find(grey(made.picture), exam.plan)
    away = np.zeros_like(fit.boxes)
    away[-10 * 5 :, 1::2] = rows * exam.plan.step[1] * fit.scale
    right, drifted = judged(exam, fit), judged(exam, replace(fit, boxes=fit.boxes + away))
    assert {one.label: "".join(one.marked) for one in right[8:]} == {
        q: made.truth[q] for q in made.truth if q[0] == "q"
    }
    assert any(one.state is read.State.BLANK for one in right[-10:])
    assert [one.label for one in drifted[-10:] if one.state is read.State.BLANK] == []


def test_photo_on_a_table_is_read() -> None:
    made = omr_made.photographed(omr_made.sheet(5), 5)
    assert read_made(made, made.picture) == made.truth


@pytest.mark.parametrize("angle", [33, 120, 300])
def test_a_photo_from_any_side_is_read(angle: int) -> None:
    made = omr_made.photographed(omr_made.sheet(1, questions=40), 1)
    wide = cv2.copyMakeBorder(made.picture, 300, 300, 500, 500, cv2.BORDER_REPLICATE)
    assert read_made(made, omr_made.rotated(np.asarray(wide, np.uint8), angle)) == made.truth


@pytest.mark.parametrize("share", [0.05, 0.07])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_perspective_is_followed_over_the_whole_page(share: float, seed: int) -> None:
    """Rows at one side of the picture lie nearer together than at the other: several rows off, were it even."""
    made = omr_made.sheet(seed)
    assert read_made(made, omr_made.tilted(made.picture, share, np.random.default_rng(seed))) == made.truth


def test_a_faint_marker_is_not_lost_among_small_ones() -> None:
    """All eight strongest matches are small rings: the four of one size are found nevertheless."""
    sheet = np.full((700, 500), 240, np.uint8)
    places = [(50, 60), (450, 60), (450, 640), (50, 640)]
    for place in places:
        sheet[place[1] - 20 : place[1] + 20, place[0] - 20 : place[0] + 20] = ring(40)
    x, y = places[0]
    sheet[y - 20 : y + 12, x - 20 : x + 12] = 90
    for place in range(120, 400, 40):
        sheet[300:320, place : place + 20] = ring(20)
        sheet[400:420, place : place + 20] = ring(20)
    (best, *_) = page.markers(sheet, ring(40), 500, 12.5)
    assert np.abs(best - places).max() < 6


def ring(side: int) -> Gray:
    """A target of two rings on white."""
    large = np.full((160, 160), 240, np.uint8)
    for radius, shade in ((70, 20), (50, 240), (30, 20)):
        cv2.circle(large, (80, 80), radius, shade, -1)
    return np.asarray(cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def test_a_picture_without_the_sheet_is_refused() -> None:
    made = omr_made.sheet(3)
    exam = Exam(layout(template.parse(made.template)), None, None)
    noise = np.random.default_rng(3).integers(0, 255, (900, 700), np.uint8)
    for picture in (noise, np.full((900, 700), 250, np.uint8)):
        with pytest.raises(Permanent) as refused:
            measure(exam, picture)
        assert refused.value.reason.code == "omr-sheet-not-found"


def test_a_half_filled_bubble_is_unsure_not_guessed() -> None:
    sheet = template.parse(simple())
    level = np.array([1.0, 0, 0, 0, 0.43, 0, 0, 0, 0, 0, 0, 0.0])
    states = [(reading.state, reading.marked) for reading in read.judge(level, sheet)]
    assert states == [(read.State.MARKED, ("A",)), (read.State.UNSURE, ()), (read.State.BLANK, ())]


KEY = json.dumps({
    "source_type": "custom",
    "options": {"questions_in_order": ["q1..3"], "answers_in_order": ["A", ["B", "BC"], [["C", 2], ["D", "1/2"]]]},
    "marking_schemes": {
        "DEFAULT": {"correct": "3", "incorrect": "-1", "unmarked": "0"},
        "LAST": {"questions": ["q1"], "marking": {"correct": 5, "incorrect": 0, "unmarked": -2}},
    },
})  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "unsure", "blanks", "score", "counts"),
    [
        ({"q1": "A", "q2": "BC", "q3": "C"}, (), (), 10, (3, 0, 0, 0)),
        ({"q1": "", "q2": "C", "q3": "D"}, (), ("q1",), -2.5, (1, 1, 1, 0)),
        ({"q1": "?", "q2": "B", "q3": "A"}, ("q1",), (), 2, (1, 1, 0, 1)),
    ],
)
def test_marks_follow_the_key(
    answers: dict[str, str], unsure: tuple[str, ...], blanks: tuple[str, ...], score: float, counts: tuple[int, ...]
) -> None:
    marks = marking.mark(answers, unsure, blanks, marking.parse(KEY, ("q1", "q2", "q3")))
    assert (marks.score, marks.out_of) == (score, 10)
    assert (marks.right, marks.wrong, marks.blank, marks.open) == counts


@pytest.mark.parametrize(
    "text", ["{}", "[]", "no", KEY.replace('"A"', "7"), KEY.replace("q1..3", "q1..4"), KEY.replace("1/2", "1/0")]
)
def test_bad_key_is_refused(text: str) -> None:
    with pytest.raises(Permanent) as refused:
        marking.parse(text, ("q1", "q2", "q3"))
    assert refused.value.reason.code == "omr-key"


def _exam_files(folder: Path, made: omr_made.Made) -> tuple[OmrGradeInput, dict[str, Path]]:
    (folder / "template.json").write_text(made.template)
    questions = [column for column in made.truth if column != "Student"]
    answers = [made.truth[question] for question in questions]
    options = {"questions_in_order": questions, "answers_in_order": answers}
    (folder / "key.json").write_text(json.dumps({"source_type": "custom", "options": options}))
    upright = Image.fromarray(made.picture[..., ::-1].copy())
    upright.save(folder / "scan.pdf", save_all=True, append_images=[upright.rotate(180)], resolution=120)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    task = OmrGradeInput(template="template.json", key="key.json", sheets=("scan.pdf", "broken.jpg"))
    return task, {name: folder / name for name in task.sources()}


def test_a_pdf_of_sheets_becomes_marks_pictures_and_csv(tmp_path: Path) -> None:
    made = omr_made.sheet(21, questions=40)
    task, files = _exam_files(tmp_path, made)
    out = tmp_path / "out"
    out.mkdir()
    steps: list[float] = []
    result = run(task, files, out, steps.append)
    assert (result.sheets, result.refused, result.unsure) == (3, 1, 0)
    assert steps == [0.5, 1.0]
    assert sorted(result.keys()) == sorted(path.name for path in out.iterdir())
    first, turned, broken = (SheetRead.model_validate(one) for one in json.loads((out / "answers.json").read_text()))
    assert first.answers == made.truth == turned.answers
    assert first.marks is not None
    assert first.marks.score == first.marks.out_of == 40
    assert (turned.page, broken.refused) == (2, "picture-unreadable")
    rows = list(csv.reader(io.StringIO((out / "answers.csv").read_text("utf-8-sig"))))
    assert rows[1][rows[0].index("Student")] == made.truth["Student"]
    with Image.open(out / "sheet-001.jpg") as picture:
        assert picture.height > picture.width > 400


def test_policy_sends_blanks_and_doubles_to_a_person() -> None:
    made = omr_made.sheet(8, questions=40, blank=0.2, double=0.2)
    exam = Exam(layout(template.parse(made.template)), None, None, doubles="unsure", blanks="unsure")
    _, parts = measure(exam, grey(made.picture))
    done = collect(exam.plan.sheet, parts, "made", 1)
    assert set(done.unsure) == {
        column for column, value in made.truth.items() if column != "Student" and len(value) != 1
    }


def test_csv_cells_are_never_formulas() -> None:
    done = SheetRead(source="=HYPERLINK(1)", page=1, answers={"q1": "+A", "q2": "-1", "q3": "-x"})
    row = list(csv.reader(io.StringIO(table([done], ("q1", "q2", "q3")))))[1]
    assert (row[0], row[6:]) == ("'=HYPERLINK(1)", ["'+A", "-1", "'-x"])


def test_a_pdf_of_too_many_pages_is_refused(tmp_path: Path) -> None:
    made = omr_made.sheet(1, questions=20)
    task, files = _exam_files(tmp_path, made)
    document = pdfium.PdfDocument.new()
    for _ in range(201):
        document.new_page(100, 100)
    document.save(tmp_path / "scan.pdf")
    out = tmp_path / "out"
    out.mkdir()
    assert run(task, files, out, lambda _: None).refused == 2
