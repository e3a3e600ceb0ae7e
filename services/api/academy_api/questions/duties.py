"""What the relay runs for this app: put what was read of scans into the bank. Repeatable, scan by scan.

What lies under a deleted scan's prefix is swept by `exams.graves`.
"""

import structlog
from pydantic import ValidationError

from academy_ai.kinds.exam_read.spec import CollectResult, ExamRead
from academy_api import buckets
from academy_api.questions import hooks, scans
from academy_api.questions.models import Scan, Work
from academy_api.relay import Duty
from academy_core.errors import NotFound, Permanent, Reason

FETCH_SECONDS = 1.0
_AT_ONCE = 5

LOST = Reason(
    "scan-lost",
    "읽은 결과 파일을 찾을 수 없습니다. 다시 요청해 주세요.",
    "The file with what was read cannot be found. Please have the scan read again.",
)

_log = structlog.get_logger(__name__)


def fetch_scans() -> None:
    """Relay duty: put the questions of scans whose job has succeeded into the bank."""
    for scan in Scan.objects.filter(state=Work.READING, result__isnull=False).order_by("pk")[:_AT_ONCE]:
        result = CollectResult.model_validate(scan.result)
        try:
            found = ExamRead.model_validate_json(buckets.ai().get(scan.output_prefix + result.details))
            scans.enter(scan, found)
        except (NotFound, ValidationError) as error:
            _log.error("scan_lost", scan=str(scan.pk), error=type(error).__name__)
            hooks.fail(scan.pk, scan.job, LOST)
        except Permanent as error:
            hooks.fail(scan.pk, scan.job, error.reason)


ALL = (Duty("scanned-questions", FETCH_SECONDS, fetch_scans),)
