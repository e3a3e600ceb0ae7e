"""A user's cancel, replace or delete against the ledger's hooks and the relay, on connections of their own.

Job, then lecture, then publication: were the locks taken in another order anywhere, Postgres would report a deadlock.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
from api_support import World
from django.db import connection, transaction
from django.utils import timezone
from lecture_support import Worker, chunk_of, plan_of, published_of

from academy_api.lectures import publishing, service, states, store, uploads
from academy_api.lectures.models import Lecture, Publication, State, Tombstone, Upload
from academy_api.ledger import jobs
from academy_core.errors import AcademyError, Conflict, LeaseLost, NotFound, Permanent
from academy_core.store_fake import FakeStore

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 12
PLAN = plan_of([1, 1])
FILE = service.Announced("강의.mp4", 20, "video/mp4")
EXPECTED = (Conflict, LeaseLost, NotFound, Permanent)
"""What either side may be told when the other came first. Permanent is checked apart: see `_told_incomplete`."""


@pytest.fixture
def video(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    bucket = FakeStore()
    monkeypatch.setattr(store, "video", lambda: bucket)
    return bucket


def _at_once(*calls: Callable[[], object]) -> list[AcademyError | None]:
    """Run all calls from one starting line: what each was told, None for success. Anything but EXPECTED is raised."""
    line = threading.Barrier(len(calls), timeout=30)

    def run(call: Callable[[], object]) -> AcademyError | None:
        try:
            line.wait()
            call()
        except EXPECTED as told:
            return told
        finally:
            connection.close()
        return None

    with ThreadPoolExecutor(len(calls)) as pool:
        return [running.result(timeout=60) for running in [pool.submit(run, call) for call in calls]]


def _uploaded(world: World, bucket: FakeStore) -> UUID:
    lecture = service.create(world.academy.pk, world.teacher.pk, "강의", FILE).pk
    service.next_parts(lecture, 0)
    upload = Upload.objects.get(publication__lecture=lecture)
    bucket.put_part(upload.source_key, upload.upload_id, 1, b"\x00\x00\x00\x14ftypisom".ljust(20, b"\x00"))
    return lecture


def _delete(lecture: UUID) -> None:
    with transaction.atomic():
        service.delete(lecture)


def _cancel(lecture: UUID) -> None:
    service.cancel(lecture)


def _replace(lecture: UUID) -> None:
    service.replace(lecture, FILE)


def _consistent(lecture: UUID, first: UUID) -> None:
    """Either the first publication is there, or its tombstone; a cancelled one has both; the state fits."""
    publication = Publication.objects.filter(pk=first).first()
    buried = Tombstone.objects.filter(pk=first).exists()
    if publication is None:
        assert buried
    else:
        assert buried == (publication.state == State.CANCELLED)
        if publication.job is not None and publication.state == State.CANCELLED:
            assert jobs.progress(publication.job).state == "cancelled"
    found = Lecture.objects.filter(pk=lecture).first()
    if found is not None:
        assert found.state == states.of_lecture(found.publications.all())


@pytest.mark.parametrize("act", [_cancel, _replace, _delete])
def test_against_the_end_of_the_job_and_the_relay(world: World, video: FakeStore, act: Callable[[UUID], None]) -> None:
    for _ in range(ROUNDS):
        lecture = _uploaded(world, video)
        service.complete(lecture, "request")
        first = Publication.objects.get(lecture=lecture).pk
        worker = Worker()
        worker.plan(PLAN)
        for index, task in worker.claim_chunks(2).items():
            worker.complete(task, chunk_of(PLAN, index))
        complete = partial(worker.complete, worker.claim(), published_of(PLAN))
        succeeded, _, acted = _at_once(complete, publishing.PlaylistWriter(video).run, partial(act, lecture))
        _consistent(lecture, first)
        if act is not _cancel:
            assert acted is None
        else:
            assert (succeeded is None) != (acted is None), "either the work ended or it was cancelled"
        _drain(video)


@pytest.mark.parametrize("act", [_cancel, _replace, _delete])
def test_against_the_completion_of_the_upload(world: World, video: FakeStore, act: Callable[[UUID], None]) -> None:
    for _ in range(ROUNDS):
        lecture = _uploaded(world, video)
        first = Publication.objects.get(lecture=lecture).pk
        complete = partial(service.complete, lecture)
        *completed, acted = _at_once(partial(complete, "request"), partial(complete, "again"), partial(act, lecture))
        _consistent(lecture, first)
        for told in completed:
            assert not isinstance(told, Permanent) or _told_incomplete(told, lecture, first)
        assert acted is None or acted.reason.code == "lecture-changing"
        assert Publication.objects.filter(pk=first, state=State.PROCESSING, job=None).count() == 0
        _drain(video)


def _told_incomplete(told: Permanent, lecture: UUID, first: UUID) -> bool:
    """A completion that came after a replacement is about the new file, none of which has been uploaded."""
    newer = Publication.objects.filter(lecture=lecture, state=State.UPLOADING).exclude(pk=first)
    return told.reason == uploads.INCOMPLETE and newer.exists()


def _drain(bucket: FakeStore) -> None:
    """Nothing is left to claim by the next round."""
    for job in Publication.objects.exclude(job=None).values_list("job", flat=True):
        if job is not None:
            jobs.cancel(job)
    Publication.objects.update(playlists_at=timezone.now() - timedelta(seconds=1))
    publishing.PlaylistWriter(bucket).run()


def test_two_requests_that_begin_one_upload_share_it(world: World, video: FakeStore) -> None:
    for _ in range(ROUNDS):
        lecture = service.create(world.academy.pk, world.teacher.pk, "강의", FILE).pk
        assert _at_once(*[partial(service.next_parts, lecture, 0)] * 3) == [None] * 3
        upload = Upload.objects.get(publication__lecture=lecture)
        assert video.list_parts(upload.source_key, upload.upload_id) == ()
        assert [each.key for each in video._uploads.values() if each.key == upload.source_key] == [upload.source_key]
