"""What people do with tracks: ask for an analysis, write, remove. Called by `api` with rows of the caller's academy.

Files are written by the relay's duties alone; here only rows change.
"""

from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from academy_ai.kinds.lecture_slides import spec as slides
from academy_ai.kinds.lecture_transcribe import spec as transcribe
from academy_api.lectures import playlists
from academy_api.lectures.models import Publication
from academy_api.lectures.models import State as PublicationState
from academy_api.ledger import jobs
from academy_api.tracks import hooks
from academy_api.tracks.models import Analysis, State, Track, What
from academy_core.errors import Conflict, NotFound, Permanent, Reason
from academy_core.ledger import NewTask
from academy_core.video import PublishResult

NOT_READY = Reason(
    "lecture-not-ready",
    "영상 처리가 끝난 강의에만 쓸 수 있습니다. 처리가 끝난 뒤 다시 시도해 주세요.",
    "This works once the lecture is ready. Please try again when its encoding has ended.",
)
NO_SOUND = Reason(
    "no-sound",
    "이 강의에는 소리가 없어 자막을 만들 수 없습니다.",
    "This lecture has no sound to write subtitles from.",
)
AUDIO = "audio"


def ready(lecture: UUID) -> Publication:
    """The lecture's ready publication. Raises Conflict when there is none."""
    found = Publication.objects.filter(lecture=lecture, state=PublicationState.READY).first()
    if found is None:
        raise Conflict(reason=NOT_READY)
    return found


def transcription(publication: Publication, language: transcribe.Language | None, *, translate: bool) -> NewTask:
    """The task that writes subtitles. Raises Permanent when the lecture has no sound."""
    if AUDIO not in _renditions(publication):
        raise Permanent(reason=NO_SOUND)
    audio = publication.output_prefix + playlists.file_name(AUDIO)
    task = transcribe.LectureTranscribeInput(audio=audio, language=language, translate=translate)
    return NewTask.of(transcribe.KIND, task)


def slide_search(publication: Publication) -> NewTask:
    """The task that finds chapters: in the smallest rendition, which shows slides well enough."""
    rates = {name: rate for name, rate in _renditions(publication).items() if name != AUDIO}
    smallest = min(rates, key=lambda name: rates[name])
    task = slides.LectureSlidesInput(video=publication.output_prefix + playlists.file_name(smallest))
    return NewTask.of(slides.KIND, task)


def _renditions(publication: Publication) -> dict[str, int]:
    """Average rate of each rendition, bit/s."""
    published = PublishResult.model_validate(publication.published)
    return {bandwidth.name: bandwidth.average for bandwidth in published.bandwidths}


def request(publication: Publication, what: What, task: NewTask, request_id: str) -> None:
    """Begin an analysis; one that is under way goes on, one that has ended is replaced."""
    with transaction.atomic():
        if not Publication.objects.select_for_update().filter(pk=publication.pk).exists():
            raise NotFound
        before = Analysis.objects.filter(publication=publication, what=what).first()
        if before is not None and before.state == State.RUNNING:
            return
        if before is not None:
            Analysis.objects.filter(pk=before.pk).update(publication=None)  # swept by the relay
        analysis = Analysis(academy_id=publication.academy_id, publication=publication, what=what)
        analysis.job = jobs.submit(
            kind=hooks.JOB_KIND,
            academy=analysis.academy_id,
            owner_ref=analysis.pk,
            task=task,
            output_prefix=analysis.output_prefix,
            request_id=request_id,
        )
        analysis.save(force_insert=True)


def cancel(publication: Publication, what: What) -> None:
    """End an analysis under way; nothing happens when there is none."""
    running = Analysis.objects.filter(publication=publication, what=what, state=State.RUNNING).first()
    if running is not None and running.job is not None:
        jobs.cancel(running.job)


def write(publication: Publication, what: What, language: str, text: str, by: UUID | None) -> None:
    """A person's text takes the place of whatever is shown; what the machine wrote stays beside it."""
    with transaction.atomic():
        _locked(publication)
        track, _ = Track.objects.get_or_create(
            academy_id=publication.academy_id,
            publication=publication,
            what=what,
            language=language,
            defaults={"revision": 0},
        )
        track.written, track.written_by_id, track.written_at = text, by, timezone.now()
        track.revision += 1
        track.save()


def remove(publication: Publication, what: What, language: str) -> None:
    """A person's text goes and the machine's is shown again; where there is no person's, the track goes."""
    with transaction.atomic():
        _locked(publication)
        track = Track.objects.filter(publication=publication, what=what, language=language).first()
        if track is None or not track.text:
            raise NotFound
        if track.written:
            track.written, track.written_by, track.written_at = "", None, None
        else:
            track.machine = ""
        track.revision = F("revision") + 1
        track.save()


def _locked(publication: Publication) -> None:
    if not Publication.objects.select_for_update().filter(pk=publication.pk).exists():
        raise NotFound
