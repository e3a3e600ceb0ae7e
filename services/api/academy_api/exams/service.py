"""What people do with exams: make templates and exams, announce sheets, have them graded, correct, delete.

Called by `api` with rows of the caller's academy. Database changes are short transactions; calls to the object store
happen outside them, and every step can be repeated.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from academy_ai.kinds.omr_grade.spec import KIND, OmrGradeInput
from academy_ai.kinds.omr_grade.template import Sheet as Layout
from academy_api import buckets
from academy_api.accounts.limits import Limit
from academy_api.exams import graves, hooks, results, uploads
from academy_api.exams.models import Batch, Correction, Exam, Reading, Sheet, State, Template
from academy_api.ledger import jobs
from academy_api.settings import config
from academy_core.errors import Conflict, Permanent, Reason
from academy_core.ledger import NewTask

ENDED = (State.GRADED, State.FAILED, State.CANCELLED)

NOTHING_TO_GRADE = Reason(
    "nothing-to-grade",
    "채점할 파일이 없습니다. 파일을 모두 올린 뒤 다시 시도해 주세요.",
    "There is nothing to grade: upload the files first, then try again.",
)
NO_MARKER = Reason(
    "template-without-marker",
    "이 양식은 모서리 표식 그림(marker)이 필요합니다. 표식 그림을 함께 올려 주세요.",
    "This template is cropped on corner markers: please give the marker's picture too.",
)
BAD_MARKER = Reason(
    "marker-type",
    "표식 그림을 읽을 수 없습니다. PNG 또는 JPG 그림을 base64로 보내 주세요.",
    "The marker's picture cannot be read. Please send a PNG or JPG picture in base64.",
)
TEMPLATE_IN_USE = Reason(
    "template-in-use",
    "이 양식을 쓰는 시험이 있어 삭제할 수 없습니다. 시험을 먼저 삭제해 주세요.",
    "Exams use this template. Delete them first.",
)
ALLOWANCE = Reason(
    "daily-allowance-lite",
    "오늘 채점할 수 있는 파일 수를 모두 썼습니다. 내일 다시 시도하거나 관리자에게 한도를 늘려 달라고 요청해 주세요.",
    "Today's allowance of files to grade is used up. Try again tomorrow, or ask for a larger one.",
)


def allowance() -> Limit:
    """How many files an academy may have graded a day."""
    return Limit("ai-lite", config.AI_DAILY_LITE, 24 * 3600, ALLOWANCE)


def create_template(academy: UUID, title: str, definition: Mapping[str, Any], marker: bytes | None) -> Template:
    """A template that workers can read. Raises Permanent naming what is wrong with it."""
    if results.layout(definition).marker is not None and marker is None:
        raise Permanent(reason=NO_MARKER)
    if marker is not None and not marker.startswith((b"\x89PNG\r\n", b"\xff\xd8\xff")):
        raise Permanent(reason=BAD_MARKER)
    return Template.objects.create(academy_id=academy, title=title, definition=definition, marker=marker)


def delete_template(template: Template) -> None:
    """Remove a template. Raises Conflict while exams use it."""
    with transaction.atomic():
        Template.objects.select_for_update().filter(pk=template.pk).first()
        if template.exams.exists():
            raise Conflict(reason=TEMPLATE_IN_USE)
        template.delete()


def check_key(template: Template, answer_key: Mapping[str, Any] | None) -> None:
    """Raises Permanent naming what is wrong with the key."""
    if answer_key is not None:
        results.key_of(answer_key, results.layout(template.definition))


def announce(exam: Exam, created_by: UUID, files: Sequence[uploads.Announced]) -> Batch:
    """A batch that waits for its files. Raises Permanent when one of them cannot be a sheet."""
    uploads.check(files)
    with transaction.atomic():
        batch = Batch.objects.create(academy_id=exam.academy_id, exam=exam, created_by_id=created_by)
        Sheet.objects.bulk_create(
            Sheet(
                academy_id=exam.academy_id,
                batch=batch,
                number=number,
                file_name=file.file_name,
                content_type=file.content_type,
                size=file.size,
            )
            for number, file in enumerate(files, start=1)
        )
    return batch


def upload_urls(sheets: Sequence[Sheet]) -> dict[UUID, str]:
    """Where to PUT the file of each sheet that waits for one."""
    return {
        sheet.pk: uploads.put_url(sheet.source_key, sheet.content_type)
        for sheet in sheets
        if sheet.state == State.UPLOADING
    }


def grade(batch: Batch, request_id: str, *, again: bool = False, only: UUID | None = None) -> int:
    """Hand the sheets whose files have arrived to the workers; with `again` also those that have ended.

    Returns how many. Raises Conflict when there is none, TooManyRequests when the day's allowance does not suffice.
    """
    states = [State.UPLOADING, *(ENDED if again else ())]
    sheets = batch.sheets.filter(state__in=states, **({"pk": only} if only else {}))
    arrived = uploads.arrived(f"{batch.prefix}sources/")
    there = [sheet for sheet in sheets if sheet.source_key in arrived]
    whole = [sheet.pk for sheet in there if _is_whole(sheet, arrived[sheet.source_key])]
    if not there:
        raise Conflict(reason=NOTHING_TO_GRADE)
    if whole:
        allowance().spend(batch.academy_id, len(whole))
        files = _shared_files(batch)
        with transaction.atomic():
            return _submit(batch, whole, states, files, request_id)
    return 0


def _is_whole(sheet: Sheet, size: int) -> bool:
    if size == sheet.size:
        return True
    hooks.fail(sheet.pk, uploads.SIZE_DIFFERS)
    return False


@dataclass(frozen=True, slots=True)
class _Shared:
    """Keys of what all sheets of a batch are graded with."""

    template: str
    key: str | None
    marker: str | None


def _shared_files(batch: Batch) -> _Shared:
    """Template, key and marker as workers read them. Named by content: a task keeps what it began with."""
    exam = Exam.objects.select_related("template").get(pk=batch.exam_id)

    def put(name: str, data: bytes, content_type: str) -> str:
        key = f"{batch.prefix}{name}-{hashlib.sha256(data).hexdigest()[:12]}"
        buckets.ai().put(key, data, content_type=content_type)
        return key

    def as_json(name: str, value: Any) -> str:
        return put(name, json.dumps(value, ensure_ascii=False).encode(), "application/json")

    return _Shared(
        template=as_json("template", exam.template.definition),
        key=None if exam.answer_key is None else as_json("key", exam.answer_key),
        marker=None
        if exam.template.marker is None
        else put("marker", bytes(exam.template.marker), "application/octet-stream"),
    )


def _submit(batch: Batch, sheets: Collection[UUID], states: Collection[State], files: _Shared, request_id: str) -> int:
    """One job a sheet: a bad photo fails alone, and a hundred sheets are a hundred bells for as many workers."""
    exam = batch.exam
    locked = Sheet.objects.select_for_update().filter(pk__in=sheets, state__in=states).order_by("number")
    for sheet in locked:
        sheet.gradings += 1
        task = OmrGradeInput(
            template=files.template,
            key=files.key,
            marker=files.marker,
            sheets=(sheet.source_key,),
            doubles=exam.doubles,
            blanks=exam.blanks,
        )
        sheet.job = jobs.submit(
            kind=hooks.JOB_KIND,
            academy=sheet.academy_id,
            owner_ref=sheet.pk,
            task=NewTask.of(KIND, task),
            output_prefix=sheet.output_prefix,
            request_id=request_id,
        )
        sheet.state, sheet.result = State.GRADING, None
        sheet.reason_code = sheet.reason_ko = sheet.reason_en = ""
        sheet.save()
    return len(locked)


def cancel(batch: Batch) -> None:
    """End what is under way. Sheets that have ended stay as they are."""
    _halt(batch.sheets.all)


def _halt(sheets: Callable[[], Any]) -> None:
    with transaction.atomic():
        for job in sheets().filter(state=State.GRADING).values_list("job", flat=True):
            jobs.cancel(job)
        sheets().filter(state=State.UPLOADING).update(state=State.CANCELLED)


def delete_batch(batch: Batch) -> None:
    """Remove a batch, running work and files included. Runs in the caller's transaction."""
    _halt(batch.sheets.all)
    graves.bury(batch.prefix)
    batch.delete()


def delete_exam(exam: Exam) -> None:
    """Remove an exam with all its batches. Runs in the caller's transaction."""
    for batch in exam.batches.all():
        delete_batch(batch)
    exam.delete()


def correct(reading: Reading, corrected_by: UUID, values: Mapping[str, str | None]) -> None:
    """Write a teacher's word on some columns; None takes it back. Raises Permanent for a column there is not."""
    sheet = results.layout(reading.sheet.batch.exam.template.definition)
    results.check_columns(values, sheet.columns)
    with transaction.atomic():
        locked = Reading.objects.select_for_update().get(pk=reading.pk)
        locked.corrections.filter(column__in=[column for column, value in values.items() if value is None]).delete()
        for column, value in values.items():
            if value is not None:
                Correction.objects.update_or_create(
                    academy_id=reading.academy_id,
                    reading=reading,
                    column=column,
                    defaults={"value": value, "corrected_by_id": corrected_by},
                )
        count_open(locked, sheet)
        locked.save(update_fields=["open_columns"])


def count_open(reading: Reading, sheet: Layout) -> None:
    """Set `open_columns` after readings or corrections changed."""
    corrections = {each.column: each.value for each in reading.corrections.all()}
    now = results.of_page(reading, corrections, sheet, None)
    reading.open_columns = len(now.unsure) + len(now.unknown)
