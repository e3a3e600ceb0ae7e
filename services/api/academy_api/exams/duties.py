"""What the relay runs for this app: fetch readings (here), sweep what is gone (`graves`).

Both are repeatable and go piece by piece: killed anywhere, the next run goes on.
"""

import structlog
from django.db import transaction
from pydantic import TypeAdapter, ValidationError

from academy_ai.kinds.omr_grade.spec import OmrGradeResult, SheetRead
from academy_api import buckets
from academy_api.exams import graves, hooks, results, service
from academy_api.exams.models import Reading, Sheet, State
from academy_api.relay import Duty
from academy_core.errors import NotFound, Reason
from academy_core.store import ObjectStore

FETCH_SECONDS = 1.0
_AT_ONCE = 20

LOST = Reason(
    "readings-lost",
    "채점 결과 파일을 찾을 수 없습니다. 다시 채점해 주세요.",
    "The file with the readings cannot be found. Please grade the sheet again.",
)

_READ = [
    *("refused_code", "refused_ko", "refused_en"),
    *("answers", "confidence", "unsure", "doubles", "blanks", "picture", "read_at"),
]
_READINGS = TypeAdapter(list[SheetRead])
_log = structlog.get_logger(__name__)


def fetch_readings() -> None:
    """Relay duty: put the readings of sheets whose job has succeeded into the database."""
    waiting = Sheet.objects.filter(state=State.GRADING, result__isnull=False).order_by("pk")
    for sheet in waiting[:_AT_ONCE]:
        _fetch(buckets.ai(), sheet)


def _fetch(bucket: ObjectStore, sheet: Sheet) -> None:
    result = OmrGradeResult.model_validate(sheet.result)
    try:
        found = _READINGS.validate_json(bucket.get(sheet.output_prefix + result.details))
    except (NotFound, ValidationError) as error:
        _log.error("readings_lost", sheet=str(sheet.pk), error=type(error).__name__)
        hooks.fail(sheet.pk, LOST)
        return
    with transaction.atomic():
        if Sheet.objects.select_for_update().filter(pk=sheet.pk, state=State.GRADING, job=sheet.job).exists():
            _keep(sheet, [_reading(sheet, read) for read in found])
            Sheet.objects.filter(pk=sheet.pk).update(state=State.GRADED)


def _keep(sheet: Sheet, readings: list[Reading]) -> None:
    """A page that is read again keeps its row, and with it the teacher's corrections."""
    sheet.readings.exclude(page__in=[reading.page for reading in readings]).delete()
    Reading.objects.bulk_create(readings, update_conflicts=True, unique_fields=["sheet", "page"], update_fields=_READ)
    layout = results.layout(sheet.batch.exam.template.definition)
    kept = list(sheet.readings.prefetch_related("corrections"))
    for reading in kept:
        service.count_open(reading, layout)
    Reading.objects.bulk_update(kept, ["open_columns"])


def _reading(sheet: Sheet, read: SheetRead) -> Reading:
    return Reading(
        academy_id=sheet.academy_id,
        sheet=sheet,
        page=read.page,
        refused_code=read.refused or "",
        refused_ko=read.reason_ko,
        refused_en=read.reason_en,
        answers=read.answers,
        confidence=read.confidence,
        unsure=list(read.unsure),
        doubles=list(read.doubles),
        blanks=list(read.blanks),
        picture=read.picture or "",
        open_columns=0,  # counted once the corrections are seen beside it
    )


ALL = (
    Duty("exam-readings", FETCH_SECONDS, fetch_readings),
    Duty("exam-sweeps", graves.SWEEP_SECONDS, graves.sweep),
)
