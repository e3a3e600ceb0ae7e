"""Endpoints under /api/v1/lectures/{lecture}: subtitles, chapters and the analyses that make them. Thin."""

from uuid import UUID

from django.http import HttpResponse
from ninja import Router, Status

from academy_ai.kinds.lecture_slides.spec import LectureSlidesResult
from academy_api import buckets, off_loop
from academy_api.accounts import audit
from academy_api.accounts.access import Role, Scope
from academy_api.accounts.auth import Request, get, require
from academy_api.lectures.api import one
from academy_api.lectures.models import Lecture, Publication
from academy_api.ledger import jobs
from academy_api.schemas import ReasonOut
from academy_api.tracks import service, webvtt
from academy_api.tracks.models import Analysis, State, Track, What
from academy_api.tracks.schemas import (
    AnalysisOut,
    ChapterOut,
    Language,
    TextIn,
    TrackOut,
    TracksOut,
    TranscriptionIn,
)
from academy_core.errors import NotFound, Permanent, Reason

router = Router(tags=["tracks"])

READ = require(Scope.LECTURES_READ)
WRITE = require(Scope.LECTURES_WRITE)
PICTURE_SECONDS = 3600


def _ready(request: Request, lecture: UUID) -> Publication:
    return service.ready(get(Lecture, request.auth, lecture).pk)


@router.post("/{uuid:lecture}/transcription", response={202: TracksOut}, auth=WRITE)
def transcribe(request: Request, lecture: UUID, body: TranscriptionIn) -> Status[TracksOut]:
    """Have subtitles written. Repeating it while it is under way is harmless; afterwards it begins anew."""
    publication = _ready(request, lecture)
    task = service.transcription(publication, body.language, translate=body.translate)
    service.request(publication, What.SUBTITLES, task, request.request_id)
    return Status(202, _tracks(request, publication))


@router.delete("/{uuid:lecture}/transcription", response={204: None}, auth=WRITE)
def cancel_transcription(request: Request, lecture: UUID) -> Status[None]:
    """End the writing of subtitles that is under way."""
    service.cancel(_ready(request, lecture), What.SUBTITLES)
    return Status(204, None)


@router.post("/{uuid:lecture}/slides", response={202: TracksOut}, auth=WRITE)
def slides(request: Request, lecture: UUID) -> Status[TracksOut]:
    """Have chapters made of the slides. Repeating it as for subtitles."""
    publication = _ready(request, lecture)
    service.request(publication, What.CHAPTERS, service.slide_search(publication), request.request_id)
    return Status(202, _tracks(request, publication))


@router.delete("/{uuid:lecture}/slides", response={204: None}, auth=WRITE)
def cancel_slides(request: Request, lecture: UUID) -> Status[None]:
    """End the search for slides that is under way."""
    service.cancel(_ready(request, lecture), What.CHAPTERS)
    return Status(204, None)


@router.get("/{uuid:lecture}/tracks", response=TracksOut, auth=READ)
def tracks(request: Request, lecture: UUID) -> TracksOut:
    """Subtitles and chapters of a lecture; for staff also how far the machine is."""
    return _tracks(request, service.ready(one(request, lecture).pk))


@router.get("/{uuid:lecture}/subtitles/{language}", auth=READ)
def subtitles(request: Request, lecture: UUID, language: Language) -> HttpResponse:
    """The subtitles of one language as WebVTT."""
    return _text(request, lecture, What.SUBTITLES, language)


@router.put("/{uuid:lecture}/subtitles/{language}", response={204: None}, auth=WRITE)
def write_subtitles(request: Request, lecture: UUID, language: Language, body: TextIn) -> Status[None]:
    """Edit or upload subtitles. What the machine wrote is kept beside them."""
    return _write(request, lecture, What.SUBTITLES, language, body.vtt)


@router.delete("/{uuid:lecture}/subtitles/{language}", response={204: None}, auth=WRITE)
def remove_subtitles(request: Request, lecture: UUID, language: Language) -> Status[None]:
    """Take back what a person wrote; where nobody did, remove the subtitles."""
    return _remove(request, lecture, What.SUBTITLES, language)


@router.get("/{uuid:lecture}/chapters", auth=READ)
def chapters(request: Request, lecture: UUID) -> HttpResponse:
    """The chapters as WebVTT."""
    return _text(request, lecture, What.CHAPTERS, "")


@router.put("/{uuid:lecture}/chapters", response={204: None}, auth=WRITE)
def write_chapters(request: Request, lecture: UUID, body: TextIn) -> Status[None]:
    """Edit or upload chapters."""
    return _write(request, lecture, What.CHAPTERS, "", body.vtt)


@router.delete("/{uuid:lecture}/chapters", response={204: None}, auth=WRITE)
def remove_chapters(request: Request, lecture: UUID) -> Status[None]:
    """As for subtitles."""
    return _remove(request, lecture, What.CHAPTERS, "")


def _text(request: Request, lecture: UUID, what: What, language: str) -> HttpResponse:
    publication = service.ready(one(request, lecture).pk)
    track = Track.objects.filter(publication=publication, what=what, language=language).first()
    if track is None or not track.text:
        raise NotFound
    return HttpResponse(track.text, content_type="text/vtt; charset=utf-8")


def _write(request: Request, lecture: UUID, what: What, language: str, text: str) -> Status[None]:
    publication = _ready(request, lecture)
    clean = off_loop.run(lambda: _clean(text))
    service.write(publication, what, language, clean, request.auth.membership)
    audit.record(request, f"lecture.{what}.write", lecture, by=request.auth, language=language)
    return Status(204, None)


def _clean(text: str) -> str:
    """The text as we keep it. Raises Permanent that names the line at fault."""
    try:
        return webvtt.render(webvtt.parse(text))
    except webvtt.Malformed as error:
        raise Permanent(
            str(error),
            reason=Reason("bad-webvtt", f"{error.line}번째 줄: {error.ko}", f"Line {error.line}: {error.en}"),
        ) from error


def _remove(request: Request, lecture: UUID, what: What, language: str) -> Status[None]:
    service.remove(_ready(request, lecture), what, language)
    audit.record(request, f"lecture.{what}.remove", lecture, by=request.auth, language=language)
    return Status(204, None)


def _tracks(request: Request, publication: Publication) -> TracksOut:
    student = request.auth.role is Role.STUDENT
    analyses = [] if student else list(Analysis.objects.filter(publication=publication).order_by("what"))
    found = list(Track.objects.filter(publication=publication).order_by("what", "-language"))
    return TracksOut(
        analyses=[_analysis(analysis) for analysis in analyses],
        tracks=[_track(track) for track in found if track.text],
        chapters=_chapters(publication, next((track for track in found if track.what == What.CHAPTERS), None)),
    )


def _analysis(analysis: Analysis) -> AnalysisOut:
    return AnalysisOut(
        what=What(analysis.what),
        state=State(analysis.state),
        percent=100.0 if analysis.job is None else jobs.progress(analysis.job).percent,
        reason=ReasonOut.of(analysis.reason_code, analysis.reason_ko, analysis.reason_en),
    )


def _track(track: Track) -> TrackOut:
    return TrackOut(
        what=What(track.what),
        language=track.language,
        translated=track.translated and not track.written,
        edited=bool(track.written),
        edited_at=track.written_at,
        published=track.published == track.revision,
    )


def _chapters(publication: Publication, track: Track | None) -> list[ChapterOut]:
    if track is None or not track.text:
        return []
    pictures = _pictures(publication)
    return [
        ChapterOut(start=cue.start / 1000, end=cue.end / 1000, title=cue.text, thumbnail=pictures.get(cue.start))
        for cue in webvtt.parse(track.text)
    ]


def _pictures(publication: Publication) -> dict[int, str]:
    """Start in milliseconds -> address of the slide's picture."""
    analysis = Analysis.objects.filter(publication=publication, what=What.CHAPTERS, state=State.DONE).first()
    if analysis is None:
        return {}
    result = LectureSlidesResult.model_validate(analysis.result)
    return {
        round(chapter.start * 1000): buckets.ai().presign_get(
            analysis.output_prefix + chapter.thumbnail, PICTURE_SECONDS
        )
        for chapter in result.chapters
    }
