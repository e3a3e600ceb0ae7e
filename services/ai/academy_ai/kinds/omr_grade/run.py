"""omr.grade at work: template, key and pictures in; readings, marks, pictures for the teacher and a CSV out.

Called by the worker (in a child without credentials) and by the command line; reads and writes local files only.
"""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from academy_ai import pictures
from academy_ai.kind import KindInput, Report
from academy_ai.kinds.omr_grade import marking, picture, read, template
from academy_ai.kinds.omr_grade.find import find
from academy_ai.kinds.omr_grade.fit import Fit
from academy_ai.kinds.omr_grade.layout import Layout, layout
from academy_ai.kinds.omr_grade.read import Reading, State
from academy_ai.kinds.omr_grade.spec import OmrGradeInput, OmrGradeResult, SheetRead
from academy_ai.kinds.omr_grade.template import Sheet
from academy_ai.paper import Gray
from academy_core.errors import Permanent, Reason
from academy_core.spreadsheet import plain

ENOUGH = 1600
"""Long side in pixels that a photo is decoded to at least."""
MAX_TEXT = 1_000_000
MAX_SHEETS = 400


@dataclass(frozen=True, slots=True)
class Exam:
    """What all sheets of a task share."""

    plan: Layout
    key: marking.AnswerKey | None
    marker: Gray | None
    doubles: str = "keep"
    blanks: str = "keep"


def run(task: KindInput, files: Mapping[str, Path], out: Path, report: Report) -> OmrGradeResult:
    """Read every sheet. Raises Permanent when template or key cannot be used; a bad sheet is refused on its own."""
    assert isinstance(task, OmrGradeInput)  # noqa: S101 - the caller picks run by the input's kind
    cv2.setNumThreads(1)
    exam = prepare(task, files)
    done: list[SheetRead] = []
    for number, source in enumerate(task.sheets):
        done.extend(_of_file(exam, source, files[source], out, len(done)))
        report((number + 1) / len(task.sheets))
    (out / "answers.json").write_text(json.dumps([one.model_dump() for one in done], ensure_ascii=False), "utf-8")
    (out / "answers.csv").write_text(table(done, tuple(exam.plan.sheet.columns)), "utf-8-sig")
    return OmrGradeResult(
        sheets=len(done),
        refused=sum(one.refused is not None for one in done),
        unsure=sum(bool(one.unsure) for one in done),
        pictures=tuple(one.picture for one in done if one.picture is not None),
    )


def prepare(task: OmrGradeInput, files: Mapping[str, Path]) -> Exam:
    """Template, key and marker, read once. Raises Permanent."""
    sheet = template.parse(_text(files[task.template], template.bad_template))
    if sheet.marker is not None and task.marker is None:
        raise template.bad_template(f"CropOnMarkers needs the marker's picture ({sheet.marker})")
    key = None
    if task.key is not None:
        key = marking.parse(_text(files[task.key], marking.bad_key), tuple(sheet.columns))
    marker = None
    if sheet.marker is not None and task.marker is not None:
        marker = pictures.gray(files[task.marker], 200)
    return Exam(layout(sheet), key, marker, task.doubles, task.blanks)


def _text(path: Path, refuse: template.Refusal) -> str:
    if path.stat().st_size > MAX_TEXT:
        raise refuse("the file is larger than 1 MB")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise refuse("the file is not UTF-8 text") from None


def _of_file(exam: Exam, source: str, path: Path, out: Path, before: int) -> list[SheetRead]:
    """Every sheet of one picture or PDF; what cannot be opened is one refused sheet."""
    done: list[SheetRead] = []
    try:
        for page, gray in enumerate(pictures.pages(path, ENOUGH), start=1):
            if before + len(done) >= MAX_SHEETS:
                return [*done, _refused(source, page, TOO_MANY)]
            done.append(_of_page(exam, source, page, gray, out / f"sheet-{before + len(done) + 1:03}.jpg"))
    except Permanent as error:
        done.append(_refused(source, len(done) + 1, error.reason))
    return done


TOO_MANY = Reason(
    "omr-too-many-sheets",
    f"한 번에 {MAX_SHEETS}장까지 채점할 수 있습니다. 나누어 올려 주세요.",
    f"Up to {MAX_SHEETS} sheets can be graded at once. Split them and upload the parts.",
)


def _refused(source: str, page: int, reason: Reason) -> SheetRead:
    return SheetRead(source=source, page=page, refused=reason.code, reason_ko=reason.ko, reason_en=reason.en)


def _of_page(exam: Exam, source: str, page: int, gray: Gray, target: Path) -> SheetRead:
    try:
        fit, readings = measure(exam, gray)
    except Permanent as error:
        return _refused(source, page, error.reason)
    sheet = exam.plan.sheet
    done = collect(sheet, readings, source, page)
    verdicts: dict[str, str] = {}
    line = f"{len(done.unsure)} unsure"
    if exam.key is not None:
        marks = marking.mark(done.answers, done.unsure, done.blanks, exam.key)
        done = done.model_copy(update={"marks": marks})
        line = f"{marks.score:g} / {marks.out_of:g}, {line}"
        for column, question in exam.key.items():
            verdict, _ = marking.judge(column, done.answers, done.unsure, done.blanks, question)
            verdicts |= dict.fromkeys(sheet.columns[column], verdict)
    drawn = picture.draw(fit, sheet, readings, verdicts, line)
    _, data = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 80])
    target.write_bytes(np.asarray(data).tobytes())
    return done.model_copy(update={"picture": target.name})


def measure(exam: Exam, gray: Gray) -> tuple[Fit, tuple[Reading, ...]]:
    """Find the page and read every field. Raises Permanent when the sheet is not in the picture."""
    fit = find(gray, exam.plan, exam.marker)
    return fit, judged(exam, fit)


def judged(exam: Exam, fit: Fit) -> tuple[Reading, ...]:
    """What every field says; unsure where the fit may be wrong or a person is to decide."""
    sheet = exam.plan.sheet
    by_hand = {
        state for state, policy in ((State.DOUBLE, exam.doubles), (State.BLANK, exam.blanks)) if policy == "unsure"
    }
    starts = np.cumsum([len(one.bubbles) for one in sheet.fields])[:-1]
    doubtful = [bool(part.any()) for part in np.split(fit.doubtful, starts)]
    return tuple(
        read.unsure(one) if one.state in by_hand or doubt or (unseen and one.state is State.BLANK) else one
        for one, doubt, unseen in zip(
            read.judge(read.levels(read.darkness(fit), sheet), sheet), doubtful, read.unseen(fit, sheet), strict=True
        )
    )


def collect(sheet: Sheet, readings: tuple[Reading, ...], source: str, page: int) -> SheetRead:
    """Fields joined into columns."""
    field_of = {field.label: (field, reading) for field, reading in zip(sheet.fields, readings, strict=True)}
    answers: dict[str, str] = {}
    confidence: dict[str, float] = {}
    states: dict[str, set[State]] = {}
    for column, labels in sheet.columns.items():
        parts = [field_of[label] for label in labels]
        answers[column] = "".join(_value(reading, field.empty_value) for field, reading in parts)
        confidence[column] = min(reading.confidence for _, reading in parts)
        states[column] = {reading.state for _, reading in parts}
    return SheetRead(
        source=source,
        page=page,
        answers=answers,
        confidence=confidence,
        unsure=tuple(column for column, seen in states.items() if State.UNSURE in seen),
        doubles=tuple(column for column, seen in states.items() if State.DOUBLE in seen),
        blanks=tuple(column for column, seen in states.items() if seen == {State.BLANK}),
    )


def _value(reading: Reading, empty: str) -> str:
    if reading.state is State.UNSURE:
        return "?"
    return "".join(reading.marked) if reading.marked else empty


def table(done: list[SheetRead], columns: tuple[str, ...]) -> str:
    """All readings as CSV, one sheet a row. Cells that a spreadsheet would take for a formula are quoted."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["source", "page", "score", "out_of", "unsure", "refused", *columns])
    for one in done:
        score = ["", ""] if one.marks is None else [f"{one.marks.score:g}", f"{one.marks.out_of:g}"]
        cells = [one.source, str(one.page), *score, " ".join(one.unsure), one.refused or ""]
        writer.writerow([plain(cell) for cell in (*cells, *(one.answers.get(column, "") for column in columns))])
    return text.getvalue()
