"""Subtitles and chapters over HTTP, on real Postgres and the real ledger, with made-up workers and stores in memory."""

from datetime import timedelta
from typing import Any

import m3u8
import pytest
from api_support import Api, World, signed_in
from claiming import ClaimingWorker
from django.utils import timezone
from lecture_support import plan_of, published_of

from academy_ai.kinds.lecture_slides.spec import KIND as SLIDES
from academy_ai.kinds.lecture_slides.spec import Chapter, LectureSlidesResult
from academy_ai.kinds.lecture_transcribe import spec
from academy_api.lectures import playlists, store
from academy_api.lectures.models import Lecture, Publication
from academy_api.lectures.models import State as PublicationState
from academy_api.tracks import duties
from academy_api.tracks.models import Analysis, State, Track
from academy_core.errors import PreconditionFailed
from academy_core.kinds import Payload, Queue, WorkerClass
from academy_core.ledger import ClaimedTask, NewTask
from academy_core.store_fake import FakeStore

PLAN = plan_of([2, 4])
VTT = "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n{}\n"
EDITED = "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\n안녕하세요\n"


@pytest.fixture
def video(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    bucket = FakeStore()
    monkeypatch.setattr(store, "video", lambda: bucket)
    return bucket


@pytest.fixture
def publication(world: World, video: FakeStore) -> Publication:
    """A ready publication, with its master in the store."""
    return ready(world, video)


def ready(world: World, video: FakeStore, *, audio: bool = True) -> Publication:
    plan = plan_of([2, 4], audio=audio)
    lecture = Lecture.objects.create(academy=world.academy, title="1강", state=PublicationState.READY)
    made = Publication.objects.create(
        academy=world.academy,
        lecture=lecture,
        state=PublicationState.READY,
        output_prefix=f"media/hls/videos/{lecture.pk}/p/",
        published=published_of(plan).model_dump(),
        duration_seconds=plan.duration_seconds,
    )
    master = playlists.measured_master(plan, [], published_of(plan))
    video.put(made.output_prefix + playlists.MASTER, master.encode(), content_type=playlists.CONTENT_TYPE)
    return made


class Worker(ClaimingWorker):
    """An AI worker that answers with made-up results."""

    def answer(self, result: Payload, children: tuple[NewTask, ...] = (), then: NewTask | None = None) -> ClaimedTask:
        """Claim a task and complete it."""
        task = self.claim()
        self.complete(task, result, children, then)
        return task


@pytest.fixture
def premium() -> Worker:
    return Worker(WorkerClass.AI_GPU, Queue.AI_PREMIUM, spec.KIND, *spec.STEPS)


@pytest.fixture
def lite() -> Worker:
    return Worker(WorkerClass.AI_CPU, Queue.AI_LITE, SLIDES)


def transcribe(premium: Worker, ai: FakeStore, *languages: spec.Language, words: str = "기계") -> ClaimedTask:
    """Do a whole transcription: plan, one part, join."""
    facts: dict[str, Any] = {"duration_seconds": 36.0, "speech_seconds": 9.0, "language": languages[0]}
    translate = len(languages) > 1
    part = spec.PartInput(
        number=0, sound="s.flac", start=0, windows=((0.0, 9.0),), language=languages[0], translate=translate
    )
    task = premium.answer(
        spec.LectureTranscribeResult(parts=("s.flac",), **facts),
        (NewTask.of(spec.PART, part),),
        NewTask.of(spec.JOIN, spec.JoinInput(translate=translate, **facts)),
    )
    premium.answer(spec.PartResult(words="words-000.json", unsure=0))
    tracks = tuple(
        spec.Track(
            language=language,
            translated=number > 0,
            vtt=f"subtitles.{language}.vtt",
            words=f"words.{language}.json",
            word_count=1,
            cue_count=1,
        )
        for number, language in enumerate(languages)
    )
    for track in tracks:
        text = VTT.format(f"{words} {track.language}")
        ai.put(task.output_prefix + track.vtt, text.encode(), content_type="text/vtt")
    premium.answer(spec.JoinResult(tracks=tracks, unsure=0, **facts))
    return task


def turn() -> None:
    """One turn of the relay."""
    duties.fetch()
    duties.publish()


def master(video: FakeStore, publication: Publication) -> Any:
    return m3u8.loads(video.get(publication.output_prefix + playlists.MASTER).decode())


def languages(video: FakeStore, publication: Publication) -> list[str]:
    return [media.language for media in master(video, publication).media if media.type == "SUBTITLES"]


def shown(video: FakeStore, publication: Publication, language: str) -> str:
    playlist = m3u8.loads(video.get(f"{publication.output_prefix}subtitles.{language}.m3u8").decode())
    return video.get(publication.output_prefix + playlist.segments[0].uri).decode()


def at(publication: Publication, rest: str) -> str:
    return f"/api/v1/lectures/{publication.lecture_id}/{rest}"


def ok(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, answer.content
    return answer.json() if answer.content else None


def test_a_lecture_gets_korean_and_english_subtitles_in_its_playlist(
    world: World, publication: Publication, video: FakeStore, ai: FakeStore, premium: Worker
) -> None:
    teacher = signed_in(world.teacher)
    asked = ok(teacher.call("POST", at(publication, "transcription"), {"language": "ko", "translate": True}), 202)
    assert asked["analyses"] == [{"what": "subtitles", "state": "running", "percent": 0.0, "reason": None}]
    task = transcribe(premium, ai, "ko", "en")
    assert task.input == {"audio": publication.output_prefix + "audio.m3u8", "language": "ko", "translate": True}
    turn()
    assert languages(video, publication) == ["ko", "en"]
    assert "기계 ko" in shown(video, publication, "ko")
    assert "X-TIMESTAMP-MAP" in shown(video, publication, "en")
    found = ok(signed_in(world.student).call("GET", at(publication, "tracks")))
    assert found["analyses"] == []
    assert [(each["language"], each["translated"], each["published"]) for each in found["tracks"]] == [
        ("ko", False, True),
        ("en", True, True),
    ]
    answer = signed_in(world.student).call("GET", at(publication, "subtitles/en"))
    assert answer["Content-Type"] == "text/vtt; charset=utf-8"
    assert "기계 en" in answer.content.decode()


def test_slides_become_chapters_with_pictures(
    teacher: Api, publication: Publication, video: FakeStore, ai: FakeStore, lite: Worker
) -> None:
    ok(teacher.call("POST", at(publication, "slides")), 202)
    chapters = (
        Chapter(start=0, end=12.5, thumbnail="slide-001.jpg"),
        Chapter(start=12.5, end=36, thumbnail="slide-002.jpg"),
    )
    task = lite.answer(LectureSlidesResult(chapters=chapters))
    assert task.input == {"video": publication.output_prefix + "720p.m3u8"}  # of the made rates the lowest
    text = "WEBVTT\n\n00:00:00.000 --> 00:00:12.500\nSlide 1\n\n00:00:12.500 --> 00:00:36.000\nSlide 2\n"
    ai.put(task.output_prefix + "chapters.vtt", text.encode(), content_type="text/vtt")
    turn()
    (data,) = master(video, publication).session_data
    assert b"Slide 2" in video.get(publication.output_prefix + data.uri)
    found = ok(teacher.call("GET", at(publication, "tracks")))["chapters"]
    assert [(each["start"], each["title"]) for each in found] == [(0, "Slide 1"), (12.5, "Slide 2")]
    assert "slide-002.jpg" in found[1]["thumbnail"]
    ok(teacher.call("PUT", at(publication, "chapters"), {"vtt": text.replace("Slide 1", "근의 공식")}), 204)
    turn()
    (data,) = master(video, publication).session_data
    assert "근의 공식" in video.get(publication.output_prefix + data.uri).decode()
    assert "근의 공식" in teacher.call("GET", at(publication, "chapters")).content.decode()
    for _ in range(2):
        ok(teacher.call("DELETE", at(publication, "chapters")), 204)
    turn()
    assert not master(video, publication).session_data


def test_what_a_person_writes_is_shown_and_outlives_a_new_analysis(
    teacher: Api, publication: Publication, video: FakeStore, ai: FakeStore, premium: Worker
) -> None:
    ok(teacher.call("POST", at(publication, "transcription"), {}), 202)
    transcribe(premium, ai, "ko")
    turn()
    ok(teacher.call("PUT", at(publication, "subtitles/ko"), {"vtt": EDITED}), 204)
    turn()
    assert "안녕하세요" in shown(video, publication, "ko")
    ok(teacher.call("POST", at(publication, "transcription"), {}), 202)
    transcribe(premium, ai, "ko", words="새로")
    turn()
    assert "안녕하세요" in shown(video, publication, "ko")
    ok(teacher.call("DELETE", at(publication, "subtitles/ko")), 204)
    turn()
    assert "새로 ko" in shown(video, publication, "ko")
    ok(teacher.call("DELETE", at(publication, "subtitles/ko")), 204)
    turn()
    assert languages(video, publication) == []
    assert teacher.call("DELETE", at(publication, "subtitles/ko")).status_code == 404
    assert teacher.call("GET", at(publication, "subtitles/ko")).status_code == 404
    assert not Track.objects.exists()


def test_subtitles_can_be_uploaded_without_an_analysis(
    teacher: Api, publication: Publication, video: FakeStore
) -> None:
    ok(teacher.call("PUT", at(publication, "subtitles/en"), {"vtt": EDITED}), 204)
    turn()
    assert languages(video, publication) == ["en"]


def test_bad_webvtt_is_refused_with_its_line_and_changes_nothing(teacher: Api, publication: Publication) -> None:
    answer = teacher.call("PUT", at(publication, "subtitles/ko"), {"vtt": "WEBVTT\n\n00:05,0 --> 1\n?\n"})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-webvtt")
    assert "3번째 줄" in answer.json()["ko"]
    assert teacher.call("PUT", at(publication, "subtitles/ko"), {"vtt": "x" * 1_000_001}).status_code == 422
    assert teacher.call("PUT", at(publication, "subtitles/fr"), {"vtt": EDITED}).status_code in {404, 422}
    assert not Track.objects.exists()


def test_asking_twice_is_one_analysis_and_asking_again_sweeps_the_old_one(
    teacher: Api, publication: Publication, ai: FakeStore, premium: Worker
) -> None:
    for _ in range(2):
        ok(teacher.call("POST", at(publication, "transcription"), {}), 202)
    old = transcribe(premium, ai, "ko")
    assert premium.try_claim() is None
    turn()
    ok(teacher.call("POST", at(publication, "transcription"), {}), 202)
    assert Analysis.objects.count() == 2
    duties.sweep()
    assert list(ai.list(old.output_prefix)) == []
    Analysis.objects.filter(publication=None).update(
        swept_at=timezone.now() - duties.LONGEST_TASK - timedelta(seconds=1)
    )
    ai.put(f"{old.output_prefix}late", b"of a zombie", content_type="x")
    duties.sweep()
    assert list(ai.list(old.output_prefix)) == []
    assert Analysis.objects.get().state == State.RUNNING


@pytest.mark.usefixtures("ai")
def test_a_deleted_publication_ends_its_analyses(teacher: Api, publication: Publication, premium: Worker) -> None:
    ok(teacher.call("POST", at(publication, "transcription"), {}), 202)
    ok(teacher.call("PUT", at(publication, "subtitles/ko"), {"vtt": EDITED}), 204)
    publication.delete()
    assert not Track.objects.exists()
    duties.sweep()
    assert premium.try_claim() is None
    turn()  # finds nothing to do


def test_a_failure_says_why_and_a_lost_file_is_one(
    teacher: Api, publication: Publication, ai: FakeStore, premium: Worker
) -> None:
    ok(teacher.call("POST", at(publication, "transcription"), {}), 202)
    premium.fail(premium.claim(), "no-sound", "소리가 없습니다.", "There is no sound.")
    (analysis,) = ok(teacher.call("GET", at(publication, "tracks")))["analyses"]
    assert (analysis["state"], analysis["reason"]["ko"]) == ("failed", "소리가 없습니다.")
    ok(teacher.call("POST", at(publication, "transcription"), {}), 202)
    task = transcribe(premium, ai, "ko")
    ai.delete(f"{task.output_prefix}subtitles.ko.vtt")
    turn()
    (analysis,) = ok(teacher.call("GET", at(publication, "tracks")))["analyses"]
    assert (analysis["state"], analysis["reason"]["code"]) == ("failed", "tracks-lost")


def test_an_analysis_can_be_cancelled(teacher: Api, publication: Publication, premium: Worker, lite: Worker) -> None:
    for what in ("transcription", "slides"):
        ok(teacher.call("POST", at(publication, what), {}), 202)
        ok(teacher.call("DELETE", at(publication, what)), 204)
        ok(teacher.call("DELETE", at(publication, what)), 204)
    assert premium.try_claim() is lite.try_claim() is None
    states = {each["state"] for each in ok(teacher.call("GET", at(publication, "tracks")))["analyses"]}
    assert states == {"cancelled"}


def test_only_a_ready_lecture_with_sound_is_transcribed(teacher: Api, world: World, video: FakeStore) -> None:
    silent = ready(world, video, audio=False)
    answer = teacher.call("POST", at(silent, "transcription"), {})
    assert (answer.status_code, answer.json()["code"]) == (422, "no-sound")
    ok(teacher.call("POST", at(silent, "slides")), 202)
    Publication.objects.filter(pk=silent.pk).update(state=PublicationState.PROCESSING)
    answer = teacher.call("POST", at(silent, "slides"))
    assert (answer.status_code, answer.json()["code"]) == (409, "lecture-not-ready")


def test_a_master_that_changed_meanwhile_is_read_again(
    teacher: Api, publication: Publication, video: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok(teacher.call("PUT", at(publication, "subtitles/ko"), {"vtt": EDITED}), 204)
    put = video.put

    def once(key: str, *args: Any, **kwargs: Any) -> str:
        if key.endswith(playlists.MASTER):
            monkeypatch.setattr(video, "put", put)
            raise PreconditionFailed(key)
        return put(key, *args, **kwargs)

    monkeypatch.setattr(video, "put", once)
    turn()
    assert languages(video, publication) == []
    turn()
    assert languages(video, publication) == ["ko"]
