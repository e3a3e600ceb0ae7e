"""Endpoints under /api/v1/exams. Thin: who may, what is asked, and how it reads."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpResponse
from ninja import Query, Router, Status

from academy_api import off_loop
from academy_api.accounts import audit
from academy_api.accounts.access import Scope
from academy_api.accounts.auth import Request, get, require, scoped
from academy_api.accounts.idempotency import idempotent
from academy_api.exams import export, graves, results, service, uploads
from academy_api.exams.models import Batch, Exam, Policy, Reading, Sheet, State, Template
from academy_api.exams.schemas import (
    BatchDetail,
    BatchIn,
    BatchOut,
    CorrectionsIn,
    ExamDetail,
    ExamIn,
    ExamOut,
    ExamPatch,
    GradedOut,
    GradeIn,
    MarksOut,
    ResultOut,
    SheetDetail,
    SheetOut,
    TemplateDetail,
    TemplateIn,
    TemplateOut,
)
from academy_api.ledger import jobs
from academy_api.paging import Page, PageQuery, page
from academy_api.schemas import ReasonOut
from academy_core.errors import Permanent, Reason

router = Router(tags=["exams"])

READ = require(Scope.EXAMS_READ)
WRITE = require(Scope.EXAMS_WRITE)
MAX_EXPORTED = 20_000
_PAGE = 100
"""Rows marked between two database calls: some 10 ms of CPU, then the event loop has its turn."""

TOO_MANY = Reason(
    "export-too-large",
    f"한 번에 {MAX_EXPORTED:,}쪽까지 내보낼 수 있습니다. 묶음별로 내보내 주세요.",
    f"At most {MAX_EXPORTED:,} pages can be exported at once. Please export batch by batch.",
)


# -- templates --------------------------------------------------------------------------------------------------------


@router.post("/templates", response={201: TemplateDetail}, auth=WRITE)
@idempotent
def create_template(request: Request, body: TemplateIn) -> Status[TemplateDetail]:
    """Add an answer sheet, as OMRChecker's `template.json` describes it."""
    made = service.create_template(request.auth.academy, body.title, body.definition, body.marker)
    return Status(201, _template_detail(made))


@router.get("/templates", response=Page[TemplateOut], auth=READ)
def templates(request: Request, paging: Query[PageQuery]) -> dict[str, Any]:
    """Answer sheets, newest first."""
    found = page(scoped(Template, request.auth).defer("marker"), paging, "created_at")
    return found | {"items": [_template(each) for each in found["items"]]}


@router.get("/templates/{uuid:template}", response=TemplateDetail, auth=READ)
def template(request: Request, template: UUID) -> TemplateDetail:
    """One answer sheet with its definition."""
    return _template_detail(get(Template, request.auth, template))


@router.delete("/templates/{uuid:template}", response={204: None}, auth=WRITE)
def delete_template(request: Request, template: UUID) -> Status[None]:
    """Remove an answer sheet that no exam uses."""
    found = get(Template, request.auth, template)
    with transaction.atomic():
        service.delete_template(found)
        audit.record(request, "template.delete", template, by=request.auth, title=found.title)
    return Status(204, None)


def _template(made: Template) -> TemplateOut:
    columns = list(results.layout(made.definition).columns)
    return TemplateOut(id=made.pk, title=made.title, columns=columns, created_at=made.created_at)


def _template_detail(made: Template) -> TemplateDetail:
    return TemplateDetail(**_template(made).dict(), definition=made.definition, has_marker=made.marker is not None)


# -- exams ------------------------------------------------------------------------------------------------------------


@router.post("", response={201: ExamDetail}, auth=WRITE)
@idempotent
def create(request: Request, body: ExamIn) -> Status[ExamDetail]:
    """Add an exam: an answer sheet and, now or later, the answers that are right."""
    used = get(Template, request.auth, body.template)
    service.check_key(used, body.answer_key)
    exam = Exam.objects.create(
        academy_id=request.auth.academy,
        title=body.title,
        template=used,
        answer_key=body.answer_key,
        doubles=body.doubles,
        blanks=body.blanks,
        created_by_id=request.auth.membership,
    )
    return Status(201, _exam_detail(exam))


@router.get("", response=Page[ExamOut], auth=READ)
def index(request: Request, paging: Query[PageQuery]) -> dict[str, Any]:
    """Exams, newest first."""
    found = page(scoped(Exam, request.auth), paging, "created_at")
    return found | {"items": [_exam(exam) for exam in found["items"]]}


@router.get("/{uuid:exam}", response=ExamDetail, auth=READ)
def detail(request: Request, exam: UUID) -> ExamDetail:
    """One exam, and how many sheets stand where."""
    return _exam_detail(get(Exam, request.auth, exam))


@router.patch("/{uuid:exam}", response=ExamDetail, auth=WRITE)
def change(request: Request, exam: UUID, body: ExamPatch) -> ExamDetail:
    """Change title, key or policies. A new key marks every sheet anew at once."""
    found = get(Exam, request.auth, exam)
    changed = body.dict(exclude_unset=True)
    service.check_key(found.template, changed.get("answer_key"))
    for name, value in changed.items():
        if value is not None or name == "answer_key":
            setattr(found, name, value)
    found.save(update_fields=list(changed))
    return _exam_detail(found)


@router.delete("/{uuid:exam}", response={204: None}, auth=WRITE)
def delete(request: Request, exam: UUID) -> Status[None]:
    """Remove an exam with its sheets, readings, running work and files."""
    found = get(Exam, request.auth, exam)
    with transaction.atomic():
        service.delete_exam(found)
        audit.record(request, "exam.delete", exam, by=request.auth, title=found.title)
    return Status(204, None)


def _exam(exam: Exam) -> ExamOut:
    return ExamOut(
        id=exam.pk,
        title=exam.title,
        template=exam.template_id,
        has_key=exam.answer_key is not None,
        created_at=exam.created_at,
    )


def _exam_detail(exam: Exam) -> ExamDetail:
    return ExamDetail(
        **_exam(exam).dict(),
        answer_key=exam.answer_key,
        doubles=Policy(exam.doubles),
        blanks=Policy(exam.blanks),
        sheets=_counts(Sheet.objects.filter(batch__exam=exam)),
        to_review=Reading.objects.filter(sheet__batch__exam=exam, open_columns__gt=0).count(),
    )


def _counts(sheets: QuerySet[Sheet]) -> dict[State, int]:
    return {State(state): count for state, count in sheets.values_list("state").annotate(Count("pk"))}


# -- batches and sheets -----------------------------------------------------------------------------------------------


@router.post("/{uuid:exam}/batches", response={201: BatchDetail}, auth=WRITE)
@idempotent
def announce(request: Request, exam: UUID, body: BatchIn) -> Status[BatchDetail]:
    """Announce the files of a batch. Then PUT each to its `upload_url`, and have the batch graded."""
    found = get(Exam, request.auth, exam)
    files = [uploads.Announced(file.file_name, file.size, file.content_type) for file in body.files]
    return Status(201, _batch_detail(service.announce(found, request.auth.membership, files)))


@router.get("/{uuid:exam}/batches", response=Page[BatchOut], auth=READ)
def batches(request: Request, exam: UUID, paging: Query[PageQuery]) -> dict[str, Any]:
    """Batches of an exam, newest first."""
    found = page(get(Exam, request.auth, exam).batches.prefetch_related("sheets"), paging, "created_at")
    return found | {"items": [_batch(batch, batch.sheets.all()) for batch in found["items"]]}


@router.get("/batches/{uuid:batch}", response=BatchDetail, auth=READ)
def batch_detail(request: Request, batch: UUID) -> BatchDetail:
    """A batch with its files, where each stands, and fresh upload URLs for those that have not arrived."""
    return _batch_detail(get(Batch, request.auth, batch))


@router.post("/batches/{uuid:batch}/grade", response=GradedOut, auth=WRITE)
def grade(request: Request, batch: UUID, body: GradeIn) -> GradedOut:
    """Have the files that have arrived graded. Repeating it grades nothing twice."""
    found = get(Batch, request.auth, batch)
    return GradedOut(submitted=service.grade(found, request.request_id, again=body.again))


@router.post("/batches/{uuid:batch}/cancel", response=BatchDetail, auth=WRITE)
def cancel(request: Request, batch: UUID) -> BatchDetail:
    """End what is under way. Sheets that are graded stay."""
    found = get(Batch, request.auth, batch)
    service.cancel(found)
    return _batch_detail(found)


@router.delete("/batches/{uuid:batch}", response={204: None}, auth=WRITE)
def delete_batch(request: Request, batch: UUID) -> Status[None]:
    """Remove a batch with its readings, running work and files."""
    found = get(Batch, request.auth, batch)
    with transaction.atomic():
        service.delete_batch(found)
        audit.record(request, "batch.delete", batch, by=request.auth)
    return Status(204, None)


@router.get("/sheets/{uuid:sheet}", response=SheetDetail, auth=READ)
def sheet_detail(request: Request, sheet: UUID) -> SheetDetail:
    """One file and how far its grading is."""
    return _sheet_detail(get(Sheet, request.auth, sheet))


@router.post("/sheets/{uuid:sheet}/grade", response=GradedOut, auth=WRITE)
def grade_sheet(request: Request, sheet: UUID) -> GradedOut:
    """Have one file graded, again if it was before. Corrections stay."""
    found = get(Sheet, request.auth, sheet)
    return GradedOut(submitted=service.grade(found.batch, request.request_id, again=True, only=found.pk))


def _batch(batch: Batch, sheets: Iterable[Sheet]) -> BatchOut:
    counts: dict[State, int] = {}
    for sheet in sheets:
        counts[State(sheet.state)] = counts.get(State(sheet.state), 0) + 1
    return BatchOut(id=batch.pk, exam=batch.exam_id, created_at=batch.created_at, sheets=counts)


def _batch_detail(batch: Batch) -> BatchDetail:
    sheets = list(batch.sheets.order_by("number"))
    urls = service.upload_urls(sheets)
    return BatchDetail(
        **_batch(batch, sheets).dict(),
        files=[_sheet(sheet, urls) for sheet in sheets],
        expires_seconds=int(graves.URL_LIFE.total_seconds()),
    )


def _sheet(sheet: Sheet, urls: Mapping[UUID, str]) -> SheetOut:
    return SheetOut(
        id=sheet.pk,
        number=sheet.number,
        file_name=sheet.file_name,
        state=State(sheet.state),
        upload_url=urls.get(sheet.pk),
        reason=ReasonOut.of(sheet.reason_code, sheet.reason_ko, sheet.reason_en),
    )


def _sheet_detail(sheet: Sheet) -> SheetDetail:
    stages = jobs.progress(sheet.job).stages if sheet.state == State.GRADING and sheet.job is not None else ()
    return SheetDetail(
        **_sheet(sheet, service.upload_urls([sheet])).dict(),
        batch=sheet.batch_id,
        pages=sheet.readings.count(),
        percent=stages[0].percent if stages else None,
    )


# -- results ----------------------------------------------------------------------------------------------------------


@router.get("/{uuid:exam}/results", response=Page[ResultOut], auth=READ)
def index_results(
    request: Request, exam: UUID, paging: Query[PageQuery], batch: UUID | None = None, *, review: bool = False
) -> dict[str, Any]:
    """Pages that were read, newest first; those of one batch, or those that a person has to look at (`review`)."""
    found = get(Exam, request.auth, exam)
    readings = _readings(found, batch)
    if review:
        readings = readings.filter(open_columns__gt=0)
    paged = page(readings, paging, "read_at")
    return paged | {"items": [_result(reading, found) for reading in paged["items"]]}


@router.patch("/readings/{uuid:reading}", response=ResultOut, auth=WRITE)
def correct(request: Request, reading: UUID, body: CorrectionsIn) -> ResultOut:
    """Say what really stands in columns of a page. The machine's reading is kept beside it."""
    found = get(Reading, request.auth, reading)
    service.correct(found, request.auth.membership, body.corrections)
    exam = found.sheet.batch.exam
    return _result(_readings(exam, None).get(pk=reading), exam)


@router.get("/{uuid:exam}/results.{export_type}", auth=READ)
def export_results(
    request: Request, exam: UUID, export_type: Literal["csv", "xlsx"], batch: UUID | None = None
) -> HttpResponse:
    """All results as a table: what stands after corrections, a page a row."""
    found = get(Exam, request.auth, exam)
    readings = _readings(found, batch)
    if readings.count() > MAX_EXPORTED:
        raise Permanent(reason=TOO_MANY)
    columns = list(results.layout(found.template.definition).columns)
    rows = [_row(reading, found) for reading in _in_order(readings)]
    audit.record(request, "results.export", exam, by=request.auth, rows=str(len(rows)), type=export_type)
    make, content_type = _EXPORTS[export_type]
    return HttpResponse(
        off_loop.run(lambda: make(columns, rows)),
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="results-{exam}.{export_type}"'},
    )


_EXPORTS: dict[str, tuple[Callable[[Sequence[str], Sequence[export.Row]], bytes], str]] = {
    "csv": (export.as_csv, "text/csv; charset=utf-8"),
    "xlsx": (export.as_xlsx, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
}


def _readings(exam: Exam, batch: UUID | None) -> QuerySet[Reading]:
    readings = Reading.objects.filter(academy_id=exam.academy_id, sheet__batch__exam=exam)
    if batch is not None:
        readings = readings.filter(sheet__batch=batch)
    return readings.select_related("sheet__batch").prefetch_related("corrections")


def _in_order(readings: QuerySet[Reading]) -> Iterable[Reading]:
    """By batch, file and page, fetched piece by piece."""
    keys = readings.order_by("sheet__batch__created_at", "sheet__batch_id", "sheet__number", "page")
    ordered = list(keys.prefetch_related(None).select_related(None).values_list("pk", flat=True))
    for start in range(0, len(ordered), _PAGE):
        some = readings.in_bulk(ordered[start : start + _PAGE])
        yield from (some[pk] for pk in ordered[start : start + _PAGE] if pk in some)


def _corrections(reading: Reading) -> dict[str, str]:
    return {each.column: each.value for each in reading.corrections.all()}


def _of_page(reading: Reading, exam: Exam) -> results.Result:
    sheet = results.layout(exam.template.definition)
    key = None if exam.answer_key is None else results.key_of(exam.answer_key, sheet)
    return results.of_page(reading, _corrections(reading), sheet, key)


def _row(reading: Reading, exam: Exam) -> export.Row:
    return export.Row(reading.sheet.file_name, reading.page, reading.refused_code, _of_page(reading, exam))


def _result(reading: Reading, exam: Exam) -> ResultOut:
    now = _of_page(reading, exam)
    key = reading.sheet.output_prefix + reading.picture
    return ResultOut(
        id=reading.pk,
        sheet=reading.sheet_id,
        file_name=reading.sheet.file_name,
        page=reading.page,
        refused=ReasonOut.of(reading.refused_code, reading.refused_ko, reading.refused_en),
        read=reading.answers,
        confidence=reading.confidence,
        corrections=_corrections(reading),
        answers=dict(now.answers),
        unsure=[*now.unsure, *now.unknown],
        marks=None if now.marks is None else MarksOut(**now.marks.model_dump()),
        picture_url=uploads.get_url(key) if reading.picture else None,
    )
