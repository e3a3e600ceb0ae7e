"""Removing what publications leave in the object store: tombstones, and the relay's duties that sweep by them.

A worker that lost its lease may go on writing until its task's time is over, so what is swept at once is swept again
after the longest task time. Both sweeps are repeatable and go page by page: killed anywhere, the next run goes on.
"""

import itertools
from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.utils import timezone

from academy_api.lectures import states, store, uploads
from academy_api.lectures.models import Lecture, Publication, State, Tombstone, Upload
from academy_core.store import ObjectStore
from academy_core.video import KINDS

SWEEP_SECONDS = 5.0
GIVE_UP_SECONDS = 60.0
LONGEST_TASK = timedelta(seconds=max(kind.max_seconds for kind in KINDS) + 60)
"""After this long no attempt that was running when a publication went can still write."""
SUPERSEDED_FOR = timedelta(hours=12)
"""A replaced publication goes on playing to whoever was watching, as long as the shortest playback grant."""
ABANDONED_AFTER = timedelta(days=1)
_PAGE = 1000
_BATCH = 100

_log = structlog.get_logger(__name__)


def bury(publications: Iterable[Publication], *, sweep_at: datetime | None = None) -> None:
    """Leave a tombstone for each (in the caller's transaction); swept at once unless `sweep_at` says later."""
    now = timezone.now()
    Tombstone.objects.bulk_create(
        [
            Tombstone(
                publication=publication.pk,
                academy_id=publication.academy_id,
                output_prefix=publication.output_prefix,
                source_key=publication.upload.source_key,
                upload_id=publication.upload.upload_id,
                created_at=now,
                due_at=sweep_at or now,
            )
            for publication in publications
        ],
        ignore_conflicts=True,  # a cancelled publication has its tombstone already
    )


def sweep() -> None:
    """Relay duty: sweep one page of the tombstone that has waited longest."""
    tombstone = Tombstone.objects.filter(due_at__lte=timezone.now()).order_by("due_at").first()
    if tombstone is None or not _sweep_page(store.video(), tombstone):
        return
    now = timezone.now()
    again = tombstone.created_at + LONGEST_TASK
    Tombstone.objects.filter(pk=tombstone.pk).update(due_at=again if again > now else None)
    _log.info("publication_swept", publication=str(tombstone.publication), again=again > now)


def _sweep_page(bucket: ObjectStore, tombstone: Tombstone) -> bool:
    """Delete up to a page of objects; True when nothing is left."""
    if tombstone.upload_id:
        bucket.abort_multipart(tombstone.source_key, tombstone.upload_id)
    bucket.delete(tombstone.source_key)
    keys = [info.key for info in itertools.islice(bucket.list(tombstone.output_prefix), _PAGE)]
    bucket.delete_many(keys)
    return len(keys) < _PAGE


def give_up_uploads() -> None:
    """Relay duty: uploads left alone for a day fail their publication and are swept."""
    stale = Upload.objects.filter(completed_at=None, active_at__lt=timezone.now() - ABANDONED_AFTER)
    for lecture in stale.values_list("publication__lecture_id", flat=True)[:_BATCH]:
        with transaction.atomic():
            _give_up(Lecture.objects.select_for_update().get(pk=lecture))


def _give_up(lecture: Lecture) -> None:
    """Looked at again under the lock: the client may have come back."""
    publication = (
        lecture.publications.select_related("upload")
        .filter(
            state=State.UPLOADING,
            upload__completed_at=None,
            upload__active_at__lt=timezone.now() - ABANDONED_AFTER,
        )
        .first()
    )
    if publication is None:
        return
    states.fail(publication, uploads.ABANDONED)
    bury([publication])
    states.follow(lecture)
