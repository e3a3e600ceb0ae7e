"""exam.read at work: pages to cut-out questions, and texts to questions of a bank.

Called by the worker (in a child without credentials) and by the command line; reads and writes local files only.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter

from academy_ai.kind import KindInput, Report
from academy_ai.kinds.exam_ocr.spec import KIND as OCR
from academy_ai.kinds.exam_ocr.spec import ExamOcrInput, PictureRead
from academy_ai.kinds.exam_read.collect import collected
from academy_ai.kinds.exam_read.spec import COLLECT, CollectInput, CollectResult, ExamReadInput
from academy_ai.kinds.exam_segment import run as segment
from academy_ai.kinds.exam_segment.spec import ExamLayout, ExamSegmentResult
from academy_core.ledger import NewTask
from academy_core.tasks import Outcome

PICTURES_A_TASK = 8
"""Cut-out questions that one exam.ocr task reads: some 10 s of work, so that a killed worker costs little."""

_TEXTS = TypeAdapter(tuple[PictureRead, ...])


def run(task: KindInput, files: Mapping[str, Path], out: Path, report: Report) -> Outcome | CollectResult:
    """One task of a reading. A page that cannot be opened is refused on its own."""
    if isinstance(task, CollectInput):
        return _collect(task, files, out)
    assert isinstance(task, ExamReadInput)  # noqa: S101 - the caller picks run by the input's kind
    found = segment.run(task, files, out, report)
    return Outcome(found, *_goes_on(found, ExamLayout.model_validate_json((out / found.details).read_text("utf-8"))))


def _goes_on(found: ExamSegmentResult, layout: ExamLayout) -> tuple[tuple[NewTask, ...], NewTask]:
    """Children that read what was cut out, some pictures each, and the task that puts their texts together."""
    cut = tuple(name for part in (*layout.passages, *layout.questions) for name in part.pictures)
    children = tuple(
        NewTask.of(OCR, ExamOcrInput(cut=cut[at : at + PICTURES_A_TASK], part=f"{at // PICTURES_A_TASK + 1:03}-"))
        for at in range(0, len(cut), PICTURES_A_TASK)
    )
    return children, NewTask.of(COLLECT, CollectInput(layout=found.details))


def _collect(task: CollectInput, files: Mapping[str, Path], out: Path) -> CollectResult:
    layout = ExamLayout.model_validate_json(files[task.layout].read_text("utf-8"))
    read = [one for text in task.texts for one in _TEXTS.validate_json(files[text.details].read_bytes())]
    exam = collected(layout, {one.source: one for one in read})
    result = CollectResult(
        pages=len(exam.pages),
        refused=sum(page.refused is not None for page in exam.pages),
        questions=len(exam.questions),
        doubtful=sum(bool(question.doubts) for question in exam.questions),
    )
    (out / result.details).write_text(exam.model_dump_json(), "utf-8")
    return result
