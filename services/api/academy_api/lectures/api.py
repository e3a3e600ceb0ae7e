"""Endpoints under /api/v1/lectures. Thin: who may, what is asked, and how it reads."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from django.db import transaction
from django.db.models import Prefetch, QuerySet
from ninja import Query, Router, Status

from academy_api.accounts import audit
from academy_api.accounts.access import Role, Scope
from academy_api.accounts.auth import Request, get, require, scoped
from academy_api.accounts.idempotency import idempotent
from academy_api.lectures import progress, service, states
from academy_api.lectures.models import WATCHABLE, Language, Lecture, Publication, State
from academy_api.lectures.schemas import (
    FileIn,
    LectureDetail,
    LectureIn,
    LectureOut,
    PartOut,
    PartsIn,
    PartsOut,
    PartUrlOut,
    PublicationOut,
    ReportOut,
    StageOut,
)
from academy_api.ledger import jobs
from academy_api.paging import Page, PageQuery, page
from academy_api.schemas import ReasonOut
from academy_core.errors import NotFound
from academy_core.video import PublishResult

router = Router(tags=["lectures"])

READ = require(Scope.LECTURES_READ)
WRITE = require(Scope.LECTURES_WRITE)


def visible(request: Request) -> QuerySet[Lecture]:
    """The caller's academy's lectures; a student sees only those that can be watched."""
    lectures = scoped(Lecture, request.auth).prefetch_related(
        Prefetch("publications", Publication.objects.select_related("upload"))
    )
    return lectures.filter(state__in=WATCHABLE) if request.auth.role is Role.STUDENT else lectures


def one(request: Request, lecture: UUID) -> Lecture:
    """A lecture the caller may see; NotFound otherwise."""
    found = visible(request).filter(pk=lecture).first()
    if found is None:
        raise NotFound
    return found


@router.post("", response={201: LectureDetail}, auth=WRITE)
@idempotent
def create(request: Request, body: LectureIn) -> Status[LectureDetail]:
    """Announce a lecture and its recording. Then ask for part URLs, PUT the parts, and complete the upload."""
    announced = service.Announced(body.file_name, body.size, body.content_type)
    lecture = service.create(request.auth.academy, request.auth.membership, body.title, announced, body.language)
    return Status(201, _detail(request, one(request, lecture.pk)))


@router.get("", response=Page[LectureOut], auth=READ)
def index(
    request: Request,
    paging: Query[PageQuery],
    state: State | None = None,
    title: Annotated[str, Query(max_length=200)] = "",
) -> dict[str, Any]:
    """Newest first, optionally of one state or with `title` in their title."""
    lectures = visible(request)
    if state is not None:
        lectures = lectures.filter(state=state)
    if title:
        lectures = lectures.filter(title__icontains=title)
    found = page(lectures, paging, "created_at")
    return found | {"items": [_summary(lecture, list(lecture.publications.all())) for lecture in found["items"]]}


@router.get("/{uuid:lecture}", response=LectureDetail, auth=READ)
def detail(request: Request, lecture: UUID) -> LectureDetail:
    """One lecture with the progress of its newest recording."""
    return _detail(request, one(request, lecture))


@router.delete("/{uuid:lecture}", response={204: None}, auth=WRITE)
def delete(request: Request, lecture: UUID) -> Status[None]:
    """Remove a lecture, running work and files included."""
    found = get(Lecture, request.auth, lecture)
    with transaction.atomic():
        service.delete(found.pk)
        audit.record(request, "lecture.delete", found.pk, by=request.auth, title=found.title)
    return Status(204, None)


@router.post("/{uuid:lecture}/upload/parts", response=PartsOut, auth=WRITE)
def upload_parts(request: Request, lecture: UUID, body: PartsIn) -> PartsOut:
    """Which parts have arrived, and URLs for missing ones. Also how an interrupted upload is resumed."""
    parts = service.next_parts(get(Lecture, request.auth, lecture).pk, body.after)
    return PartsOut(
        part_bytes=parts.part_bytes,
        part_count=parts.part_count,
        uploaded=[PartOut(number=part.number, size=part.size) for part in parts.uploaded],
        missing=parts.missing,
        urls=[PartUrlOut(number=part.number, size=part.size, url=part.url) for part in parts.urls],
        expires_seconds=parts.expires_seconds,
    )


@router.post("/{uuid:lecture}/upload/complete", response=LectureDetail, auth=WRITE)
def upload_complete(request: Request, lecture: UUID) -> LectureDetail:
    """All parts are there: check the file and begin encoding. Repeating it is harmless."""
    service.complete(get(Lecture, request.auth, lecture).pk, request.request_id)
    return _detail(request, one(request, lecture))


@router.post("/{uuid:lecture}/cancel", response=LectureDetail, auth=WRITE)
def cancel(request: Request, lecture: UUID) -> LectureDetail:
    """End the upload or encoding under way. A ready recording stays."""
    service.cancel(get(Lecture, request.auth, lecture).pk)
    return _detail(request, one(request, lecture))


@router.post("/{uuid:lecture}/retry", response=LectureDetail, auth=WRITE)
def retry(request: Request, lecture: UUID) -> LectureDetail:
    """Go on with an encoding that failed; what was done before is kept."""
    found = get(Lecture, request.auth, lecture)
    with transaction.atomic():
        service.retry(found.pk)
        audit.record(request, "lecture.retry", found.pk, by=request.auth)
    return _detail(request, one(request, lecture))


@router.post("/{uuid:lecture}/replace", response={201: LectureDetail}, auth=WRITE)
@idempotent
def replace(request: Request, lecture: UUID, body: FileIn) -> Status[LectureDetail]:
    """Announce another recording for the lecture. The ready one plays until the new one is ready."""
    announced = service.Announced(body.file_name, body.size, body.content_type)
    service.replace(get(Lecture, request.auth, lecture).pk, announced)
    return Status(201, _detail(request, one(request, lecture)))


def _summary(lecture: Lecture, publications: Sequence[Publication]) -> LectureOut:
    shown = states.playing(publications)
    return LectureOut(
        id=lecture.pk,
        title=lecture.title,
        language=Language(lecture.language),
        state=State(lecture.state),
        created_at=lecture.created_at,
        duration_seconds=shown.duration_seconds if shown is not None else None,
        playable_seconds=shown.playable_seconds if shown is not None else 0.0,
    )


def _detail(request: Request, lecture: Lecture) -> LectureDetail:
    publications = list(lecture.publications.all())
    newest = states.newer(publications) or states.ready(publications)
    shown = None if request.auth.role is Role.STUDENT or newest is None else _publication(newest)
    return LectureDetail(
        **_summary(lecture, publications).dict(),
        replacing=shown is not None and len(publications) > 1,
        publication=shown,
    )


def _publication(publication: Publication) -> PublicationOut:
    job = jobs.progress(publication.job) if publication.job is not None else None
    return PublicationOut(
        id=publication.pk,
        state=State(publication.state),
        file_name=publication.upload.file_name,
        size=publication.upload.source_bytes,
        part_bytes=publication.upload.part_bytes,
        created_at=publication.created_at,
        duration_seconds=publication.duration_seconds,
        playable_seconds=publication.playable_seconds,
        stages=[
            StageOut(name=stage.name, state=stage.state, done=stage.done, total=stage.total, percent=stage.percent)
            for stage in progress.stages(publication, job)
        ],
        reason=ReasonOut.of(publication.reason_code, publication.reason_ko, publication.reason_en),
        report=_report(publication),
    )


def _report(publication: Publication) -> ReportOut | None:
    """What publish measured."""
    if publication.published is None:
        return None
    found = PublishResult.model_validate(publication.published)
    samples = [quality.ssim for quality in found.qualities]
    return ReportOut(
        bytes=found.bytes,
        lost_seconds=found.lost_seconds,
        lost_sound=found.lost_sound,
        patched_seconds=found.patched_seconds,
        similarity=round(sum(samples) / len(samples), 4) if samples else None,
    )
