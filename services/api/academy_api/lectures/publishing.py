"""The relay's playlist duty: the only writer of playlists, early master included.

At every turn, for each publication whose job runs: read what chunks have come (database), write the playlists that
grew (object store, on threads, outside any transaction), note it (database). Nothing is remembered but copies of what
both hold, so a relay that is killed anywhere is followed by one that finds the same work again: a playlist that is
already as long is left alone, one that grew meanwhile is never overwritten (conditional PUT), and a publication becomes
ready only after all its playlists are ended and its measured master is stored.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from academy_api.lectures import graves, playlists, states
from academy_api.lectures.models import RUNNING, Lecture, Publication, State
from academy_api.ledger import jobs
from academy_core.errors import NotFound, PreconditionFailed
from academy_core.store import ObjectStore
from academy_core.video import CHUNK, PLAN, ChunkResult, PlanAnswer, PlanResult, PublishResult

EVERY_SECONDS = 0.25
"""Looks cost one small query while nothing is new."""
AT_MOST_EVERY = timedelta(seconds=1)
"""R2 refuses more than one write a second to one key."""
LAST_CHUNKS_WAIT_SECONDS = 3.0
"""How long the last chunks wait for publish, which takes about a second, to be listed with ENDLIST in one write:
listed at once they would hold ENDLIST back by a second (`AT_MOST_EVERY`). When publish takes longer they come first."""
AT_ONCE = 100
"""Publications looked at in one run; the others have their turn in the next."""
TURN_SECONDS = 2.0
"""No write is begun later in a turn: while the store does not answer, the relay has other duties."""
_THREADS = 8

_log = structlog.get_logger(__name__)


class PlaylistDiffers(Exception):
    """What is stored is neither a beginning of what should be, nor the other way round."""


@dataclass(slots=True)
class _Known:
    """Copy of what the ledger said about one publication: results never change."""

    turn: int = 0
    plan: PlanResult | None = None
    tasks: set[int] = field(default_factory=set)
    chunks: dict[int, ChunkResult] = field(default_factory=dict)
    whole_since: float | None = None
    """When all chunks were first seen, by the writer's clock."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One publication's next playlists."""

    publication: UUID
    lecture: UUID
    job: UUID
    prefix: str
    media: Mapping[str, str]
    master: str
    chunks: int
    playable_seconds: float
    duration_seconds: float
    ended: bool


@dataclass(frozen=True, slots=True)
class _Stored:
    text: str
    etag: str


class PlaylistWriter:
    """The duty with its copies. One a relay process."""

    def __init__(self, bucket: ObjectStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = bucket
        self._clock = clock
        self._turn = 0
        self._known: dict[UUID, _Known] = {}
        self._stored: dict[str, _Stored] = {}

    def run(self) -> None:
        """One turn: every publication that grew, each at most once a second. Failures are logged and tried again."""
        steps = [step for publication in self._running() if (step := self._next(publication)) is not None]
        if not steps:
            return
        until = self._clock() + TURN_SECONDS
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="playlists") as pool:
            written = list(pool.map(lambda step: self._try_write(step, until), steps))
        for step, done in zip(steps, written, strict=True):
            if done:
                _record(step)

    def _running(self) -> Sequence[Publication]:
        """Running publications, those first that have waited longest for their turn."""
        due = Q(playlists_at=None) | Q(playlists_at__lte=Now() - AT_MOST_EVERY)
        running = {each.pk: each for each in Publication.objects.filter(state__in=RUNNING, job__isnull=False)}
        for gone in self._known.keys() - running.keys():
            del self._known[gone]
        prefixes = tuple(each.output_prefix for each in running.values())
        self._stored = {key: stored for key, stored in self._stored.items() if key.startswith(prefixes)}
        ready = Publication.objects.filter(due, pk__in=running)
        self._turn += 1
        return sorted(ready, key=lambda each: self._known.setdefault(each.pk, _Known()).turn)[:AT_ONCE]

    def _next(self, publication: Publication) -> _Step | None:
        """What is to be written; None has had its turn, the others have it when they are."""
        known = self._known[publication.pk]
        step = None
        try:
            step = self._planned(publication, known)
        except Exception:  # noqa: BLE001 - logged; one publication's trouble is not the others'
            _log.exception("playlists_not_built", publication=str(publication.pk))
        if step is None:
            known.turn = self._turn
        return step

    def _planned(self, publication: Publication, known: _Known) -> _Step | None:
        """The next playlists, None when nothing is new."""
        _learn(publication, known)
        if known.plan is None:
            return None
        prefix = playlists.contiguous(known.chunks)
        ended = publication.published is not None
        if not prefix or (len(prefix) <= publication.chunks_listed and not ended):
            return None
        whole = len(prefix) == len(known.plan.chunk_frames)
        if ended and not whole:
            raise PlaylistDiffers("the job succeeded without all its chunks")
        if whole and not ended and self._awaits_publish(known):
            return None
        master = (
            playlists.measured_master(known.plan, prefix, PublishResult.model_validate(publication.published))
            if ended
            else playlists.early_master(known.plan, prefix)
        )
        return _Step(
            publication=publication.pk,
            lecture=publication.lecture_id,
            job=_job(publication),
            prefix=publication.output_prefix,
            media=playlists.media_playlists(known.plan, prefix, ended=ended),
            master=master,
            chunks=len(prefix),
            playable_seconds=playlists.playable_seconds(known.plan, prefix),
            duration_seconds=known.plan.duration_seconds,
            ended=ended,
        )

    def _awaits_publish(self, known: _Known) -> bool:
        """Whether publish of a lecture whose chunks are all there is to be waited for a little longer."""
        now = self._clock()
        if known.whole_since is None:
            known.whole_since = now
        return now - known.whole_since < LAST_CHUNKS_WAIT_SECONDS

    def _try_write(self, step: _Step, until: float) -> bool:
        if self._clock() >= until:
            return False
        self._known[step.publication].turn = self._turn
        try:
            self._write(step)
        except Exception:  # noqa: BLE001 - logged and tried again next turn; the others do not wait for it
            _log.exception("playlists_not_written", publication=str(step.publication))
            return False
        return True

    def _write(self, step: _Step) -> None:
        """Media playlists first, the master last: a player never sees a master whose parts are missing."""
        for name, text in step.media.items():
            self._grow(step.prefix + name, text, ended=step.ended)
        self._write_master(step)

    def _grow(self, key: str, text: str, *, ended: bool) -> None:
        """Write what is longer; what is stored is never taken back while chunks come.

        Ended it takes the place of whatever differs: after a restore of the database chunks are made again, and another
        build of ffmpeg makes other bytes, with other names. The older files play until publish has seen all new ones.
        """
        cache_control = playlists.ENDED if ended else playlists.GROWING
        stored = self._read(key)
        if stored is None:
            self._put(key, text, cache_control, None)
            return
        ours, theirs = playlists.entries(text), playlists.entries(stored.text)
        if ours != theirs and ours.startswith(theirs):
            self._put(key, text, cache_control, stored.etag)
        elif ended and ours != theirs:
            _log.warning("playlist_replaced", key=key)
            self._put(key, text, cache_control, stored.etag)
        elif not theirs.startswith(ours):
            raise PlaylistDiffers(key)

    def _write_master(self, step: _Step) -> None:
        """The early master is written once; the measured one takes its place once and is never taken back."""
        key = step.prefix + playlists.MASTER
        stored = self._read(key)
        if stored is None:
            self._put(key, step.master, playlists.ENDED if step.ended else playlists.GROWING, None)
        elif step.ended and stored.text != step.master:
            self._put(key, step.master, playlists.ENDED, stored.etag)

    def _read(self, key: str) -> _Stored | None:
        """What is stored under the key, from our copy where there is one. ETag first: a later change fails the PUT."""
        if key not in self._stored:
            try:
                etag = self._bucket.head(key).etag
            except NotFound:
                return None
            self._stored[key] = _Stored(self._bucket.get(key).decode(), etag)
        return self._stored[key]

    def _put(self, key: str, text: str, cache_control: str, over: str | None) -> None:
        try:
            etag = self._bucket.put(
                key,
                text.encode(),
                content_type=playlists.CONTENT_TYPE,
                cache_control=cache_control,
                if_match=over,
                if_none_match=over is None,
            )
        except (PreconditionFailed, NotFound):
            self._stored.pop(key, None)  # another wrote or took it away: read it anew next turn
            raise
        self._stored[key] = _Stored(text, etag)


def _learn(publication: Publication, known: _Known) -> None:
    """Fetch from the ledger what is not known yet."""
    job = _job(publication)
    if known.plan is None:
        answers = [PlanAnswer.model_validate(found.result) for found in jobs.results(job, PLAN.name)]
        known.plan = next((answer.plan for answer in answers if answer.plan is not None), None)
    if known.plan is None:
        return  # not planned yet, or its source is being normalised first
    for found in jobs.results(job, CHUNK.name, beyond=known.tasks):
        chunk = ChunkResult.model_validate(found.result)
        known.chunks[chunk.index] = chunk
        known.tasks.add(found.task)


def _job(publication: Publication) -> UUID:
    if publication.job is None:
        raise ValueError("a running publication has a job")
    return publication.job


def _record(step: _Step) -> None:
    """Note what was written, unless the publication was cancelled, replaced or deleted meanwhile.

    When, by the database's clock: the next relay's may be behind.
    """
    with transaction.atomic():
        lecture = Lecture.objects.select_for_update().filter(pk=step.lecture).first()
        if lecture is None:
            return
        publication = lecture.publications.filter(pk=step.publication, job=step.job, state__in=RUNNING).first()
        if publication is None:
            return
        publication.chunks_listed = step.chunks
        publication.playable_seconds = step.playable_seconds
        publication.duration_seconds = step.duration_seconds
        publication.playlists_at = Now()
        publication.state = State.READY if step.ended else State.PLAYABLE
        if step.ended:
            publication.ready_at = timezone.now()
            _supersede(lecture)
        publication.save()
        states.follow(lecture)


def _supersede(lecture: Lecture) -> None:
    """The publication that played until now goes; who watches it may go on for a while."""
    old = list(lecture.publications.select_related("upload").filter(state=State.READY))
    graves.bury(old, first_step_at=timezone.now() + graves.SUPERSEDED_FOR)
    lecture.publications.filter(pk__in=[each.pk for each in old]).delete()
