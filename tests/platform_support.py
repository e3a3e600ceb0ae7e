"""A whole embedded platform for the fault tests: a thread supervises it, tests take its parts away and look at all.

`Platform.assert_sound` is what has to hold after every fault: playlists complete and readable, every task done once,
no row stuck, no dead letter, no temporary file.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import m3u8
import psutil
import psycopg2
import support
from support import wait_until

from academy_core.messages import Bell
from academy_local import client, environment, home, roles, supervisor
from academy_local.servers import postgres, s3, sqs

READY_SECONDS = 240.0
VIDEO_QUEUE = "academy-video-jobs"


@dataclass(frozen=True)
class Source:
    """A moving picture with a tone. Its length is a whole number of six-second segments."""

    seconds: int
    size: str
    rate: int = 25


SHORT = Source(36, "640x360")
"""Three chunks; the last two take a worker seconds each: long enough to be caught in the middle of one."""
LONG = Source(60, "854x480")
HEAVY = Source(36, "1280x720")
"""Two renditions: its second chunk takes a worker much longer than a heartbeat's interval."""


def fetched(address: str, method: str = "GET") -> httpx.Response:
    """An answer that is no error, waited for as long as a busy machine takes."""
    return httpx.request(method, address, timeout=60).raise_for_status()


@dataclass(frozen=True)
class TaskRow:
    """One row of the ledger's tasks."""

    id: int
    kind: str
    state: str
    attempt: int
    failures: int
    crashes: int
    worker: str
    position: int


def draw(source: Source, target: Path) -> Path:
    """Write the source as H.264 and AAC."""
    command = [
        *("ffmpeg", "-hide_banner", "-nostdin", "-v", "error"),
        *("-f", "lavfi", "-i", f"testsrc2=size={source.size}:rate={source.rate}:duration={source.seconds}"),
        *("-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=48000:duration={source.seconds}"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac", str(target)),
    ]
    subprocess.run(command, check=True)
    return target


def undecodable(file: Path, target: Path, *words: str) -> Path:
    """The file with zeroes in place of its pictures: whatever looks at headers alone takes it for a lecture."""
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-i", str(file), "-c", "copy", *words, str(target)]
    subprocess.run(command, check=True)
    show = ["-select_streams", "v", "-show_entries", "packet=pos,size", "-of", "csv=p=0", str(target)]
    listed = subprocess.run(["ffprobe", "-v", "error", *show], check=True, capture_output=True, text=True).stdout
    data = bytearray(target.read_bytes())
    for size, at in (map(int, line.split(",")[:2]) for line in listed.split()):
        data[at : at + size] = bytes(size)
    target.write_bytes(data)
    return target


class Platform:
    """One running platform, its director signed in."""

    def __init__(self, place: home.Home, parts: supervisor.Supervisor, file: Path, source: Source) -> None:
        self.place, self.parts, self.file, self.source = place, parts, file, source
        identity = place.identity()
        self._database = postgres.Postgres(
            place.folder / "postgres", identity.addresses.postgres, identity.secrets.database
        )
        self.sqs = sqs.Sqs(identity.addresses.sqs).client()
        secrets = identity.secrets
        self.s3 = s3.S3(place.folder / "s3", identity.addresses.s3, secrets.store_access, secrets.store_secret).client()
        self.api = client.Client(environment.url(identity.addresses.api))
        self.api.sign_in(home.DIRECTOR_EMAIL, identity.secrets.director)

    # Lectures

    def submit(self, title: str, file: Path | None = None) -> str:
        """Upload the source, or another file; return the lecture's id as soon as its job is submitted."""
        chosen = file or self.file
        lecture = self.api.create(chosen, title)
        self.api.upload(lecture, chosen)
        return lecture

    def finish(self, lecture: str) -> None:
        """Wait until the lecture is ready; client.Refused when it fails."""
        *_, last = self.api.watch(lecture, READY_SECONDS)
        assert last.state == "ready"

    # The ledger

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the platform's database."""
        with (
            closing(psycopg2.connect(self._database.dsn(environment.DATABASE))) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(query, values)
            return cursor.fetchall()

    def age_ready(self, seconds: int) -> None:
        """Make every ready task have been ready for so many seconds longer."""
        self._change(
            "UPDATE ledger_task SET ready_at = ready_at - %s * interval '1 second' WHERE state = 'ready'", seconds
        )

    def bury_now(self, lecture: str) -> None:
        """Make the removal of the lecture's publications, if it is decided, due at once."""
        self._change("UPDATE lectures_tombstone SET due_at = now() WHERE output_prefix LIKE %s", f"%/{lecture}/%")

    def _change(self, statement: str, *values: object) -> None:
        with (
            closing(psycopg2.connect(self._database.dsn(environment.DATABASE))) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, values)

    def objects(self, lecture: str) -> list[str]:
        """Keys of all that the bucket of videos holds of the lecture: its source and what was made of it."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=environment.VIDEO_BUCKET)
        return [
            str(found["Key"]) for page in pages for found in page.get("Contents", []) if lecture in str(found["Key"])
        ]

    def job(self, lecture: str) -> str:
        """Id of the lecture's newest job."""
        query = "SELECT job FROM lectures_publication WHERE lecture_id = %s ORDER BY created_at DESC LIMIT 1"
        return str(self.rows(query, lecture)[0][0])

    def tasks(self, lecture: str) -> list[TaskRow]:
        """The tasks of the lecture's job, in the order of their creation."""
        columns = "id, kind, state, attempt, failures, crashes, worker, position"
        found = self.rows(f"SELECT {columns} FROM ledger_task WHERE job_id = %s ORDER BY id", self.job(lecture))  # noqa: S608 - constant columns
        return [TaskRow(*row) for row in found]

    def state(self, task: int) -> str:
        """A task's state."""
        return str(self.rows("SELECT state FROM ledger_task WHERE id = %s", task)[0][0])

    def claimed_chunk(self, lecture: str) -> TaskRow:
        """Wait for a chunk that a worker is at work on."""
        found: list[TaskRow] = []

        def look() -> bool:
            found[:] = [task for task in self.tasks(lecture) if (task.kind, task.state) == ("video.chunk", "claimed")]
            return bool(found)

        wait_until(look, READY_SECONDS, "no chunk is claimed")
        return found[0]

    def encoders(self, worker: str) -> list[psutil.Process]:
        """The worker's ffmpeg processes that run now."""
        return [
            child for child in psutil.Process(self.parts.pid(worker)).children() if support.running(child, "ffmpeg")
        ]

    def caught_mid_chunk(self, lecture: str, number: signal.Signals) -> TaskRow:
        """Send a signal to a worker while it makes a chunk: its encoder runs, so no report of the end is on its way."""
        while True:
            task = self.claimed_chunk(lecture)
            worker = self.parts.pid(task.worker)
            os.kill(worker, signal.SIGSTOP)
            now = next(row for row in self.tasks(lecture) if row.id == task.id)
            making = (now.state, now.attempt) == (task.state, task.attempt) and self.encoders(task.worker)
            if making:
                os.kill(worker, number)
            if not making or number is signal.SIGTERM:  # which a stopped process heeds when it goes on
                os.kill(worker, signal.SIGCONT)
            if making:
                return task

    # Queues

    def ring_twice(self, task: int) -> None:
        """Two more bells for a task, as SQS may deliver one more than once."""
        bell = Bell.model_validate({"queue": "video", "task": task, "enqueued_at": "2026-01-01T00:00:00Z"})
        for _ in range(2):
            self.sqs.send_message(QueueUrl=self._url(VIDEO_QUEUE), MessageBody=bell.model_dump_json())

    def lose_bells(self) -> None:
        """Throw away every message, those in flight included."""
        self.sqs.purge_queue(QueueUrl=self._url(VIDEO_QUEUE))

    def forget_bells(self) -> None:
        """Restart the emulator, which keeps nothing. It can be purged only once a minute, as SQS itself."""
        self.parts.take_down("sqs")
        self.parts.bring_back("sqs")

    def depth(self, queue: str, which: str = "") -> int:
        """Messages that are visible in a queue, or those that are `NotVisible`."""
        found = self.sqs.get_queue_attributes(QueueUrl=self._url(queue), AttributeNames=["All"])["Attributes"]
        return int({str(key): value for key, value in found.items()}[f"ApproximateNumberOfMessages{which}"])

    def bells(self) -> int:
        """Bells on the video queue, in flight or not: a long poll of a worker that is gone may hold one."""
        return self.depth(VIDEO_QUEUE) + self.depth(VIDEO_QUEUE, "NotVisible")

    def _url(self, queue: str) -> str:
        return self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]

    # What has to hold after every fault

    def log(self, name: str) -> str:
        """A process's log."""
        return (self.place.logs / f"{name}.log").read_text()

    def published(self, lecture: str) -> dict[str, str]:
        """Every file that the lecture's playlists name, playlists included, with its ETag or text."""
        url = str(self.api.playback(lecture)["url"])
        master = m3u8.loads(fetched(url).text)
        files: dict[str, str] = {}
        for uri in {*(each.uri for each in master.playlists), *(each.uri for each in master.media if each.uri)}:
            address = urljoin(url, uri)
            text = fetched(address).text
            files[address.partition("?")[0]] = text.replace(address.partition("?")[2], "")
            playlist = m3u8.loads(text)
            assert playlist.is_endlist, uri
            assert abs(sum(segment.duration for segment in playlist.segments) - self.source.seconds) < 0.1, uri
            names = [segment.uri for segment in playlist.segments]
            assert len(names) == len(set(names)) == self.source.seconds // 6, uri
            for name in {*names, playlist.segments[0].init_section.uri}:
                target = urljoin(address, name)
                files[target.partition("?")[0]] = fetched(target, "HEAD").headers["etag"]
        return files

    def assert_sound(self, lecture: str) -> None:
        """The lecture is complete and nothing is left over."""
        assert self.published(lecture)
        assert _probe(str(self.api.playback(lecture)["url"])) == self.source.seconds * self.source.rate
        tasks = self.tasks(lecture)
        assert {task.state for task in tasks} == {"succeeded"}
        assert [task.kind for task in tasks].count("video.plan") == 1
        assert [task.kind for task in tasks].count("video.publish") == 1
        chunks = [task.position for task in tasks if task.kind == "video.chunk"]
        assert sorted(chunks) == list(range(len(chunks)))
        assert self.rows("SELECT state FROM ledger_job WHERE id = %s", self.job(lecture)) == [("succeeded",)]
        assert self.rows("SELECT id FROM ledger_task WHERE state IN ('ready', 'claimed', 'waiting', 'dead')") == []
        wait_until(lambda: self.rows("SELECT id FROM ledger_outbox") == [], 30, "a bell is stuck in the outbox")
        wait_until(lambda: self.depth(VIDEO_QUEUE) == 0, 60, "a bell is never taken")
        assert self.depth(f"{VIDEO_QUEUE}-dlq") == 0
        wait_until(lambda: self.temporary_files() == [], 30, "a temporary file is left")

    def temporary_files(self) -> list[Path]:
        """What lies in the workers' scratch folders."""
        return [path for path in self.place.scratch.rglob("*") if path.is_file()]


def _probe(url: str) -> int:
    """How many pictures an independent reader finds in the largest rendition; it must have nothing to say."""
    show = ["-select_streams", "v:0", "-count_packets", "-show_entries", "stream=nb_read_packets"]
    result = subprocess.run(
        ["ffprobe", "-v", "warning", *show, "-of", "default=nw=1:nk=1", url], check=True, capture_output=True, text=True
    )
    assert result.stderr == ""
    return int(result.stdout.split()[0])


@contextmanager
def running(
    folder: Path,
    file: Path,
    source: Source,
    workers: roles.Workers = roles.Workers(),  # noqa: B008 - immutable
) -> Iterator[Platform]:
    """A platform in this process's care: started, then stopped with all its processes."""
    place = home.Home(folder)
    place.identity()
    parts = supervisor.Supervisor(place, roles.stages(place, workers))
    failures: list[BaseException] = []

    def run() -> None:
        try:
            parts.run()
        except Exception as error:  # noqa: BLE001 - handed to the test below
            failures.append(error)

    thread = threading.Thread(target=run, name="supervisor")
    thread.start()
    try:
        wait_until(lambda: _phase(place) == "up", 240, "the platform is not up", thread.is_alive)
        platform = Platform(place, parts, file, source)
        try:
            yield platform
        finally:
            platform.api.close()
    finally:
        parts.stop()
        thread.join(120)
    assert not thread.is_alive()
    assert failures == []


def _phase(place: home.Home) -> str:
    state = place.state()
    return state.phase if state else ""
