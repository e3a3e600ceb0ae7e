"""What people do with scanned exams: announce their files, have them read into the bank, cancel, delete.

Called by `scan_api` with rows of the caller's academy, and by the relay's duty with what was read. Database changes are
short transactions; calls to the object store happen outside them, and every step can be repeated.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.db import transaction

from academy_ai.kinds.exam_read.spec import KIND, ExamRead, ExamReadInput, QuestionRead
from academy_ai.kinds.exam_segment.spec import PageSeen
from academy_ai.kinds.question_similar.spec import MAX_TEXT
from academy_api.exams import graves, uploads
from academy_api.ledger import jobs
from academy_api.questions import hooks, service
from academy_api.questions.models import Question, Scan, Scanned, Work
from academy_core.errors import Conflict, Permanent, Reason
from academy_core.ledger import NewTask

MAX_CHOICE = 1000

NOT_ARRIVED = Reason(
    "scan-not-arrived",
    "아직 올라오지 않은 파일이 있습니다. 파일을 모두 올린 뒤 다시 시도해 주세요.",
    "Some files have not arrived yet. Upload them all, then try again.",
)
NO_QUESTIONS = Reason(
    "scan-without-questions",
    "문제 번호(1., 2., …)를 찾지 못했습니다. 쪽이 똑바로, 선명하게 나왔는지 확인해 주세요.",
    "No question numbers (1., 2., …) were found. Check that the pages are whole, upright and sharp.",
)


def announce(academy: UUID, created_by: UUID, title: str, files: Sequence[uploads.Announced]) -> Scan:
    """A scan that waits for its files. Raises Permanent when one of them cannot be read."""
    uploads.check(files)
    listed = [asdict(file) for file in files]
    return Scan.objects.create(academy_id=academy, title=title, files=listed, created_by_id=created_by)


def upload_urls(scan: Scan) -> list[str | None]:
    """Where to PUT each file; None once the scan has been handed to the workers."""
    return [
        uploads.put_url(key, file["content_type"]) if scan.state == Work.UPLOADING else None
        for key, file in zip(scan.source_keys, scan.files, strict=True)
    ]


def read(scan: Scan, request_id: str, *, again: bool) -> None:
    """Hand a scan whose files have all arrived to the workers; one that is being read goes on.

    One that failed or was cancelled is read anew; one that is done only with `again`. Raises Conflict when a file has
    not arrived, Permanent when one has another size, TooManyRequests when the day's allowance is used up.
    """
    if scan.state == Work.READING or (scan.state == Work.DONE and not again):
        return
    sizes = uploads.arrived(f"{scan.prefix}sources/")
    for key, file in zip(scan.source_keys, scan.files, strict=True):
        if key not in sizes:
            raise Conflict(file["file_name"], reason=NOT_ARRIVED)
        if sizes[key] != file["size"]:
            raise Permanent(file["file_name"], reason=uploads.SIZE_DIFFERS)
    service.allowance().spend(scan.academy_id)
    with transaction.atomic():
        locked = Scan.objects.select_for_update().filter(pk=scan.pk, state=scan.state, readings=scan.readings).first()
        if locked is not None:  # else another request was faster
            _submit(locked, request_id)


def _submit(scan: Scan, request_id: str) -> None:
    scan.readings += 1
    scan.job = jobs.submit(
        kind=hooks.READ_JOB,
        academy=scan.academy_id,
        owner_ref=scan.pk,
        task=NewTask.of(KIND, ExamReadInput(pages=tuple(scan.source_keys))),
        output_prefix=scan.output_prefix,
        request_id=request_id,
    )
    scan.state, scan.result = Work.READING, None
    scan.reason_code = scan.reason_ko = scan.reason_en = ""
    scan.save()


def cancel(scan: Scan) -> None:
    """End what is under way. A scan that has ended stays as it is."""
    with transaction.atomic():
        if scan.state == Work.READING and scan.job is not None:
            jobs.cancel(scan.job)
        Scan.objects.filter(pk=scan.pk, state=Work.UPLOADING).update(state=Work.CANCELLED)


def delete(scan: Scan) -> None:
    """Remove a scan with its questions, running work and files. Runs in the caller's transaction."""
    if scan.state == Work.READING and scan.job is not None:
        jobs.cancel(scan.job)
    Scan.objects.select_for_update().filter(pk=scan.pk).first()
    service.remove_all(scan.academy_id, Question.objects.filter(scanned__scan=scan))
    graves.bury(scan.prefix)
    scan.delete()


def enter(scan: Scan, found: ExamRead) -> None:
    """Put what was read into the bank; nothing when that has happened already, or another reading has begun since.

    Questions of an earlier reading are replaced, but for those that a person has looked at. Raises Permanent when the
    bank is full, or when there is no question.
    """
    with transaction.atomic():
        held = Scan.objects.select_for_update().filter(pk=scan.pk, state=Work.READING, job=scan.job).first()
        if held is None:
            return
        if not found.questions:
            raise _nothing_found(found)
        service.remove_all(held.academy_id, Question.objects.filter(scanned__scan=held, scanned__reviewed=False))
        kept = set(held.scanned.values_list("number", flat=True))
        new = [question for question in found.questions if question.number not in kept]
        rows = [_question(held, each) for each in new]
        service.enter(held.academy_id, rows)
        Scanned.objects.bulk_create(_scanned(held, row, each) for row, each in zip(rows, new, strict=True))
        held.pages = [_refused(held, page) for page in found.pages if page.refused is not None]
        held.missing, held.state = list(found.missing), Work.DONE
        held.save(update_fields=["pages", "missing", "state"])


def _nothing_found(found: ExamRead) -> Permanent:
    """Why: where every page was refused, the first one's reason."""
    refused = [page for page in found.pages if page.refused is not None]
    if refused and len(refused) == len(found.pages):
        first = refused[0]
        return Permanent(reason=Reason(str(first.refused), first.reason_ko, first.reason_en))
    return Permanent(reason=NO_QUESTIONS)


def _refused(scan: Scan, page: PageSeen) -> dict[str, Any]:
    names = dict(zip(scan.source_keys, (file["file_name"] for file in scan.files), strict=True))
    return {
        "file_name": names.get(page.source, ""),
        "page": page.page,
        "code": page.refused,
        "ko": page.reason_ko,
        "en": page.reason_en,
    }


def _plain(text: str, longest: int) -> str:
    """What the database takes; the file may be a stranger's, and the text whatever was seen in it."""
    return text.replace("\x00", "")[:longest]


def _question(scan: Scan, read: QuestionRead) -> Question:
    text = _plain(read.text, MAX_TEXT)
    return Question(
        academy_id=scan.academy_id,
        text=text,
        choices=[_plain(choice, MAX_CHOICE) for choice in read.choices],
        passage=_plain(read.passage, MAX_TEXT),
        source=scan.title,
        grams=service.found_keys(scan.academy_id, text),
        created_by_id=scan.created_by_id,
    )


def _scanned(scan: Scan, question: Question, read: QuestionRead) -> Scanned:
    return Scanned(
        academy_id=scan.academy_id,
        question=question,
        scan=scan,
        number=read.number,
        crops=[{"what": c.what, "key": scan.output_prefix + c.picture, "sign": c.sign} for c in read.crops],
        confidence=read.confidence,
        doubts=list(read.doubts),
        to_review=bool(read.doubts),
    )
