"""Lectures over HTTP, on real Postgres and the real ledger, with a made-up worker and the object store in memory."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import m3u8
import pytest
import structlog
from api_support import Api, World, signed_in, stranger
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from lecture_support import Worker, chunk_of, plan_of
from support import wait_until

from academy_api.accounts.models import AuditEntry
from academy_api.lectures import audit, graves, playlists, publishing, store, uploads
from academy_api.lectures.models import Lecture, Publication, State, Tombstone, Upload
from academy_api.ledger import sql
from academy_api.playback import api as playback_api
from academy_api.settings import config
from academy_core import playback
from academy_core.errors import CdnUnavailable, LeaseLost, NotFound, StoreUnavailable
from academy_core.store import Level, ObjectInfo
from academy_core.store_fake import FakeStore
from academy_core.video import ChunkResult, PlanInput

LECTURES = "/api/v1/lectures"
DATA = b"\x00\x00\x00\x20ftypisom" + b"\x00" * 4000
FILE = {"file_name": "1강.mp4", "size": len(DATA), "content_type": "video/mp4"}
PLAN = plan_of([2, 4, 10])


@pytest.fixture
def video(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    """The video bucket, in memory."""
    bucket = FakeStore()
    monkeypatch.setattr(store, "video", lambda: bucket)
    return bucket


class RecordingCdn:
    """A CDN that notes what it is told to forget; away while `away` is set."""

    def __init__(self) -> None:
        self.purged: list[str] = []
        self.away = False

    def purge(self, prefix: str) -> None:
        if self.away:
            raise CdnUnavailable("away")
        self.purged.append(prefix)


@pytest.fixture
def cdn(monkeypatch: pytest.MonkeyPatch) -> RecordingCdn:
    """The CDN before the bucket."""
    recording = RecordingCdn()
    monkeypatch.setattr(store, "cdn", lambda: recording)
    return recording


@pytest.fixture
def student(world: World) -> Api:
    return signed_in(world.student)


@pytest.fixture
def relay(video: FakeStore) -> "Relay":
    return Relay(video)


class Relay:
    """The lectures' duties, with a second passing between two turns."""

    def __init__(self, bucket: FakeStore) -> None:
        self.bucket = bucket
        self.now = 0.0
        self.restart()

    def turn(self) -> None:
        self.now += 1
        Publication.objects.exclude(playlists_at=None).update(playlists_at=timezone.now() - timedelta(seconds=1))
        self.writer.run()

    def wait_out(self) -> None:
        """Let so much time pass that a lecture whose chunks are all there has waited for publish in vain."""
        self.turn()
        self.now += publishing.LAST_CHUNKS_WAIT_SECONDS

    def restart(self) -> None:
        """Another relay process takes over."""
        self.writer = publishing.PlaylistWriter(self.bucket, lambda: self.now)


def a_day_later() -> None:
    """Let every step that is to come be due."""
    Tombstone.objects.exclude(due_at=None).update(due_at=timezone.now())


def time_passes(by: timedelta) -> None:
    """Every step that is to come is due so much sooner."""
    Tombstone.objects.exclude(due_at=None).update(due_at=F("due_at") - by)


def ok(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, answer.content
    return answer.json() if answer.content else None


def refused(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content


def create(api: Api, title: str = "미적분 1강") -> str:
    lecture: str = ok(api.call("POST", LECTURES, {"title": title, **FILE}), 201)["id"]
    return lecture


def send_parts(api: Api, lecture: str, bucket: FakeStore, data: bytes = DATA) -> None:
    """What a browser does with the presigned URLs, done in memory."""
    ok(api.call("POST", f"{LECTURES}/{lecture}/upload/parts", {}))
    upload = Upload.objects.get(publication__lecture=lecture, completed_at=None)
    for part in uploads.parts(len(data), upload.part_bytes):
        start = (part.number - 1) * upload.part_bytes
        bucket.put_part(upload.source_key, upload.upload_id, part.number, data[start : start + part.size])


def uploaded(api: Api, bucket: FakeStore, title: str = "미적분 1강") -> str:
    lecture = create(api, title)
    send_parts(api, lecture, bucket)
    ok(api.call("POST", f"{LECTURES}/{lecture}/upload/complete"))
    return lecture


def made_ready(api: Api, relay: Relay, title: str = "미적분 1강") -> str:
    lecture = uploaded(api, relay.bucket, title)
    Worker().encode(PLAN)
    relay.turn()
    assert state_of(api, lecture) == "ready"
    return lecture


def detail(api: Api, lecture: str) -> Any:
    return ok(api.call("GET", f"{LECTURES}/{lecture}"))


def state_of(api: Api, lecture: str) -> str:
    state: str = detail(api, lecture)["state"]
    return state


def newest(lecture: str) -> Publication:
    return Publication.objects.exclude(state=State.READY).select_related("upload").get(lecture=lecture)


def playlist(bucket: FakeStore, publication: Publication, name: str) -> Any:
    stored = bucket.objects[f"{publication.output_prefix}{name}"]
    assert stored.content_type == "application/vnd.apple.mpegurl"
    assert stored.cache_control is not None
    return m3u8.loads(stored.data.decode())


def stages(api: Api, lecture: str) -> dict[str, tuple[str, int, int | None]]:
    return {
        each["name"]: (each["state"], each["done"], each["total"])
        for each in detail(api, lecture)["publication"]["stages"]
    }


# -- from upload to playback ------------------------------------------------------------------------------------------


def test_a_lecture_goes_from_upload_to_playback(teacher: Api, student: Api, video: FakeStore, relay: Relay) -> None:
    lecture = create(teacher)
    assert stages(teacher, lecture)["upload"] == ("running", 0, 1)
    send_parts(teacher, lecture, video)
    assert state_of(teacher, lecture) == "uploading"
    assert ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"))["state"] == "processing"
    publication = newest(lecture)
    worker = Worker()
    worker.plan(PLAN)
    relay.turn()
    assert not [key for key in video.objects if key.endswith(".m3u8")]
    refused(student.call("GET", f"{LECTURES}/{lecture}/playback"), 404, "not-found")
    refused(teacher.call("GET", f"{LECTURES}/{lecture}/playback"), 409, "not-playable-yet")

    chunks = worker.claim_chunks(3)
    worker.heartbeat(chunks[1], 50)
    worker.complete(chunks[0], chunk_of(PLAN, 0))
    relay.turn()
    shown = detail(teacher, lecture)
    assert (shown["state"], shown["playable_seconds"], shown["duration_seconds"]) == ("playable", 12.0, 96.0)
    assert stages(teacher, lecture) == {
        "upload": ("done", 1, 1),
        "plan": ("done", 1, 1),
        "chunks": ("running", 1, 3),
        "publish": ("waiting", 0, 1),
    }
    assert not playlist(video, publication, "480p.m3u8").is_endlist
    assert playlist(video, publication, "master.m3u8").playlists[0].stream_info.average_bandwidth is None
    assert ok(student.call("GET", f"{LECTURES}/{lecture}/playback"))["state"] == "playable"
    assert detail(student, lecture)["publication"] is None

    for index in (2, 1):
        worker.complete(chunks[index], chunk_of(PLAN, index))
    worker.publish(PLAN)
    assert state_of(teacher, lecture) == "playable", "ready only once the playlists are ended"
    relay.turn()
    assert state_of(teacher, lecture) == "ready"
    for name in ("720p.m3u8", "480p.m3u8", "audio.m3u8"):
        read = playlist(video, publication, name)
        assert read.is_endlist
        assert len(read.segments) == 16
    assert playlist(video, publication, "master.m3u8").playlists[0].stream_info.average_bandwidth == 3000
    assert {state for state, _, _ in stages(teacher, lecture).values()} == {"done"}


def test_the_playback_address_opens_the_publication_for_this_viewer(
    world: World, teacher: Api, student: Api, relay: Relay
) -> None:
    lecture = made_ready(teacher, relay)
    publication = Publication.objects.get(lecture=lecture)
    asked = int(timezone.now().timestamp())
    answer = ok(student.call("GET", f"{LECTURES}/{lecture}/playback"))
    url = urlsplit(answer["url"])
    keyring = config.keyring()
    assert keyring is not None
    base = urlsplit(str(config.CDN_HLS_BASE_URL)).path
    key, grant = playback.admit(keyring, url.path.removeprefix(base), url.query, timezone.now().timestamp())
    assert key == f"{publication.output_prefix}master.m3u8"
    assert grant.prefix == publication.output_prefix
    assert grant.viewer == f"membership:{world.student.pk}"
    assert grant.expires >= asked + 12 * 3600
    assert not Upload.objects.get(publication=publication).source_key.startswith(grant.prefix)
    for name, file in (("poster", "poster.a.jpg"), ("thumbnails", "thumbnails.a.vtt")):
        beside = urlsplit(answer[name])
        assert (beside.path, beside.query) == (url.path.replace("master.m3u8", file), url.query)


def test_a_teacher_reads_what_the_finished_recording_is_like(teacher: Api, relay: Relay) -> None:
    lecture = made_ready(teacher, relay)
    assert ok(teacher.call("GET", f"{LECTURES}/{lecture}"))["publication"]["report"] == {
        "bytes": 1,
        "lost_seconds": 2.5,
        "lost_sound": False,
        "patched_seconds": 0.0,
        "similarity": 0.98,
    }


def test_without_a_secret_the_address_is_plain(teacher: Api, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    lecture = made_ready(teacher, relay)
    plain = SimpleNamespace(CDN_HLS_BASE_URL="https://cdn.example/", keyring=lambda: None)
    monkeypatch.setattr(playback_api, "config", plain)
    answer = ok(teacher.call("GET", f"{LECTURES}/{lecture}/playback"))
    prefix = Publication.objects.get(lecture=lecture).output_prefix
    assert (answer["url"], answer["expires_at"]) == (f"https://cdn.example/{prefix}master.m3u8", None)


# -- who may ----------------------------------------------------------------------------------------------------------

READS: tuple[tuple[str, str], ...] = (("GET", "{}"), ("GET", "{}/playback"))
WRITES: tuple[tuple[str, str, Any], ...] = (
    ("DELETE", "{}", None),
    ("POST", "{}/upload/parts", {}),
    ("POST", "{}/upload/complete", None),
    ("POST", "{}/cancel", None),
    ("POST", "{}/retry", None),
    ("POST", "{}/replace", FILE),
)


def test_a_stranger_gets_nothing(teacher: Api, video: FakeStore) -> None:
    lecture = uploaded(teacher, video)
    asked = [*((method, path, None) for method, path in READS), *WRITES]
    for method, path, body in asked:
        refused(stranger().call(method, f"{LECTURES}/{path.format(lecture)}", body), 401, "not-authenticated")
    refused(stranger().call("GET", LECTURES), 401, "not-authenticated")
    refused(stranger().call("POST", LECTURES, {"title": "x", **FILE}), 401, "not-authenticated")


def test_another_academys_director_finds_nothing(world: World, teacher: Api, relay: Relay) -> None:
    lecture = made_ready(teacher, relay)
    other = signed_in(world.other_director)
    for method, path, body in [*((method, path, None) for method, path in READS), *WRITES]:
        refused(other.call(method, f"{LECTURES}/{path.format(lecture)}", body), 404, "not-found")
    assert ok(other.call("GET", LECTURES)) == {"items": [], "next": None}
    assert state_of(teacher, lecture) == "ready"


def test_a_student_watches_and_changes_nothing(teacher: Api, student: Api, video: FakeStore, relay: Relay) -> None:
    ready = made_ready(teacher, relay, "끝난 강의")
    hidden = uploaded(teacher, video, "올리는 중")
    for method, path, body in WRITES:
        refused(student.call(method, f"{LECTURES}/{path.format(ready)}", body), 403, "not-allowed")
    refused(student.call("POST", LECTURES, {"title": "x", **FILE}), 403, "not-allowed")
    refused(student.call("GET", f"{LECTURES}/{hidden}"), 404, "not-found")
    refused(student.call("GET", f"{LECTURES}/{hidden}/playback"), 404, "not-found")
    assert [each["id"] for each in ok(student.call("GET", LECTURES))["items"]] == [ready]
    assert ok(student.call("GET", f"{LECTURES}?state=processing"))["items"] == []
    assert ok(student.call("GET", f"{LECTURES}/{ready}/playback"))["state"] == "ready"


def test_the_director_manages_too(world: World, video: FakeStore) -> None:
    director = signed_in(world.director)
    assert state_of(director, uploaded(director, video)) == "processing"


def test_the_list_is_paged_and_filtered(teacher: Api, video: FakeStore) -> None:
    first = create(teacher, "확률과 통계 1강")
    second = uploaded(teacher, video, "확률과 통계 2강")
    third = create(teacher, "기하")
    page = ok(teacher.call("GET", f"{LECTURES}?limit=2"))
    assert [each["id"] for each in page["items"]] == [third, second]
    rest = ok(teacher.call("GET", f"{LECTURES}?limit=2&cursor={page['next']}"))
    assert ([each["id"] for each in rest["items"]], rest["next"]) == ([first], None)
    named = ok(teacher.call("GET", f"{LECTURES}?title=통계"))["items"]
    assert [each["id"] for each in named] == [second, first]
    assert [each["id"] for each in ok(teacher.call("GET", f"{LECTURES}?state=processing"))["items"]] == [second]
    refused(teacher.call("GET", f"{LECTURES}?state=nonsense"), 422, "invalid-request")


@pytest.mark.usefixtures("video")
def test_the_database_refuses_a_publication_of_another_academys_lecture(world: World, teacher: Api) -> None:
    lecture = UUID(create(teacher))
    with pytest.raises(IntegrityError), transaction.atomic():
        Publication.objects.filter(lecture=lecture).update(academy=world.other)
    with pytest.raises(IntegrityError), transaction.atomic():
        Publication.objects.create(academy=world.other, lecture_id=lecture, output_prefix="x/", state=State.READY)


# -- uploads ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("video")
def test_a_repeated_create_makes_one_lecture(teacher: Api) -> None:
    body = {"title": "수열", **FILE}
    key = {"Idempotency-Key": "create-1"}
    first = ok(teacher.call("POST", LECTURES, body, **key), 201)
    assert ok(teacher.call("POST", LECTURES, body, **key), 201) == first
    assert Lecture.objects.count() == Publication.objects.count() == 1
    refused(teacher.call("POST", LECTURES, {**body, "title": "다른 강의"}, **key), 422, "idempotency-mismatch")
    ok(teacher.call("POST", f"{LECTURES}/{first['id']}/replace", FILE, **key), 201)
    again = ok(teacher.call("POST", f"{LECTURES}/{first['id']}/replace", FILE, **key), 201)
    assert again["publication"]["id"] == str(newest(first["id"]).pk)
    assert Tombstone.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"content_type": "application/pdf"}, "source-not-a-video"),
        ({"content_type": "video/x-ms-wmv"}, "source-container-unsupported"),
        ({"size": uploads.MAX_SOURCE_BYTES + 1}, "source-too-large"),
        ({"size": 0}, "invalid-request"),
        ({"title": "  "}, "invalid-request"),
        ({"language": "xx"}, "invalid-request"),
        ({"academy": str(uuid4())}, "invalid-request"),
    ],
)
def test_what_cannot_be_a_lecture_is_refused_before_the_upload(teacher: Api, change: dict[str, Any], code: str) -> None:
    refused(teacher.call("POST", LECTURES, {"title": "강의", **FILE, **change}), 422, code)
    assert not Lecture.objects.exists()


def test_completing_twice_submits_one_job(teacher: Api, video: FakeStore) -> None:
    lecture = uploaded(teacher, video)
    job = newest(lecture).job
    assert ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"))["state"] == "processing"
    assert newest(lecture).job == job
    worker = Worker()
    task = worker.claim()
    assert task.input["source_etag"] == video.head(task.input["source_key"]).etag
    assert worker.try_claim() is None


@pytest.mark.parametrize(("said", "language"), [({}, "ko"), ({"language": "en"}, "en")])
def test_the_worker_is_told_the_lectures_language(
    teacher: Api, video: FakeStore, said: dict[str, str], language: str
) -> None:
    """Of several tracks of sound the worker takes the one in it; another recording keeps it."""
    made = ok(teacher.call("POST", LECTURES, {"title": "강의", **FILE, **said}), 201)
    assert made["language"] == language
    for number in range(2):
        if number:
            ok(teacher.call("POST", f"{LECTURES}/{made['id']}/replace", FILE), 201)
        send_parts(teacher, made["id"], video)
        ok(teacher.call("POST", f"{LECTURES}/{made['id']}/upload/complete"))
        assert PlanInput.model_validate(Worker().claim().input).language == language
    assert ok(teacher.call("GET", LECTURES))["items"][0]["language"] == language


def test_a_completion_whose_answer_was_lost_goes_on(teacher: Api, video: FakeStore) -> None:
    lecture = create(teacher)
    send_parts(teacher, lecture, video)
    upload = newest(lecture).upload
    video.complete_multipart(upload.source_key, upload.upload_id, video.list_parts(upload.source_key, upload.upload_id))
    assert ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"))["state"] == "processing"


def test_completing_too_early_changes_nothing(teacher: Api, video: FakeStore) -> None:
    lecture = create(teacher)
    for _ in range(2):
        refused(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"), 422, "upload-incomplete")
        ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/parts", {}))
    assert state_of(teacher, lecture) == "uploading"
    send_parts(teacher, lecture, video)
    ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"))


def test_an_upload_the_store_dropped_starts_anew(teacher: Api, video: FakeStore) -> None:
    lecture = create(teacher)
    send_parts(teacher, lecture, video)
    upload = newest(lecture).upload
    video.abort_multipart(upload.source_key, upload.upload_id)
    refused(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"), 422, "upload-incomplete")
    send_parts(teacher, lecture, video)
    ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"))


def test_an_upload_the_store_dropped_is_resumed_from_its_first_part(teacher: Api, video: FakeStore) -> None:
    lecture = create(teacher)
    send_parts(teacher, lecture, video)
    upload = newest(lecture).upload
    video.abort_multipart(upload.source_key, upload.upload_id)
    resumed = ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/parts", {}))
    assert (resumed["uploaded"], resumed["missing"], len(resumed["urls"])) == ([], 1, 1)
    send_parts(teacher, lecture, video)
    assert ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"))["state"] == "processing"


def test_an_upload_whose_completion_was_lost_is_resumed_with_nothing_missing(teacher: Api, video: FakeStore) -> None:
    lecture = create(teacher)
    send_parts(teacher, lecture, video)
    upload = newest(lecture).upload
    video.complete_multipart(upload.source_key, upload.upload_id, video.list_parts(upload.source_key, upload.upload_id))
    resumed = ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/parts", {}))
    assert (len(resumed["uploaded"]), resumed["missing"], resumed["urls"]) == (1, 0, [])
    assert not video._uploads
    assert ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"))["state"] == "processing"


@pytest.mark.parametrize("end", ["cancel", "replace", "delete"])
def test_an_upload_that_ends_while_it_is_begun_leaves_no_parts(
    teacher: Api, video: FakeStore, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    lecture = create(teacher)
    create_multipart = video.create_multipart

    def ended_meanwhile(key: str, **how: Any) -> str:
        begun = create_multipart(key, **how)
        path = f"{LECTURES}/{lecture}"
        answer = teacher.call("DELETE", path) if end == "delete" else teacher.call("POST", f"{path}/{end}", FILE)
        assert answer.status_code < 300, answer.content
        return begun

    with monkeypatch.context() as patch:
        patch.setattr(video, "create_multipart", ended_meanwhile)
        refused(teacher.call("POST", f"{LECTURES}/{lecture}/upload/parts", {}), 409, "no-upload")
    graves.sweep()
    assert not video._uploads


@pytest.mark.parametrize(
    ("head", "code"), [(b"%PDF-1.7", "source-not-a-video"), (b"OggS\x00\x02", "source-container-unsupported")]
)
def test_a_file_that_is_no_video_of_ours_fails_with_a_reason_and_is_swept(
    teacher: Api, video: FakeStore, head: bytes, code: str
) -> None:
    lecture = create(teacher)
    send_parts(teacher, lecture, video, head + DATA[len(head) :])
    refused(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"), 422, code)
    shown = detail(teacher, lecture)
    assert (shown["state"], shown["publication"]["reason"]["code"]) == ("failed", code)
    refused(teacher.call("POST", f"{LECTURES}/{lecture}/retry"), 409, "nothing-to-retry")
    graves.sweep()
    assert not video.objects


def test_an_upload_left_alone_for_a_day_is_given_up(teacher: Api, video: FakeStore) -> None:
    lecture = create(teacher)
    send_parts(teacher, lecture, video)
    upload = newest(lecture).upload
    graves.give_up_uploads()
    assert state_of(teacher, lecture) == "uploading"
    Upload.objects.update(active_at=timezone.now() - graves.ABANDONED_AFTER)
    graves.give_up_uploads()
    shown = detail(teacher, lecture)
    assert (shown["state"], shown["publication"]["reason"]["code"]) == ("failed", "upload-abandoned")
    refused(teacher.call("POST", f"{LECTURES}/{lecture}/upload/parts", {}), 409, "no-upload")
    graves.sweep()
    with pytest.raises(NotFound):
        video.list_parts(upload.source_key, upload.upload_id)


@pytest.mark.usefixtures("video")
def test_an_upload_in_use_is_not_given_up(teacher: Api) -> None:
    lecture = create(teacher)
    Upload.objects.update(active_at=timezone.now() - graves.ABANDONED_AFTER)
    ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/parts", {}))
    graves.give_up_uploads()
    assert state_of(teacher, lecture) == "uploading"


# -- playlists --------------------------------------------------------------------------------------------------------


@pytest.fixture
def working(teacher: Api, video: FakeStore) -> tuple[Worker, Publication, Callable[[int], None]]:
    """A planned lecture with its three chunks claimed; the callable completes one."""
    lecture = uploaded(teacher, video)
    worker = Worker()
    worker.plan(PLAN)
    tasks = worker.claim_chunks(3)
    return worker, newest(lecture), lambda index: worker.complete(tasks[index], chunk_of(PLAN, index))


Working = tuple[Worker, Publication, Callable[[int], None]]


def _segments(bucket: FakeStore, publication: Publication) -> int:
    key = f"{publication.output_prefix}720p.m3u8"
    return len(playlist(bucket, publication, "720p.m3u8").segments) if key in bucket.objects else 0


def test_only_the_contiguous_prefix_is_listed(working: Working, video: FakeStore, relay: Relay) -> None:
    _, publication, complete = working
    complete(2)
    relay.turn()
    assert _segments(video, publication) == 0
    complete(0)
    relay.turn()
    assert _segments(video, publication) == 2


def test_the_last_chunks_are_listed_with_the_end_or_else_a_little_later(
    working: Working, video: FakeStore, relay: Relay
) -> None:
    worker, publication, complete = working
    for index in range(3):
        complete(index)
    relay.turn()
    assert _segments(video, publication) == 0, "publish is waited for"
    relay.wait_out()
    relay.turn()
    assert _segments(video, publication) == 16, "it did not come in time"
    assert not playlist(video, publication, "720p.m3u8").is_endlist
    worker.publish(PLAN)
    relay.turn()
    assert playlist(video, publication, "720p.m3u8").is_endlist


def test_a_published_lecture_is_ended_in_one_write(working: Working, video: FakeStore, relay: Relay) -> None:
    worker, publication, complete = working
    complete(0)
    relay.turn()
    for index in (1, 2):
        complete(index)
    relay.turn()
    worker.publish(PLAN)
    relay.writer.run()  # at once: nothing was written in the last second
    assert playlist(video, publication, "720p.m3u8").is_endlist
    publication.refresh_from_db()
    assert publication.state == "ready"


def test_playlists_are_written_at_most_once_a_second(working: Working, video: FakeStore, relay: Relay) -> None:
    _, publication, complete = working
    complete(0)
    relay.writer.run()
    publication.refresh_from_db()
    first = publication.playlists_at
    complete(1)
    relay.writer.run()
    publication.refresh_from_db()
    assert first is not None
    assert publication.playlists_at is not None
    if publication.playlists_at == first:
        assert _segments(video, publication) == 2, "less than a second has passed"
    else:  # on a busy machine it is over by now
        assert publication.playlists_at - first >= timedelta(seconds=1)
        assert _segments(video, publication) == 6
    relay.turn()
    assert _segments(video, publication) == 6


def test_a_relay_whose_clock_was_ahead_holds_up_none_that_follows(
    working: Working, video: FakeStore, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, publication, complete = working
    complete(0)
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda: datetime.now(UTC) + timedelta(hours=1))
        relay.writer.run()
    assert _segments(video, publication) == 2
    relay.restart()
    complete(1)

    def listed() -> bool:
        relay.writer.run()
        return _segments(video, publication) == 6

    wait_until(listed, 60, "it waits for the other's clock")


def test_a_relay_killed_after_writing_is_followed_by_one_that_finishes(
    working: Working, video: FakeStore, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, publication, complete = working

    def killed(_step: object) -> None:
        raise SystemExit

    for index in range(3):
        complete(index)
        if index == 2:
            relay.wait_out()
        with monkeypatch.context() as patch:
            patch.setattr(publishing, "_record", killed)
            with pytest.raises(SystemExit):
                relay.turn()
        relay.restart()
    worker.publish(PLAN)
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_record", killed)
        with pytest.raises(SystemExit):
            relay.turn()
    before = dict(video.objects)
    relay.restart()
    relay.turn()
    publication.refresh_from_db()
    assert (publication.state, publication.chunks_listed) == ("ready", 3)
    assert video.objects == before, "what is stored already is not written again"


@pytest.mark.parametrize("writes", range(5))
def test_a_relay_killed_between_two_writes_is_followed_by_one_that_finishes(
    working: Working, video: FakeStore, relay: Relay, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    worker, publication, complete = working
    complete(0)
    relay.turn()
    for index in (1, 2):
        complete(index)
    worker.publish(PLAN)
    done: list[str] = []
    put = video.put

    def failing(key: str, data: bytes, **how: Any) -> str:
        if len(done) >= writes:
            raise StoreUnavailable("killed here")
        done.append(key)
        return put(key, data, **how)

    with monkeypatch.context() as patch:
        patch.setattr(video, "put", failing)
        relay.turn()
    publication.refresh_from_db()
    assert publication.state == ("ready" if writes == 4 else "playable")
    master = playlist(video, publication, "master.m3u8").playlists[0].stream_info
    assert (master.average_bandwidth is not None) == (writes == 4), "the master comes last"
    relay.restart()
    relay.turn()
    publication.refresh_from_db()
    assert publication.state == "ready"
    assert playlist(video, publication, "audio.m3u8").is_endlist


def test_a_relay_that_is_behind_never_shrinks_a_playlist(working: Working, video: FakeStore, relay: Relay) -> None:
    _, publication, complete = working
    complete(0)
    relay.turn()
    complete(1)
    behind = publishing.PlaylistWriter(video)
    behind.run()
    relay.turn()
    longer = dict(video.objects)
    Publication.objects.update(chunks_listed=0)
    key = f"{publication.output_prefix}720p.m3u8"
    grown = video.get(key) + b"#EXTINF:6.000000,\nlater.m4s\n"
    video.put(key, grown, content_type="application/vnd.apple.mpegurl", cache_control="public, max-age=1")
    relay.restart()
    relay.turn()
    assert video.get(key) == grown
    assert {other: each for other, each in video.objects.items() if other != key} == {
        other: each for other, each in longer.items() if other != key
    }


def test_a_playlist_that_another_release_began_is_gone_on_with(
    working: Working, video: FakeStore, relay: Relay
) -> None:
    _, publication, complete = working
    complete(0)
    relay.turn()
    key = f"{publication.output_prefix}720p.m3u8"
    older = video.get(key).replace(f"{playlists.FROM_THE_START}\n".encode(), b"")
    assert older != video.get(key)
    video.put(key, older, content_type="application/vnd.apple.mpegurl", cache_control="public, max-age=1")
    complete(1)
    relay.restart()
    relay.turn()
    assert _segments(video, publication) == 6


def test_a_playlist_written_by_another_meanwhile_is_read_again_not_overwritten(
    working: Working, video: FakeStore, relay: Relay
) -> None:
    _, publication, complete = working
    complete(0)
    relay.turn()
    key = f"{publication.output_prefix}720p.m3u8"
    other = publishing.PlaylistWriter(video)
    complete(1)
    Publication.objects.update(playlists_at=None)
    other.run()
    theirs = video.get(key)
    Publication.objects.update(playlists_at=None, chunks_listed=1)
    complete(2)
    relay.wait_out()
    relay.writer.run()  # its copies are stale: refused by If-Match
    assert video.get(key) == theirs
    relay.turn()
    assert _segments(video, publication) == 16


def test_a_playlist_that_is_gone_is_written_anew(working: Working, video: FakeStore, relay: Relay) -> None:
    """A relay that thought itself active had hidden it, or somebody's hand: the writer's copy is not the truth."""
    _, publication, complete = working
    complete(0)
    relay.turn()
    video.delete(f"{publication.output_prefix}720p.m3u8")
    complete(1)
    relay.turn()
    relay.turn()
    assert _segments(video, publication) == 6
    publication.refresh_from_db()
    assert publication.chunks_listed == 2


def test_one_lectures_trouble_does_not_stop_anothers_playlists(
    teacher: Api, working: Working, video: FakeStore, relay: Relay
) -> None:
    _, publication, complete = working
    lecture = uploaded(teacher, video, "다른 강의")
    worker = Worker()
    worker.plan(PLAN)
    chunk = worker.claim_chunks(1)
    worker.complete(chunk[0], chunk_of(PLAN, 0))
    complete(0)
    video.put(f"{publication.output_prefix}720p.m3u8", b"nonsense", content_type="text/plain")
    relay.turn()
    assert state_of(teacher, lecture) == "playable"
    publication.refresh_from_db()
    assert publication.state == "processing"


def test_a_store_that_is_away_takes_one_wait_of_the_relays_turn(
    teacher: Api, video: FakeStore, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many lectures are being encoded; those that were not looked at have the next turn."""
    for number in range(12):
        uploaded(teacher, video, f"{number}강")
        worker = Worker()
        worker.plan(PLAN)
        worker.complete(worker.claim_chunks(3)[0], chunk_of(PLAN, 0))
    prefixes = set(Publication.objects.values_list("output_prefix", flat=True))
    asked: list[str] = []

    def silent(key: str) -> None:
        asked.append(key.rpartition("/")[0] + "/")
        relay.now += publishing.TURN_SECONDS
        raise StoreUnavailable("silent")

    with monkeypatch.context() as patch:
        patch.setattr(video, "head", silent)
        for _ in range(12):
            before = len(asked)
            relay.turn()
            assert 0 < len(asked) - before < 12
    assert set(asked) == prefixes
    relay.turn()
    assert {each.state for each in Publication.objects.all()} == {"playable"}


# -- cancel, retry, replace, delete -----------------------------------------------------------------------------------


def test_cancel_stops_running_work_and_sweeps_what_it_made(
    teacher: Api, working: Working, video: FakeStore, relay: Relay
) -> None:
    worker, publication, complete = working
    complete(0)
    relay.turn()
    lecture = str(publication.lecture_id)
    assert ok(teacher.call("POST", f"{LECTURES}/{lecture}/cancel"))["state"] == "cancelled"
    with pytest.raises(LeaseLost):
        complete(1)
    assert worker.try_claim() is None
    refused(teacher.call("POST", f"{LECTURES}/{lecture}/cancel"), 409, "nothing-to-cancel")
    refused(teacher.call("POST", f"{LECTURES}/{lecture}/retry"), 409, "nothing-to-retry")
    refused(teacher.call("GET", f"{LECTURES}/{lecture}/playback"), 409, "not-playable-yet")
    graves.sweep()
    a_day_later()
    graves.sweep()
    assert not video.objects


def test_a_worker_learns_of_a_cancel_by_its_next_heartbeat(teacher: Api, video: FakeStore) -> None:
    lecture = uploaded(teacher, video)
    worker = Worker()
    task = worker.claim()
    worker.heartbeat(task, 1)
    ok(teacher.call("POST", f"{LECTURES}/{lecture}/cancel"))
    with pytest.raises(LeaseLost):
        worker.heartbeat(task, 2)


def test_a_cancelled_upload_is_aborted(teacher: Api, video: FakeStore) -> None:
    lecture = create(teacher)
    send_parts(teacher, lecture, video)
    assert ok(teacher.call("POST", f"{LECTURES}/{lecture}/cancel"))["state"] == "cancelled"
    refused(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"), 409, "no-upload")
    upload = newest(lecture).upload
    graves.sweep()
    with pytest.raises(NotFound):
        video.list_parts(upload.source_key, upload.upload_id)


def test_delete_hides_at_once_and_deletes_a_day_later(  # noqa: PLR0917 - fixtures
    world: World, teacher: Api, working: Working, video: FakeStore, relay: Relay, cdn: RecordingCdn
) -> None:
    _, publication, complete = working
    complete(0)
    relay.turn()
    lecture = str(publication.lecture_id)
    assert teacher.call("DELETE", f"{LECTURES}/{lecture}").status_code == 204
    refused(teacher.call("GET", f"{LECTURES}/{lecture}"), 404, "not-found")
    refused(teacher.call("DELETE", f"{LECTURES}/{lecture}"), 404, "not-found")
    assert AuditEntry.objects.filter(action="lecture.delete", target=lecture, academy_id=world.academy.pk).count() == 1
    with pytest.raises(LeaseLost):
        complete(1)
    relay.turn()
    before = set(video.objects)
    graves.sweep()
    prefix = publication.output_prefix
    names = {"master.m3u8", "720p.m3u8", "480p.m3u8", "audio.m3u8"}
    assert not {f"{prefix}{name}" for name in names} & set(video.objects), "nobody can begin to play it"
    assert before - set(video.objects) == {f"{prefix}{name}" for name in names}
    assert cdn.purged == [prefix]

    zombie = f"{prefix}720p/zombie.m4s"
    video.put(zombie, b"late", content_type="video/iso.segment")
    graves.sweep()
    assert zombie in video.objects, "not due yet"
    tombstone = Tombstone.objects.get(pk=publication.pk)
    assert tombstone.due_at is not None
    assert tombstone.due_at - timezone.now() > graves.LONGEST_TASK, "no worker can still be writing then"
    a_day_later()
    graves.sweep()
    assert not video.objects
    assert Tombstone.objects.get(pk=publication.pk).due_at is None
    assert cdn.purged == [prefix, prefix]


def test_a_cdn_that_is_away_is_asked_again_and_holds_nobody_up(
    teacher: Api, relay: Relay, video: FakeStore, cdn: RecordingCdn
) -> None:
    first, second = made_ready(teacher, relay, "1강"), made_ready(teacher, relay, "2강")
    prefixes = [Publication.objects.get(lecture=lecture).output_prefix for lecture in (first, second)]
    teacher.call("DELETE", f"{LECTURES}/{first}")
    cdn.away = True
    with pytest.raises(CdnUnavailable):
        graves.sweep()
    cdn.away = False
    teacher.call("DELETE", f"{LECTURES}/{second}")
    graves.sweep()
    assert cdn.purged == prefixes[1:]
    a_day_later()
    while Tombstone.objects.filter(due_at__lte=timezone.now()).exists():
        graves.sweep()
        a_day_later()
    assert sorted(cdn.purged) == sorted(prefixes * 2)
    assert not video.objects


def test_a_tombstone_whose_step_cannot_be_done_holds_nobody_up(
    teacher: Api, relay: Relay, video: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it was: what nobody foresaw is no reason to sweep nothing else."""
    first, second = made_ready(teacher, relay, "1강"), made_ready(teacher, relay, "2강")
    prefixes = [Publication.objects.get(lecture=lecture).output_prefix for lecture in (first, second)]
    teacher.call("DELETE", f"{LECTURES}/{first}")
    teacher.call("DELETE", f"{LECTURES}/{second}")
    level = video.level

    def broken(prefix: str) -> Level:
        if prefix == prefixes[0]:
            raise ValueError("not foreseen")
        return level(prefix)

    with monkeypatch.context() as patch:
        patch.setattr(video, "level", broken)
        with pytest.raises(ValueError, match="not foreseen"):
            graves.sweep()
        graves.sweep()
    assert Tombstone.objects.get(output_prefix=prefixes[1]).hidden
    time_passes(graves.AGAIN_AFTER)
    graves.sweep()
    assert Tombstone.objects.get(output_prefix=prefixes[0]).hidden


def test_a_sweep_goes_page_by_page_and_spares_the_neighbours(
    teacher: Api, relay: Relay, video: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graves, "_PAGE", 3)
    stays = made_ready(teacher, relay, "남는 강의")
    goes = made_ready(teacher, relay, "지울 강의")
    prefix = Publication.objects.get(lecture=goes).output_prefix
    before = {key for key in video.objects if not key.startswith((prefix, f"sources/{goes}/"))}
    for number in range(4):
        video.put(f"{prefix}720p/{number}.m4s", b"x", content_type="video/iso.segment")
    teacher.call("DELETE", f"{LECTURES}/{goes}")
    turns = 0
    while Tombstone.objects.filter(due_at__lte=timezone.now()).exists():
        graves.sweep()
        turns += 1
        assert turns < 10
        if turns == 1:
            a_day_later()
    assert turns == 4, "hidden, then three objects at a time"
    assert set(video.objects) == before
    assert state_of(teacher, stays) == "ready"


def test_replace_keeps_the_old_publication_until_the_new_one_is_ready(
    teacher: Api, student: Api, video: FakeStore, relay: Relay
) -> None:
    lecture = made_ready(teacher, relay)
    old = Publication.objects.get(lecture=lecture)
    shown = ok(teacher.call("POST", f"{LECTURES}/{lecture}/replace", FILE), 201)
    assert (shown["state"], shown["replacing"], shown["publication"]["state"]) == ("ready", True, "uploading")
    assert shown["publication"]["id"] != str(old.pk)
    send_parts(teacher, lecture, video)
    ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"))
    worker = Worker()
    worker.plan(PLAN)
    chunks = worker.claim_chunks(3)
    worker.complete(chunks[0], chunk_of(PLAN, 0))
    relay.turn()
    new = newest(lecture)
    assert new.state == "playable"
    assert ok(student.call("GET", f"{LECTURES}/{lecture}/playback"))["publication"] == str(old.pk)
    for index in (1, 2):
        worker.complete(chunks[index], chunk_of(PLAN, index))
    worker.publish(PLAN)
    relay.turn()
    assert ok(student.call("GET", f"{LECTURES}/{lecture}/playback"))["publication"] == str(new.pk)
    assert not Publication.objects.filter(pk=old.pk).exists()
    graves.sweep()
    assert f"{old.output_prefix}master.m3u8" in video.objects, "those who watch the old one go on for a while"
    a_day_later()
    graves.sweep()
    assert f"{old.output_prefix}master.m3u8" not in video.objects
    a_day_later()
    graves.sweep()
    assert not [key for key in video.objects if str(old.pk) in key]
    assert Tombstone.objects.get(pk=old.pk).due_at is None
    assert f"{new.output_prefix}master.m3u8" in video.objects


def test_replacing_again_stops_the_replacement_under_way(teacher: Api, video: FakeStore, relay: Relay) -> None:
    lecture = made_ready(teacher, relay)
    ok(teacher.call("POST", f"{LECTURES}/{lecture}/replace", FILE), 201)
    send_parts(teacher, lecture, video)
    ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"))
    worker = Worker()
    task = worker.claim()
    first = newest(lecture).pk
    ok(teacher.call("POST", f"{LECTURES}/{lecture}/replace", FILE), 201)
    with pytest.raises(LeaseLost):
        worker.heartbeat(task, 1)
    assert newest(lecture).pk != first
    assert Tombstone.objects.filter(pk=first).exists()
    assert state_of(teacher, lecture) == "ready"
    assert ok(teacher.call("POST", f"{LECTURES}/{lecture}/cancel"))["state"] == "ready"


def test_a_failure_has_its_reason_and_a_retry_goes_on(
    teacher: Api, student: Api, working: Working, relay: Relay
) -> None:
    worker, publication, complete = working
    lecture = str(publication.lecture_id)
    complete(0)
    relay.turn()
    worker.refuse(worker.chunks[1])
    shown = detail(teacher, lecture)
    assert shown["state"] == "failed"
    assert shown["publication"]["reason"] == {
        "code": "no-video",
        "ko": "영상이 없습니다.",
        "en": "There is no video in it.",
    }
    assert stages(teacher, lecture)["chunks"] == ("stopped", 1, 3)
    refused(student.call("GET", f"{LECTURES}/{lecture}"), 404, "not-found")
    assert ok(teacher.call("POST", f"{LECTURES}/{lecture}/retry"))["state"] == "playable"
    assert AuditEntry.objects.filter(action="lecture.retry", target=lecture).count() == 1
    assert detail(teacher, lecture)["publication"]["reason"] is None
    for index, task in worker.claim_chunks(2).items():
        worker.complete(task, chunk_of(PLAN, index))
    worker.publish(PLAN)
    relay.turn()
    assert state_of(teacher, lecture) == "ready"
    refused(teacher.call("POST", f"{LECTURES}/{lecture}/retry"), 409, "nothing-to-retry")


def test_of_a_file_refused_after_its_plan_nothing_is_left(
    teacher: Api, working: Working, video: FakeStore, relay: Relay
) -> None:
    """Its first chunk plays already when another one finds that nothing more of it can be decoded."""
    worker, publication, complete = working
    lecture = str(publication.lecture_id)
    put_media(video, publication, chunk_of(PLAN, 0))
    complete(0)
    relay.turn()
    worker.refuse(worker.chunks[1], "source-damaged")
    assert detail(teacher, lecture)["state"] == "failed"
    refused(teacher.call("POST", f"{LECTURES}/{lecture}/retry"), 409, "nothing-to-retry")
    assert detail(teacher, lecture)["publication"]["reason"]["code"] == "source-damaged"
    graves.sweep()
    put_media(video, publication, chunk_of(PLAN, 2))  # by a worker that has not heard of it yet
    tombstone = Tombstone.objects.get(pk=publication.pk)
    assert tombstone.due_at is not None
    assert graves.LONGEST_TASK < tombstone.due_at - publication.created_at < 2 * graves.LONGEST_TASK
    time_passes(2 * graves.LONGEST_TASK)
    graves.sweep()
    assert not video.objects
    assert Tombstone.objects.get(pk=publication.pk).due_at is None
    ok(teacher.call("POST", f"{LECTURES}/{lecture}/replace", FILE), 201)


def test_a_replacement_that_is_refused_leaves_the_ready_one(teacher: Api, video: FakeStore, relay: Relay) -> None:
    lecture = made_ready(teacher, relay)
    whole = dict(video.objects)
    ok(teacher.call("POST", f"{LECTURES}/{lecture}/replace", FILE), 201)
    send_parts(teacher, lecture, video)
    ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"))
    worker = Worker()
    worker.refuse(worker.claim(), "source-unreadable")
    assert video.objects.keys() > whole.keys()
    time_passes(2 * graves.LONGEST_TASK)
    graves.sweep()
    assert video.objects == whole
    assert state_of(teacher, lecture) == "ready"


def test_deleting_a_finished_job_before_its_playlists_ended_is_harmless(
    teacher: Api, video: FakeStore, relay: Relay
) -> None:
    lecture = uploaded(teacher, video)
    Worker().encode(PLAN)
    refused(teacher.call("POST", f"{LECTURES}/{lecture}/cancel"), 409, "nothing-to-cancel")
    assert teacher.call("DELETE", f"{LECTURES}/{lecture}").status_code == 204
    relay.turn()
    assert not [key for key in video.objects if key.endswith(".m3u8")]


def test_a_character_that_cannot_be_stored_is_refused_wherever_it_stands(teacher: Api) -> None:
    refused(teacher.call("GET", f"{LECTURES}?title=%00"), 422, "unstorable-character")
    refused(teacher.call("POST", LECTURES, {"title": "a\0b", **FILE}), 422, "unstorable-character")


# -- what nobody lists ------------------------------------------------------------------------------------------------


def put_media(bucket: FakeStore, publication: Publication, *chunks: ChunkResult) -> list[str]:
    """The files of these chunks, as the worker uploads them; their keys."""
    keys = [f"{publication.output_prefix}{name}" for chunk in chunks for name in chunk.keys()]  # noqa: SIM118 - a result
    for key in keys:
        bucket.put(key, b"media", content_type="video/iso.segment")
    return keys


def put_intermediate(bucket: FakeStore, publication: Publication) -> list[str]:
    """A normalised source, as the worker leaves it; its keys."""
    keys = [f"{publication.output_prefix}intermediate/{name}" for name in ("front.a.mkv", "000000.b.mkv", "index.json")]
    for key in keys:
        bucket.put(key, b"media", content_type="video/x-matroska")
    return keys


def age(bucket: FakeStore, by: timedelta) -> None:
    """Everything stored, and every publication, gets older."""
    for key, found in bucket.objects.items():
        bucket.objects[key] = replace(found, modified=found.modified - by)
    Publication.objects.exclude(ready_at=None).update(ready_at=F("ready_at") - by)


def test_what_a_ready_publication_does_not_list_goes_after_a_day(teacher: Api, video: FakeStore, relay: Relay) -> None:
    lecture = made_ready(teacher, relay)
    publication = Publication.objects.get(lecture=lecture)
    listed = put_media(video, publication, *(chunk_of(PLAN, index) for index in range(3)))
    left = put_media(video, publication, chunk_of(PLAN, 1, init="b"))
    left += put_intermediate(video, publication)
    whole = set(video.objects)
    graves.tidy()
    assert set(video.objects) == whole, "too young: a worker that lost its lease may still be writing"
    age(video, graves.KEPT_FOR + graves.LONGEST_TASK)
    young = f"{publication.output_prefix}720p/young.m4s"
    video.put(young, b"media", content_type="video/iso.segment")
    graves.tidy()
    assert set(video.objects) == whole - set(left) | {young}
    assert set(listed) <= set(video.objects)
    publication.refresh_from_db()
    assert publication.tidied_at is not None


def test_a_publication_that_cannot_be_tidied_holds_nobody_up(
    teacher: Api, video: FakeStore, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (Publication.objects.get(lecture=made_ready(teacher, relay, title)) for title in ("1강", "2강"))
    age(video, graves.KEPT_FOR + graves.LONGEST_TASK)
    listing = video.list

    def broken(prefix: str) -> Iterator[ObjectInfo]:
        if prefix == first.output_prefix:
            raise ValueError("not foreseen")
        return listing(prefix)

    monkeypatch.setattr(video, "list", broken)
    for _ in range(64):  # each is as likely as the other
        with suppress(ValueError):
            graves.tidy()
    second.refresh_from_db()
    assert second.tidied_at is not None


def test_what_the_stored_playlists_name_is_never_unlisted(teacher: Api, video: FakeStore, relay: Relay) -> None:
    """After a restore the ledger's results may be others than those that were published."""
    lecture = made_ready(teacher, relay)
    publication = Publication.objects.get(lecture=lecture)
    named = f"{publication.output_prefix}720p/named.m4s"
    video.put(named, b"media", content_type="video/iso.segment")
    key = f"{publication.output_prefix}720p.m3u8"
    text = video.get(key).replace(b"#EXT-X-ENDLIST", b"#EXTINF:6.0,\n720p/named.m4s\n#EXT-X-ENDLIST")
    video.put(key, text, content_type=playlists.CONTENT_TYPE)
    age(video, graves.KEPT_FOR + graves.LONGEST_TASK)
    graves.tidy()
    assert named in video.objects


def test_a_job_that_was_folded_away_deletes_nothing_but_the_normalised_source(
    teacher: Api, video: FakeStore, relay: Relay
) -> None:
    lecture = made_ready(teacher, relay)
    publication = Publication.objects.get(lecture=lecture)
    put_media(video, publication, chunk_of(PLAN, 0, init="b"))
    whole = set(video.objects)
    put_intermediate(video, publication)
    age(video, graves.KEPT_FOR + graves.LONGEST_TASK)
    sql.execute("DELETE FROM ledger_task WHERE job_id = %(job)s", {"job": publication.job})
    graves.tidy()
    assert set(video.objects) == whole


def walk(bucket: FakeStore) -> audit.Auditor:
    """One whole audit."""
    auditor = audit.Auditor(bucket)
    for _ in range(50):
        auditor.run()
    return auditor


def test_files_without_a_row_are_reported_and_stay(teacher: Api, video: FakeStore, relay: Relay) -> None:
    made_ready(teacher, relay)
    gone = made_ready(teacher, relay, "지운 강의")
    teacher.call("DELETE", f"{LECTURES}/{gone}")
    root = config.R2_PREFIX
    strangers = {
        f"{root}/{uuid4()}/{uuid4()}/master.m3u8",
        f"{root}/{Publication.objects.get().lecture_id}/{uuid4()}/720p/000000.m4s",
        f"sources/{uuid4()}/{uuid4()}",
        f"{root}/notes.txt",
    }
    for key in strangers:
        video.put(key, b"x", content_type="text/plain")
    whole = dict(video.objects)
    with structlog.testing.capture_logs() as logs:
        walk(video)
    assert video.objects == whole
    reported = {entry["key"] for entry in logs if entry["event"] == "files_without_row"}
    assert len(reported) == 4
    assert all(any(stranger.startswith(key) for stranger in strangers) for key in reported)
    assert audit.WITHOUT_ROW._value.get() == 4


def test_an_audit_that_is_broken_off_begins_anew(
    teacher: Api, video: FakeStore, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_ready(teacher, relay)
    video.put("sources/lost", b"x", content_type="text/plain")
    auditor = audit.Auditor(video)
    with monkeypatch.context() as patch:
        patch.setattr(video, "level", raises_unavailable)
        with pytest.raises(StoreUnavailable):
            auditor.run()
    audit.WITHOUT_ROW.set(0)
    for _ in range(10):
        auditor.run()
    assert audit.WITHOUT_ROW._value.get() == 1


def raises_unavailable(_prefix: str) -> None:
    raise StoreUnavailable("away")


@pytest.mark.parametrize("again", ["a", "b"], ids=["the same bytes", "other bytes"])
def test_a_database_restored_to_an_hour_ago_loses_no_lecture(
    teacher: Api, video: FakeStore, relay: Relay, again: str
) -> None:
    """The hour that is lost held a deletion, a replacement, the end of an encoding, and a lecture that was new.

    The chunks that are made again have other names where another build of ffmpeg makes them.
    """
    deleted, replaced = made_ready(teacher, relay, "지운 강의"), made_ready(teacher, relay, "교체한 강의")
    encoding = uploaded(teacher, video, "변환 중")
    Worker().plan(PLAN)
    put_intermediate(video, newest(encoding))  # what its chunks read
    hour_ago = transaction.savepoint()
    alive = dict(video.objects)

    teacher.call("DELETE", f"{LECTURES}/{deleted}")
    worker = Worker()
    for index, task in worker.claim_chunks(3).items():
        worker.complete(task, chunk_of(PLAN, index))
    worker.publish(PLAN)
    relay.turn()
    assert state_of(teacher, encoding) == "ready"
    ok(teacher.call("POST", f"{LECTURES}/{replaced}/replace", FILE), 201)
    send_parts(teacher, replaced, video)
    ok(teacher.call("POST", f"{LECTURES}/{replaced}/upload/complete"))
    Worker().encode(PLAN)
    relay.turn()
    made_ready(teacher, relay, "새 강의")
    graves.sweep()
    lost = Publication.objects.values_list("pk", flat=True)
    new = {str(pk) for pk in lost}
    assert not any(key.endswith(".m3u8") for key in set(video.objects) & set(alive) if deleted in key)

    transaction.savepoint_rollback(hour_ago)
    relay.restart()
    new -= {str(pk) for pk in Publication.objects.values_list("pk", flat=True)}
    walk(video)
    graves.sweep()
    graves.tidy()
    for key, found in alive.items():
        assert video.objects[key].data == found.data, key
    worker = Worker()
    for index, task in worker.claim_chunks(3).items():
        worker.complete(task, chunk_of(PLAN, index, init=again))
        relay.turn()
    worker.publish(PLAN)
    relay.turn()
    for lecture in (deleted, replaced, encoding):
        assert state_of(teacher, lecture) == "ready"
        publication = Publication.objects.get(lecture=lecture)
        stored = playlist(video, publication, "720p.m3u8")
        assert stored.is_endlist
        assert (again in stored.segments[0].uri.partition("-")[2]) == (lecture == encoding or again == "a")
        assert playlist(video, publication, "master.m3u8").playlists
    assert len(new) == 2
    for unknown in new:
        assert any(unknown in key for key in video.objects), "reported, not deleted"


def test_an_audit_after_a_restore_never_takes_back_what_was_written_since(
    teacher: Api, working: Working, video: FakeStore, relay: Relay
) -> None:
    """The lost hour held a deletion; the lecture is finished before the audit comes to its folder, hours later."""
    worker, publication, complete = working
    complete(0)
    relay.turn()
    hour_ago = transaction.savepoint()
    teacher.call("DELETE", f"{LECTURES}/{publication.lecture_id}")
    graves.sweep()
    transaction.savepoint_rollback(hour_ago)
    relay.restart()
    for index in (1, 2):
        complete(index)
    worker.publish(PLAN)
    relay.turn()
    written = {key: found for key, found in video.objects.items() if graves.HIDDEN not in key}
    assert playlist(video, publication, "720p.m3u8").is_endlist
    walk(video)
    assert video.objects == written
