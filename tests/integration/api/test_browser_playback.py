"""A lecture in a browser while it is being encoded: hls.js in headless Chromium, real media, the relay's own playlists.

The test is worker and relay in one, so it decides when the next chunk comes; the player runs beside it in real time.
"""

from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import browser_support
import imageio_ffmpeg
import media
import pytest
from api_support import World
from browser_support import Player
from django.utils import timezone
from lecture_support import Worker

from academy_api.lectures import playlists, publishing, service, store
from academy_api.lectures.models import Publication, State
from academy_core.ledger import ClaimedTask
from academy_core.tasks import TaskContext
from academy_video import ladder, plan, tasks

pytestmark = [browser_support.needed, pytest.mark.timeout(300)]

SECONDS = 18
RATE = 30
STEPS = (ladder.Step(160, 23, 400_000, 800_000), ladder.Step(120, 23, 200_000, 400_000))
RULES = plan.Rules(segment_seconds=2, min_segments=3, steps=STEPS, chunk_seconds=(4, 6, 8))
EDGE_SECONDS = 0.1
"""So near to the end of what is listed a player has nothing more to show."""
GRANT_SECONDS = 8.0
"""How long an address lasts that is to expire on the way: the next is asked for after half of it, and a busy machine
may be late by as much."""
START_SECONDS = 60.0
"""For the browser's first picture, on a busy machine."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("recording") / "lecture.mp4"
    return media.numbered_lecture(path, Fraction(RATE), SECONDS).path.read_bytes()


class Studio:
    """One lecture under way: the worker's tasks and the relay's turns, one at a time."""

    def __init__(self, bucket: media.WatchedStore, folder: Path) -> None:
        self._worker = Worker()
        self._bucket, self._folder = bucket, folder
        self.use(media.FFMPEG)
        self._now = 0.0
        self._writer = publishing.PlaylistWriter(bucket, lambda: self._now)

    def use(self, ffmpeg: str) -> None:
        """Do what follows with this ffmpeg."""
        worker = media.Worker(self._bucket, self._folder, RULES, ffmpeg)
        self._handlers = {each.kind.name: each for each in tasks.handlers(worker.tools, RULES, 5)}

    def work(self, count: int = 1) -> list[str]:
        """Do the next tasks; their kinds."""
        return [self._do(self._worker.claim()) for _ in range(count)]

    def _do(self, task: ClaimedTask) -> str:
        handler = self._handlers[task.kind]
        context: TaskContext[Any] = TaskContext(task, handler.kind.input.model_validate(task.input))
        outcome = handler.run(context)
        self._worker.complete(task, outcome.result, outcome.children, outcome.then)
        return task.kind

    def list_chunks(self) -> Publication:
        """Let the relay list what has come, the last chunks too: so long after its last turn."""
        for _ in range(2):
            Publication.objects.exclude(playlists_at=None).update(playlists_at=timezone.now() - timedelta(seconds=1))
            self._writer.run()
            self._now += publishing.LAST_CHUNKS_WAIT_SECONDS
        return Publication.objects.get()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> media.WatchedStore:
    made = media.WatchedStore()
    monkeypatch.setattr(store, "video", lambda: made)
    return made


@pytest.fixture
def studio(world: World, bucket: media.WatchedStore, recording: bytes, tmp_path: Path) -> Studio:
    """A lecture that is uploaded and planned."""
    announced = service.Announced("lecture.mp4", len(recording), "video/mp4")
    lecture = service.create(world.academy.pk, world.teacher.pk, "1강", announced)
    service.next_parts(lecture.pk, 0)
    upload = Publication.objects.select_related("upload").get().upload
    bucket.put_part(upload.source_key, upload.upload_id, 1, recording)
    service.complete(lecture.pk, "request-1")
    folder = tmp_path / "worker"
    folder.mkdir()
    made = Studio(bucket, folder)
    assert made.work() == ["video.plan"]
    return made


def stalls(player: Player) -> list[float]:
    """Where the player stood still after it had begun, although it had known for a second that the playlist goes on."""
    began = player.of("playing")[0]["ms"]
    ends = [(each["ms"], min(2.0 * each["segments"], SECONDS)) for each in player.of("playlist")]

    def goes_on(at: float, ms: float) -> bool:
        return any(at < end - EDGE_SECONDS for known, end in ends if known < ms - 1000)

    return [each["at"] for each in player.of("waiting") if each["ms"] > began and goes_on(each["at"], each["ms"])]


def refreshed(player: Player, since: float) -> set[str]:
    """The media playlists that were asked for again after this time, while the lecture grew."""
    return {name for name, _, when in player.answers if when > since and name.endswith(".m3u8")}


def test_a_player_that_joined_early_plays_to_the_end(
    studio: Studio, bucket: media.WatchedStore, tmp_path: Path
) -> None:
    """Its first address expires while the playlist still grows."""
    assert studio.work() == ["video.chunk"]
    publication = studio.list_chunks()
    assert (publication.state, publication.playable_seconds) == (State.PLAYABLE, 4.0)
    player = Player(bucket, publication.output_prefix, grant_seconds=GRANT_SECONDS)
    with browser_support.playing(player, tmp_path, "renew=1&rate=1"):
        player.wait(lambda: bool(player.of("playing")), START_SECONDS, "it does not play")
        assert player.of("playing")[0]["at"] < 0.5, "it begins in the middle"
        assert player.of("playlist")[-1]["live"]
        assert studio.work() == ["video.chunk"]
        assert studio.list_chunks().playable_seconds == 10.0
        player.wait(lambda: player.at > 4.5, 60, "it stops where its first playlist ended")
        expired = player.answers[0][2] + player.grant_seconds
        player.wait(lambda: len(refreshed(player, expired)) > 1, 30, "no playlist was asked for with a later address")
        assert studio.work(2) == ["video.chunk", "video.publish"]
        assert studio.list_chunks().state == State.READY
        player.wait(lambda: bool(player.of("ended")), 60, "it does not reach the end")
    assert stalls(player) == []
    last = player.of("ended")[0]
    assert last["at"] == pytest.approx(SECONDS, abs=0.1)
    assert last["duration"] == pytest.approx(SECONDS, abs=0.1)
    assert len(last["buffered"]) == 1, "there is a hole"
    grown = [each["segments"] for each in player.of("playlist")]
    assert grown == sorted(grown)
    assert (grown[0], grown[-1]) == (2, 9)
    pictures = {each["name"] for each in player.of("segment") if not each["name"].startswith("audio/")}
    numbers = {name.partition("/")[2].partition(".")[0] for name in pictures if "/init." not in name}
    assert numbers == {f"{number:06d}" for number in range(9)}
    assert {status for _, status, _ in player.answers} == {200}


def made_by_two_builds(studio: Studio, bucket: media.WatchedStore, other: str) -> tuple[str, int]:
    """The prefix of the lecture whose second chunk this other build of ffmpeg made, and its breaks."""
    for binary in (media.FFMPEG, other, media.FFMPEG):
        studio.use(binary)
        assert studio.work() == ["video.chunk"]
    assert studio.work() == ["video.publish"]
    publication = studio.list_chunks()
    assert publication.state == State.READY
    playlist = bucket.get(f"{publication.output_prefix}160p.m3u8")
    return publication.output_prefix, playlist.count(b"#EXT-X-DISCONTINUITY\n")


def test_a_player_does_not_see_that_another_build_of_ffmpeg_took_over(
    studio: Studio, bucket: media.WatchedStore, tmp_path: Path
) -> None:
    """Their inits are equal."""
    prefix, breaks = made_by_two_builds(studio, bucket, imageio_ffmpeg.get_ffmpeg_exe())
    assert breaks == 0
    player = Player(bucket, prefix)
    with browser_support.playing(player, tmp_path, "rate=3"):
        player.wait(lambda: bool(player.of("ended")), START_SECONDS + SECONDS, "it does not play to the end")
    assert len(player.of("ended")[0]["buffered"]) == 1, "there is a hole"


def test_a_player_plays_on_where_another_build_of_ffmpeg_took_over(
    studio: Studio, bucket: media.WatchedStore, tmp_path: Path
) -> None:
    """Of one with other inits, each border is a DISCONTINUITY with a MAP of its own, which costs hls.js two frames.

    It counts anew from the first picture's DTS, steps over the hole, and does not say `ended` behind the last picture.
    """
    prefix, breaks = made_by_two_builds(studio, bucket, media.odd_build(tmp_path / "ffmpeg"))
    assert breaks == 2
    player = Player(bucket, prefix)
    with browser_support.playing(player, tmp_path, "rate=3"):
        player.wait(lambda: player.at > SECONDS - 0.1, START_SECONDS + SECONDS, "it does not play to the end")
    (_, first), (second, later), (third, _) = player.reports[-1]["buffered"]
    assert (first, second, later, third) == pytest.approx((4, 4.1, 10.1, 10.2), abs=0.1)
    assert max(second - first, third - later) < 0.1


def test_a_signature_that_is_renewed_does_not_stall_the_player(
    studio: Studio, bucket: media.WatchedStore, tmp_path: Path
) -> None:
    """The first address expires while the lecture plays; everything afterwards is asked for with the next ones."""
    assert studio.work(3) == ["video.chunk"] * 3
    publication = studio.list_chunks()
    assert publication.playable_seconds == SECONDS
    player = Player(bucket, publication.output_prefix, grant_seconds=GRANT_SECONDS)
    with browser_support.playing(player, tmp_path, "renew=1&rate=1"):
        player.wait(lambda: bool(player.of("playing")), START_SECONDS, "it does not play")
        assert player.of("playing")[0]["at"] < 0.5, "it begins near the end of what there is"
        assert studio.work() == ["video.publish"]
        assert studio.list_chunks().state == State.READY
        player.wait(lambda: bool(player.of("ended")), START_SECONDS + SECONDS, "it does not reach the end")
    assert stalls(player) == []
    assert len(player.of("grant")) > 3
    assert {status for _, status, _ in player.answers} == {200}


def test_without_a_renewal_the_player_is_refused(studio: Studio, bucket: media.WatchedStore, tmp_path: Path) -> None:
    """The test before this one proves something: the same page with the first address alone does not get through."""
    studio.work(4)
    publication = studio.list_chunks()
    player = Player(bucket, publication.output_prefix, grant_seconds=GRANT_SECONDS)
    with browser_support.playing(player, tmp_path, "rate=1"):
        refused = lambda: any(each.get("status") == 403 for each in player.of("error"))  # noqa: E731
        player.wait(refused, START_SECONDS + SECONDS, "it is not refused")
    assert not player.of("ended")
    names = {name for name, status, _ in player.answers if status == 403}
    assert playlists.MASTER not in names
