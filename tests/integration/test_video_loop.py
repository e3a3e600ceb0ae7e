"""The video worker's handlers in the worker loop: plan, chunks, publish over fake ledger and queue, real ffmpeg."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import media
import pytest
from support import wait_until

from academy_core.consumer import Consumer
from academy_core.kinds import Queue
from academy_core.ledger import NewTask
from academy_core.ledger_fake import FakeJob, FakeLedger
from academy_core.messages import Bell
from academy_core.slot import WorkerOptions
from academy_core.sqs_fake import FakeSqs
from academy_core.tasks import Handler, Outcome, TaskContext
from academy_core.video import CHUNK, KINDS, PLAN, PublishResult
from academy_video import ladder, plan, tasks

RULES = plan.Rules(
    segment_seconds=2, min_segments=3, steps=(ladder.Step(120, 23, 200_000, 400_000),), chunk_seconds=(4,)
)
SQS_NAME = "video"


@dataclass
class Platform:
    """Ledger, queue and store, and the workers started on them."""

    store: media.WatchedStore
    folder: Path
    late: timedelta = timedelta(0)
    """By how much the ledger's clock is ahead."""
    sqs: FakeSqs = field(default_factory=lambda: FakeSqs(SQS_NAME))

    def __post_init__(self) -> None:
        self.ledger = FakeLedger(
            KINDS,
            clock=lambda: datetime.now(UTC) + self.late,
            ring=self._ring,
        )

    def _ring(self, bell: Bell) -> None:
        self.sqs.send(SQS_NAME, [bell.model_dump_json()])

    def submit(self, path: Path) -> FakeJob:
        return self.ledger.submit(NewTask.of(PLAN, media.upload_source(self.store, path)))

    def handlers(self) -> list[Handler]:
        return tasks.handlers(media.Worker(self.store, self.folder, RULES).tools, RULES, 5)

    def attempts(self) -> list[tuple[str, int]]:
        """(kind, attempts) of every task, in the order they were made."""
        return [(task.kind.name, task.attempt) for task in self.ledger.tasks.values()]

    @contextmanager
    def worker(self, name: str, handlers: list[Handler], **options: Any) -> Iterator[Consumer]:
        """A running worker, stopped and joined at the end of the block."""
        settings: dict[str, Any] = {
            "worker": name,
            "queues": {Queue.VIDEO: SQS_NAME},
            "weights": {Queue.VIDEO: 1},
            "wait_seconds": 1,
            "grace_seconds": 0.0,
            "heartbeat_seconds": 0.2,
        }
        consumer = Consumer(self.sqs, self.ledger, handlers, WorkerOptions(**settings | options))
        consumer.start()
        try:
            yield consumer
        finally:
            consumer.stop()
            assert consumer.join(60), "the worker did not stop"


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    folder = tmp_path / "worker"
    folder.mkdir()
    yield Platform(media.WatchedStore(), folder)
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def lecture(tmp_path_factory: pytest.TempPathFactory) -> media.Numbered:
    return media.numbered_lecture(tmp_path_factory.mktemp("lecture") / "lecture.mp4", Fraction(30), 12)


def published(platform: Platform, job: FakeJob) -> dict[str, bytes]:
    """Every file of the finished job by name; fails unless the result says they are all there."""
    assert job.state == "succeeded", job.reason
    result = PublishResult.model_validate(job.result)
    files = {key: found.data for key, found in platform.store.objects.items() if key.startswith(job.output_prefix)}
    assert result.segments == 6
    assert result.bytes == sum(map(len, files.values()))
    return files


def test_two_workers_publish_a_lecture(platform: Platform, lecture: media.Numbered) -> None:
    job = platform.submit(lecture.path)
    with platform.worker("a", platform.handlers()), platform.worker("b", platform.handlers()):
        wait_until(lambda: job.state != "running", 120, "the job did not end")
    published(platform, job)
    assert platform.attempts() == [("video.plan", 1), *[("video.chunk", 1)] * 3, ("video.publish", 1)]


def test_a_bad_file_fails_the_job_at_once(platform: Platform, tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_bytes(b"these are notes, not a lecture\n" * 50)
    job = platform.submit(path)
    with platform.worker("a", platform.handlers()):
        wait_until(lambda: job.state != "running", 60, "the job did not end")
    assert job.state == "failed"
    assert platform.attempts() == [("video.plan", 1)]
    assert platform.ledger.deaths == []


def test_a_worker_told_to_stop_hands_back_its_chunk_and_only_that_is_redone(
    platform: Platform, lecture: media.Numbered
) -> None:
    job = platform.submit(lecture.path)
    reached = threading.Event()
    with platform.worker("a", holding(platform, reached, platform.store.open.clear)):
        assert reached.wait(60)
    platform.store.open.set()
    with platform.worker("b", platform.handlers()):
        wait_until(lambda: job.state != "running", 120, "the job did not end")
    published(platform, job)
    assert sorted(attempt for kind, attempt in platform.attempts() if kind == CHUNK.name) == [1, 1, 2]
    assert all(task.crashes == task.failures == 0 for task in platform.ledger.tasks.values())


def test_a_zombie_worker_costs_one_chunk_and_changes_no_byte(platform: Platform, lecture: media.Numbered) -> None:
    """It hangs past its lease in its second chunk, another worker redoes that one, and it comes back after publish."""
    job = platform.submit(lecture.path)
    reached, awake = threading.Event(), threading.Event()

    def sleep() -> None:
        awake.wait(120)

    with platform.worker("a", holding(platform, reached, sleep), heartbeat_seconds=3600, grace_seconds=60):
        try:
            assert reached.wait(60)
            platform.late = timedelta(seconds=60)
            platform.ledger.expire()
            with platform.worker("b", platform.handlers()):
                wait_until(lambda: job.state != "running", 120, "the job did not end")
            before = published(platform, job)
            writes = len(platform.store.writes)
        finally:
            awake.set()
        wait_until(lambda: len(platform.store.writes) > writes, 60, "the zombie did not come back")
    assert published(platform, job) == before
    assert sorted(attempt for kind, attempt in platform.attempts() if kind == CHUNK.name) == [1, 1, 2]
    assert sum(task.crashes for task in platform.ledger.tasks.values()) == 1


def holding(platform: Platform, reached: threading.Event, hold: Any) -> list[Handler]:
    """The handlers, but `hold` is called before the lecture's second chunk is made."""

    def before(handler: Handler) -> Handler:
        def run(context: TaskContext[Any]) -> Outcome:
            if handler.kind is CHUNK and context.input.index == 1:
                reached.set()
                hold()
            return handler.run(context)

        return Handler(handler.kind, run)

    return [before(handler) for handler in platform.handlers()]
