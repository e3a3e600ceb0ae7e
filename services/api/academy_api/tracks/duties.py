"""What the relay runs for this app: fetch what analyses found, publish changed tracks, sweep what is left behind.

All three are repeatable and go piece by piece: killed anywhere, the next run goes on. Only here are files of tracks
written: segments and chapters under names that carry their hash, then playlists, the master last.
"""

import itertools
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from academy_ai.kinds.lecture_slides.spec import KIND as SLIDES
from academy_ai.kinds.lecture_slides.spec import LectureSlidesResult
from academy_ai.kinds.lecture_transcribe.spec import KIND as TRANSCRIBE
from academy_ai.kinds.lecture_transcribe.spec import STEPS, JoinResult
from academy_api import buckets
from academy_api.lectures import playlists, store
from academy_api.lectures.models import Publication
from academy_api.lectures.models import State as PublicationState
from academy_api.ledger import jobs
from academy_api.relay import Duty
from academy_api.tracks import hls, webvtt
from academy_api.tracks.models import Analysis, State, Track, What
from academy_core.errors import NotFound, PreconditionFailed, Reason
from academy_core.store import ObjectStore

FETCH_SECONDS = 1.0
PUBLISH_SECONDS = 1.0
SWEEP_SECONDS = 5.0
LONGEST_TASK = timedelta(seconds=max(kind.max_seconds for kind in (SLIDES, TRANSCRIBE, *STEPS)) + 60)
"""After this long no attempt of an analysis that went can still write."""
_AT_ONCE = 20
_PAGE = 1000
_FOREVER = "public, max-age=31536000, immutable"
_TYPES = {".vtt": "text/vtt; charset=utf-8", ".json": "application/json", playlists.SUFFIX: playlists.CONTENT_TYPE}

LOST = Reason(
    "tracks-lost",
    "분석 결과 파일을 찾을 수 없습니다. 다시 요청해 주세요.",
    "The file with the result cannot be found. Please ask for it again.",
)

_log = structlog.get_logger(__name__)


# -- fetch ------------------------------------------------------------------------------------------------------------


def fetch() -> None:
    """Relay duty: put what analyses found into the database."""
    waiting = Analysis.objects.filter(state=State.RUNNING, result__isnull=False, publication__isnull=False)
    for analysis in waiting.order_by("pk")[:_AT_ONCE]:
        try:
            found = _found(buckets.ai(), analysis)
        except (NotFound, webvtt.Malformed) as error:
            _log.error("tracks_lost", analysis=str(analysis.pk), error=str(error))
            Analysis.objects.filter(pk=analysis.pk).update(
                state=State.FAILED, reason_code=LOST.code, reason_ko=LOST.ko, reason_en=LOST.en
            )
            continue
        _keep(analysis, found)


def _found(bucket: ObjectStore, analysis: Analysis) -> dict[str, tuple[str, bool]]:
    """Language -> text and whether it is a translation."""
    if analysis.what == What.CHAPTERS:
        named = {"": (LectureSlidesResult.model_validate(analysis.result).track, False)}
    else:
        subtitles = JoinResult.model_validate(analysis.result).tracks
        named = {track.language: (track.vtt, track.translated) for track in subtitles}
    texts = {
        language: (bucket.get(analysis.output_prefix + name).decode(), translated)
        for language, (name, translated) in named.items()
    }
    for text, _ in texts.values():
        webvtt.parse(text)
    return texts


def _keep(analysis: Analysis, found: dict[str, tuple[str, bool]]) -> None:
    """What a person wrote stays, and stays shown."""
    with transaction.atomic():
        publication = Publication.objects.select_for_update().filter(analyses=analysis.pk).first()
        if publication is None:
            return
        for language, (text, translated) in found.items():
            track, _ = Track.objects.get_or_create(
                academy_id=publication.academy_id,
                publication=publication,
                what=analysis.what,
                language=language,
                defaults={"revision": 0},
            )
            track.machine, track.translated = text, translated
            track.revision += 1
            track.save()
        Analysis.objects.filter(pk=analysis.pk).update(state=State.DONE)


# -- publish ----------------------------------------------------------------------------------------------------------


def publish() -> None:
    """Relay duty: bring the playlists of ready publications up to their tracks."""
    changed = Track.objects.exclude(published=F("revision")).filter(publication__state=PublicationState.READY)
    for publication in list(dict.fromkeys(changed.values_list("publication", flat=True)[: 10 * _AT_ONCE]))[:_AT_ONCE]:
        try:
            _publish(store.video(), publication)
        except Exception:  # noqa: BLE001 - logged and tried again next turn; the others do not wait for it
            _log.exception("tracks_not_published", publication=str(publication))


def _publish(bucket: ObjectStore, publication: UUID) -> None:
    owner = Publication.objects.get(pk=publication)
    tracks = list(Track.objects.filter(publication=owner).order_by("what", "-language"))
    shown = [track for track in tracks if track.text]
    languages, chapters_name = [], None
    for track in shown:
        cues = webvtt.parse(track.text)
        if track.what == What.CHAPTERS:
            written = [hls.chapters(cues)]
            chapters_name = written[0].name
        else:
            written = list(hls.subtitles(track.language, cues, owner.duration_seconds or 0.0))
            languages.append(track.language)
        for file in written:
            _put(bucket, owner.output_prefix, file)
    _change_master(bucket, owner.output_prefix + playlists.MASTER, languages, chapters_name)
    for track in tracks:
        same = Track.objects.filter(pk=track.pk, revision=track.revision)
        if track.text:
            same.update(published=track.revision)
        else:
            same.delete()
    _log.info("tracks_published", publication=str(publication), subtitles=languages, chapters=chapters_name is not None)


def _put(bucket: ObjectStore, prefix: str, file: hls.File) -> None:
    suffix = file.name[file.name.rfind(".") :]
    control = playlists.ENDED if suffix == playlists.SUFFIX else _FOREVER
    bucket.put(prefix + file.name, file.text.encode(), content_type=_TYPES[suffix], cache_control=control)


def _change_master(bucket: ObjectStore, key: str, languages: list[str], chapters_name: str | None) -> None:
    """Over exactly the one that was read: another relay's or an older one's is never lost."""
    etag = bucket.head(key).etag
    before = bucket.get(key).decode()
    after = hls.master(before, languages, chapters_name)
    if after == before:
        return
    try:
        bucket.put(
            key,
            after.encode(),
            content_type=playlists.CONTENT_TYPE,
            cache_control=playlists.ENDED,
            if_match=etag,
        )
    except PreconditionFailed:
        _log.info("master_changed_meanwhile", key=key)
        raise


# -- sweep ------------------------------------------------------------------------------------------------------------


def sweep() -> None:
    """Relay duty: end and remove one analysis that no publication owns any more."""
    before = timezone.now() - LONGEST_TASK
    gone = Analysis.objects.filter(publication__isnull=True)
    analysis = gone.filter(swept_at=None).first() or gone.filter(swept_at__lt=before).first()
    if analysis is None:
        return
    if analysis.state == State.RUNNING and analysis.job is not None:
        jobs.cancel(analysis.job)
    bucket = buckets.ai()
    keys = [info.key for info in itertools.islice(bucket.list(analysis.output_prefix), _PAGE)]
    bucket.delete_many(keys)
    if len(keys) == _PAGE:
        return
    if analysis.swept_at is None:
        Analysis.objects.filter(pk=analysis.pk).update(swept_at=timezone.now())
    else:
        analysis.delete()


ALL = (
    Duty("track-results", FETCH_SECONDS, fetch),
    Duty("track-playlists", PUBLISH_SECONDS, publish),
    Duty("track-sweeps", SWEEP_SECONDS, sweep),
)
