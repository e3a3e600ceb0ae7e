"""Endpoints under /api/v1/questions/scans: scanned exams whose questions enter the bank. Thin."""

from typing import Any
from uuid import UUID

from django.db import transaction
from ninja import Query, Router, Status

from academy_api.accounts import audit
from academy_api.accounts.auth import Request, get, scoped
from academy_api.accounts.idempotency import idempotent
from academy_api.exams import graves, uploads
from academy_api.ledger import jobs
from academy_api.paging import Page, PageQuery, page
from academy_api.questions import scans
from academy_api.questions.api import READ, WRITE
from academy_api.questions.models import Scan, Work
from academy_api.questions.schemas import ReadIn, RefusedOut, ScanDetail, ScanFileOut, ScanIn, ScanOut
from academy_api.schemas import ReasonOut

router = Router(tags=["questions"])


@router.post("", response={201: ScanDetail}, auth=WRITE)
@idempotent
def announce(request: Request, body: ScanIn) -> Status[ScanDetail]:
    """Announce the files of a scanned exam. Then PUT each to its `upload_url`, and have it read."""
    files = [uploads.Announced(file.file_name, file.size, file.content_type) for file in body.files]
    return Status(201, _detail(scans.announce(request.auth.academy, request.auth.membership, body.title, files)))


@router.get("", response=Page[ScanOut], auth=READ)
def index(request: Request, paging: Query[PageQuery]) -> dict[str, Any]:
    """Scanned exams, newest first."""
    found = page(scoped(Scan, request.auth), paging, "created_at")
    return found | {"items": [_scan(each) for each in found["items"]]}


@router.get("/{uuid:scan}", response=ScanDetail, auth=READ)
def detail(request: Request, scan: UUID) -> ScanDetail:
    """A scanned exam, how far its reading is, and fresh upload URLs while its files are awaited."""
    return _detail(get(Scan, request.auth, scan))


@router.post("/{uuid:scan}/read", response=ScanDetail, auth=WRITE)
def read(request: Request, scan: UUID, body: ReadIn) -> ScanDetail:
    """Have its questions read into the bank. Repeating it reads nothing twice."""
    scans.read(get(Scan, request.auth, scan), request.request_id, again=body.again)
    return _detail(get(Scan, request.auth, scan))


@router.post("/{uuid:scan}/cancel", response=ScanDetail, auth=WRITE)
def cancel(request: Request, scan: UUID) -> ScanDetail:
    """End its reading. Questions of an earlier one stay."""
    scans.cancel(get(Scan, request.auth, scan))
    return _detail(get(Scan, request.auth, scan))


@router.delete("/{uuid:scan}", response={204: None}, auth=WRITE)
def delete(request: Request, scan: UUID) -> Status[None]:
    """Remove a scanned exam with its questions, running work and files."""
    found = get(Scan, request.auth, scan)
    with transaction.atomic():
        scans.delete(found)
        audit.record(request, "scan.delete", scan, by=request.auth, title=found.title)
    return Status(204, None)


def _scan(scan: Scan) -> ScanOut:
    return ScanOut(
        id=scan.pk,
        title=scan.title,
        state=Work(scan.state),
        created_at=scan.created_at,
        reason=ReasonOut.of(scan.reason_code, scan.reason_ko, scan.reason_en),
    )


def _detail(scan: Scan) -> ScanDetail:
    urls = scans.upload_urls(scan)
    job = scan.job if scan.state == Work.READING else None
    return ScanDetail(
        **_scan(scan).dict(),
        files=[
            ScanFileOut(file_name=file["file_name"], upload_url=url) for file, url in zip(scan.files, urls, strict=True)
        ],
        expires_seconds=int(graves.URL_LIFE.total_seconds()),
        percent=None if job is None else jobs.progress(job).percent,
        questions=scan.scanned.count(),
        to_review=scan.scanned.filter(to_review=True).count(),
        missing=scan.missing,
        refused=[RefusedOut(**page) for page in scan.pages],
    )
