"""What people do with lectures: create, upload, complete, cancel, retry, replace, delete.

Called by `api` with a lecture of the caller's academy. Database changes are short transactions under the lecture's
row lock (after the job's, see `models`); calls to the object store happen outside them, and every step can be repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from django.db import transaction
from django.utils import timezone

from academy_api.lectures import graves, hooks, states, store, uploads
from academy_api.lectures.models import RUNNING, Language, Lecture, Publication, State, Upload
from academy_api.ledger import jobs
from academy_api.settings import config
from academy_core import containers
from academy_core.errors import Conflict, NotFound, Permanent, Reason
from academy_core.ledger import NewTask
from academy_core.store import ObjectInfo, ObjectStore, Part
from academy_core.video import PLAN, PlanInput

URL_LIFE = timedelta(hours=6)
"""A part may take this long on a slow line; fresh URLs are one request away."""

NO_UPLOAD = Reason(
    "no-upload",
    "진행 중인 업로드가 없습니다. 새 파일을 올리려면 영상 교체를 이용해 주세요.",
    "There is no upload in progress. To upload another file, replace the recording.",
)
NOTHING_TO_CANCEL = Reason(
    "nothing-to-cancel",
    "취소할 작업이 없습니다. 이미 끝났거나 취소되었습니다.",
    "There is nothing to cancel: it has ended or was cancelled already.",
)
CHANGING = Reason(
    "lecture-changing",
    "방금 업로드가 완료되어 상태가 바뀌고 있습니다. 잠시 뒤 다시 시도해 주세요.",
    "Its upload has only just been completed. Please try again in a moment.",
)


@dataclass(frozen=True, slots=True)
class Announced:
    """A recording that the client is going to upload."""

    file_name: str
    size: int
    """Bytes."""
    content_type: str


@dataclass(frozen=True, slots=True)
class PartUrl:
    """Where to PUT one part."""

    number: int
    size: int
    url: str


@dataclass(frozen=True, slots=True)
class Parts:
    """How far an upload is, and where its next parts go."""

    part_bytes: int
    part_count: int
    uploaded: Sequence[uploads.Part]
    missing: int
    urls: Sequence[PartUrl]
    """Of the first missing parts; ask again for more."""
    expires_seconds: int


def create(
    academy: UUID, created_by: UUID, title: str, announced: Announced, language: Language = Language.KOREAN
) -> Lecture:
    """A lecture that waits for its upload. Raises Permanent when the announced file cannot become one."""
    uploads.check_announced(announced.size, announced.content_type)
    with transaction.atomic():
        lecture = Lecture.objects.create(academy_id=academy, title=title, language=language, created_by_id=created_by)
        _open(lecture, announced)
    return lecture


def replace(lecture: UUID, announced: Announced) -> Lecture:
    """Start another publication; whatever was under way ends, whatever is ready stays until the new one is."""
    uploads.check_announced(announced.size, announced.content_type)
    with transaction.atomic():
        locked, _ = _halt(lecture)
        _remove(locked, [each for each in _publications(locked) if each.state != State.READY])
        _open(locked, announced)
        states.follow(locked)
    return locked


def _open(lecture: Lecture, announced: Announced) -> None:
    publication = uuid4()
    Publication.objects.create(
        pk=publication,
        academy_id=lecture.academy_id,
        lecture=lecture,
        output_prefix=f"{config.R2_PREFIX}/{lecture.pk}/{publication}/",
    )
    Upload.objects.create(
        academy_id=lecture.academy_id,
        publication_id=publication,
        source_key=f"sources/{lecture.pk}/{publication}",
        file_name=announced.file_name,
        content_type=announced.content_type,
        source_bytes=announced.size,
        part_bytes=uploads.part_bytes(announced.size),
    )


def _publications(lecture: Lecture) -> list[Publication]:
    return list(lecture.publications.select_related("upload"))


def _lock(lecture: UUID) -> Lecture:
    locked = Lecture.objects.select_for_update().filter(pk=lecture).first()
    if locked is None:
        raise NotFound
    return locked


def _halt(lecture: UUID) -> tuple[Lecture, bool]:
    """Cancel the lecture's running job, then lock the lecture: in the order in which the ledger locks.

    Returns the lecture and whether a job was cancelled. Raises Conflict when a job began in between, NotFound when the
    lecture is gone.
    """
    running = Publication.objects.filter(lecture=lecture, state__in=RUNNING)
    seen = [job for job in running.values_list("job", flat=True) if job is not None]
    cancelled = [job for job in seen if jobs.cancel(job)]
    locked = _lock(lecture)
    if locked.publications.filter(state__in=RUNNING).exclude(job__in=seen).exists():
        raise Conflict(reason=CHANGING)
    return locked, bool(cancelled)


def _remove(lecture: Lecture, publications: Sequence[Publication]) -> None:
    graves.bury(publications)
    lecture.publications.filter(pk__in=[publication.pk for publication in publications]).delete()


def delete(lecture: UUID) -> None:
    """Remove the lecture; its files are swept by the relay. Runs in the caller's transaction."""
    locked, _ = _halt(lecture)
    _remove(locked, _publications(locked))
    locked.delete()


def cancel(lecture: UUID) -> Lecture:
    """End the upload or the encoding that is under way. Raises Conflict when there is none."""
    with transaction.atomic():
        locked, halted = _halt(lecture)
        publication = states.newer(_publications(locked))
        if publication is not None and publication.state == State.UPLOADING:
            publication.state = State.CANCELLED
            publication.save(update_fields=["state"])
            graves.bury([publication])
            states.follow(locked)
        elif not halted or publication is None or publication.state != State.CANCELLED:
            raise Conflict(reason=NOTHING_TO_CANCEL)
    return locked


def retry(lecture: UUID) -> None:
    """Go on with a failed encoding. Raises Conflict when there is none."""
    failed = Publication.objects.filter(lecture=lecture, state=State.FAILED, job__isnull=False).first()
    if failed is None or failed.job is None:
        raise Conflict(reason=hooks.NOTHING_TO_RETRY)
    jobs.retry(failed.job)


def _uploading(lecture: UUID) -> Upload | None:
    return (
        Upload.objects.select_related("publication")
        .filter(publication__lecture=lecture, publication__state=State.UPLOADING)
        .first()
    )


def next_parts(lecture: UUID, after: int) -> Parts:
    """Which parts have arrived, and presigned URLs for the first missing ones behind part `after`.

    Begins the multipart upload where there is none yet. Raises Conflict when no upload is in progress.
    """
    upload = _uploading(lecture)
    if upload is None:
        raise Conflict(reason=NO_UPLOAD)
    bucket = store.video()
    Upload.objects.filter(pk=upload.pk).update(active_at=timezone.now())
    upload_id = upload.upload_id or _begin(bucket, upload)
    try:
        arrived = [uploads.Part(part.number, part.size) for part in bucket.list_parts(upload.source_key, upload_id)]
    except NotFound:
        upload_id, arrived = _resumed(bucket, upload)
    missing = uploads.missing(upload.source_bytes, upload.part_bytes, arrived)
    expires = int(URL_LIFE.total_seconds())
    wanted = [part for part in missing if part.number > after][: uploads.URLS_AT_ONCE]
    return Parts(
        part_bytes=upload.part_bytes,
        part_count=-(-upload.source_bytes // upload.part_bytes),
        uploaded=arrived,
        missing=len(missing),
        urls=[
            PartUrl(part.number, part.size, bucket.presign_part(upload.source_key, upload_id, part.number, expires))
            for part in wanted
        ],
        expires_seconds=expires,
    )


def _begin(bucket: ObjectStore, upload: Upload) -> str:
    """One multipart upload even when two requests begin it at once: the first to be written down stays.

    Raises Conflict when there is none to begin any more.
    """
    begun = bucket.create_multipart(upload.source_key, content_type=upload.content_type)
    open_ = Upload.objects.filter(pk=upload.pk, publication__state=State.UPLOADING)
    with transaction.atomic():
        # Who ends the upload holds this lock, and aborts what is written down by then.
        Lecture.objects.select_for_update().filter(pk=upload.publication.lecture_id).first()
        if open_.filter(upload_id="").update(upload_id=begun):
            return begun
    bucket.abort_multipart(upload.source_key, begun)
    first = open_.values_list("upload_id", flat=True).first()
    if first is None:
        raise Conflict(reason=NO_UPLOAD)
    return first


def _resumed(bucket: ObjectStore, upload: Upload) -> tuple[str, list[uploads.Part]]:
    """An upload that the store does not know any more, and what has arrived of it.

    All of it when its parts were joined already; else the store has dropped it, and it begins anew.
    """
    try:
        _joined_before(bucket, upload)
    except Permanent:
        return _begin(bucket, upload), []
    return upload.upload_id, list(uploads.parts(upload.source_bytes, upload.part_bytes))


def complete(lecture: UUID, request_id: str) -> None:
    """Join the parts, check the file, submit the job. Repeating it is harmless.

    Raises Permanent when parts are missing or the file is no video, Conflict when there is no upload.
    """
    upload = _uploading(lecture)
    if upload is None:
        if Publication.objects.filter(lecture=lecture, state__in=[*RUNNING, State.READY]).exists():
            return
        raise Conflict(reason=NO_UPLOAD)
    bucket = store.video()
    source = _join(bucket, upload)
    reason = _fault(bucket, upload, source)
    with transaction.atomic():
        locked = _lock(lecture)
        publication = locked.publications.filter(pk=upload.publication_id, state=State.UPLOADING).first()
        if publication is None:  # completed, cancelled or replaced while we looked
            return
        if reason is None:
            _submit(publication, upload, source, request_id)
        else:
            states.fail(publication, reason)
            graves.bury([publication], keep=False)
        states.follow(locked)
    if reason is not None:
        raise Permanent(reason=reason)


def _join(bucket: ObjectStore, upload: Upload) -> ObjectInfo:
    """The source as one object. Raises Permanent when parts are missing."""
    if not upload.upload_id:
        raise Permanent(reason=uploads.INCOMPLETE)
    try:
        parts = bucket.list_parts(upload.source_key, upload.upload_id)
    except NotFound:
        return _joined_before(bucket, upload)
    arrived = [uploads.Part(part.number, part.size) for part in parts]
    if uploads.missing(upload.source_bytes, upload.part_bytes, arrived):
        raise Permanent(reason=uploads.INCOMPLETE)
    wanted = set(uploads.parts(upload.source_bytes, upload.part_bytes))
    etag = bucket.complete_multipart(upload.source_key, upload.upload_id, _only(parts, wanted))
    source = bucket.head(upload.source_key)
    if source.etag != etag:
        raise Conflict(f"source {upload.source_key} is not what was joined")
    return source


def _only(parts: Sequence[Part], wanted: set[uploads.Part]) -> list[Part]:
    return [part for part in parts if uploads.Part(part.number, part.size) in wanted]


def _joined_before(bucket: ObjectStore, upload: Upload) -> ObjectInfo:
    """A repeat after a lost answer finds the object; otherwise the store dropped the upload and it starts anew."""
    try:
        return bucket.head(upload.source_key)
    except NotFound:
        Upload.objects.filter(pk=upload.pk, upload_id=upload.upload_id).update(upload_id="")
        raise Permanent(reason=uploads.INCOMPLETE) from None


def _fault(bucket: ObjectStore, upload: Upload, source: ObjectInfo) -> Reason | None:
    """What is wrong with the source, None when a worker may have it."""
    if source.size != upload.source_bytes:
        return uploads.SIZE_DIFFERS
    head = bucket.get_range(upload.source_key, 0, min(containers.SNIFF_BYTES, source.size))
    return uploads.fault(head)


def _submit(publication: Publication, upload: Upload, source: ObjectInfo, request_id: str) -> None:
    plan = PlanInput(
        source_key=upload.source_key,
        source_bytes=source.size,
        source_etag=source.etag,
        language=publication.lecture.language,
    )
    publication.job = jobs.submit(
        kind=hooks.JOB_KIND,
        academy=publication.academy_id,
        owner_ref=publication.pk,
        task=NewTask.of(PLAN, plan),
        output_prefix=publication.output_prefix,
        request_id=request_id,
    )
    publication.state = State.PROCESSING
    publication.save(update_fields=["job", "state"])
    Upload.objects.filter(pk=upload.pk).update(completed_at=timezone.now())
