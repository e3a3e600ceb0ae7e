"""Removing what publications leave in the object store: tombstones, and the relay's duties that sweep by them.

A publication that goes is hidden first: its playlists move out of the way and the CDN forgets it, so that nobody can
begin to play it. A day later everything is deleted and the CDN purged again: until then a database restored to an
earlier hour finds its lectures whole (`audit` brings the playlists back), and no worker that lost its lease can still
be writing. Every step is repeatable and goes page by page: killed anywhere, the next run goes on.
"""

import itertools
from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.utils import timezone

from academy_api.lectures import playlists, states, store, uploads
from academy_api.lectures.cdn import Cdn
from academy_api.lectures.models import Lecture, Publication, State, Tombstone, Upload
from academy_api.ledger import jobs
from academy_core.store import ObjectStore
from academy_core.video import INTERMEDIATE, KINDS

SWEEP_SECONDS = 5.0
GIVE_UP_SECONDS = 60.0
LONGEST_TASK = timedelta(seconds=max(kind.max_seconds for kind in KINDS) + 60)
"""After this long no attempt that was running when a publication went can still write."""
KEPT_FOR = timedelta(days=1)
"""Between hiding and deleting: longer than LONGEST_TASK, and than the way back to a backup."""
HIDDEN = "removed/"
"""Where the playlists of a hidden publication lie, below its prefix."""
SUPERSEDED_FOR = timedelta(hours=12)
"""A replaced publication goes on playing to whoever was watching, as long as the shortest playback grant."""
ABANDONED_AFTER = timedelta(days=1)
TIDY_SECONDS = 10.0
AGAIN_AFTER = timedelta(minutes=1)
"""A tombstone whose step failed lets the others go first."""
_PAGE = 1000
_BATCH = 100

_log = structlog.get_logger(__name__)


def bury(publications: Iterable[Publication], *, first_step_at: datetime | None = None, keep: bool = True) -> None:
    """Leave a tombstone for each (in the caller's transaction); its first step is due at once or at `first_step_at`.

    It hides the publication; with `keep` False it deletes it, because it never was a lecture (no video, a file that is
    refused, an upload left alone).
    """
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
                due_at=first_step_at or now,
                hidden=not keep,
            )
            for publication in publications
        ],
        ignore_conflicts=True,  # a cancelled publication has its tombstone already
    )


def sweep() -> None:
    """Relay duty: the next step of the tombstone that has waited longest. Raises what it failed of; others go first."""
    tombstone = Tombstone.objects.filter(due_at__lte=timezone.now()).order_by("due_at").first()
    if tombstone is None:
        return
    step = _delete if tombstone.hidden else _hide
    try:
        step(store.video(), store.cdn(), tombstone)
    except Exception:
        tombstone.due_at = timezone.now() + AGAIN_AFTER
        tombstone.save(update_fields=["due_at"])
        raise


def _hide(bucket: ObjectStore, cdn: Cdn, tombstone: Tombstone) -> None:
    """Nobody can begin to play it any more; an upload under way ends."""
    if tombstone.upload_id:
        bucket.abort_multipart(tombstone.source_key, tombstone.upload_id)
    prefix = tombstone.output_prefix
    for info in bucket.level(prefix).objects:
        if info.key.endswith(playlists.SUFFIX):
            move_playlist(bucket, info.key, f"{prefix}{HIDDEN}{info.key.removeprefix(prefix)}")
    cdn.purge(prefix)
    tombstone.hidden, tombstone.due_at = True, timezone.now() + KEPT_FOR
    tombstone.save(update_fields=["hidden", "due_at"])
    _log.info("publication_hidden", publication=str(tombstone.publication))


def move_playlist(bucket: ObjectStore, key: str, to: str, *, over: bool = True) -> None:
    """Copy, then delete: killed in between, it is simply moved again.

    PreconditionFailed where there is one already that is not to be written `over`.
    """
    text = bucket.get(key)
    bucket.put(to, text, content_type=playlists.CONTENT_TYPE, cache_control=playlists.GROWING, if_none_match=not over)
    bucket.delete(key)


def _delete(bucket: ObjectStore, cdn: Cdn, tombstone: Tombstone) -> None:
    """Delete up to a page of objects; with the last one the CDN forgets it for good."""
    if tombstone.upload_id:
        bucket.abort_multipart(tombstone.source_key, tombstone.upload_id)
    bucket.delete(tombstone.source_key)
    keys = [info.key for info in itertools.islice(bucket.list(tombstone.output_prefix), _PAGE)]
    bucket.delete_many(keys)
    if len(keys) == _PAGE:
        return
    cdn.purge(tombstone.output_prefix)
    tombstone.due_at = None
    tombstone.save(update_fields=["due_at"])
    _log.info("publication_deleted", publication=str(tombstone.publication))


def tidy() -> None:
    """Relay duty: rid one ready publication of files that it does not list, once, a day after the last could come.

    Such files are the normalised source, which a database restored to before the end needs to make chunks again, and
    what an attempt left that was killed or lost its lease and whose successor gave other bytes.
    """
    before = timezone.now() - KEPT_FOR - LONGEST_TASK
    untidied = Publication.objects.filter(state=State.READY, tidied_at=None, ready_at__lt=before)
    publication = untidied.order_by("?").first()  # one that fails is not chosen again and again
    if publication is None:
        return
    bucket, prefix = store.video(), publication.output_prefix
    listed = _listed(bucket, publication)
    old = timezone.now() - KEPT_FOR
    unlisted = [
        info.key
        for info in bucket.list(prefix)
        if info.modified < old and _unlisted(info.key.removeprefix(prefix), listed)
    ]
    if unlisted:
        bucket.delete_many(unlisted)
        _log.info("publication_tidied", publication=str(publication.pk), deleted=len(unlisted))
    Publication.objects.filter(pk=publication.pk).update(tidied_at=timezone.now())


def _unlisted(name: str, listed: set[str]) -> bool:
    """Whether a publication that is complete can do without the file. Nothing but the normalised source if unknown."""
    return name.startswith(INTERMEDIATE) or bool(listed and name not in listed)


def _listed(bucket: ObjectStore, publication: Publication) -> set[str]:
    """Names that belong to the publication: its playlists, what they name, what its tasks' results list.

    Empty when the ledger has folded the job away: then nobody can tell any more.
    """
    if publication.job is None:
        return set()
    results = [
        kind.result.model_validate(found.result) for kind in KINDS for found in jobs.results(publication.job, kind.name)
    ]
    if not results:
        return set()
    names = set(itertools.chain.from_iterable(result.keys() for result in results))
    for info in bucket.level(publication.output_prefix).objects:
        if info.key.endswith(playlists.SUFFIX):
            names.add(info.key.removeprefix(publication.output_prefix))
            names |= playlists.names_in(bucket.get(info.key).decode())
    return names


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
    bury([publication], keep=False)
    states.follow(lecture)
