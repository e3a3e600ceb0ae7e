"""The AI workers in the worker loop, over fakes but for the children: files, failures, fairness, continuations."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from ai_made import spec
from support import wait_until

from academy_ai import files, tasks
from academy_ai.host import Host, Life
from academy_ai.kind import kinds_of
from academy_core.consumer import Consumer
from academy_core.errors import Permanent, Retryable
from academy_core.kinds import Payload, Queue, TaskKind
from academy_core.ledger import NewTask
from academy_core.ledger_fake import FakeJob, FakeLedger
from academy_core.slot import WorkerOptions
from academy_core.sqs_fake import FakeSqs
from academy_core.store_fake import FakeStore

TESTS = Path(__file__).parents[1]
QUEUES = {Queue.AI_BASIC: "basic", Queue.AI_LITE: "lite"}
LONG = 60.0


class Platform:
    """Fakes of ledger, queues and buckets; workers with real children on them."""

    def __init__(self, folder: Path) -> None:
        self.ai, self.video, self.folder = FakeStore("ai"), FakeStore("video"), folder
        self.sqs = FakeSqs(*QUEUES.values())
        self.ledger = FakeLedger(
            [kind.task for kind in kinds_of("ai_made")],
            ring=lambda bell: self.sqs.send(QUEUES[bell.queue], [bell.model_dump_json()]) and None,
        )

    def submit(self, kind: TaskKind, task: Payload) -> FakeJob:
        return self.ledger.submit(NewTask.of(kind, task))

    def wait(self, *jobs: FakeJob, message: str = "the jobs did not end") -> None:
        def done() -> bool:
            self.ledger.relay()  # bells of tasks whose backoff is over
            return all(job.state != "running" for job in jobs)

        wait_until(done, LONG, message)

    @contextmanager
    def worker(
        self, weights: Mapping[Queue, int] | None = None, life: Life | None = None, **options: float
    ) -> Iterator[Consumer]:
        host = Host(life or Life(100, 1 << 30, 2 << 30), self.folder)
        tools = tasks.Tools(self.ai, self.video, host, self.folder)
        settings = {"wait_seconds": 0.2, "grace_seconds": 0.0, "heartbeat_seconds": 0.1} | options
        consumer = Consumer(
            self.sqs,
            self.ledger,
            tasks.handlers(tools, kinds_of("ai_made")),
            WorkerOptions("w", QUEUES, weights or {Queue.AI_BASIC: 1}, **settings),  # type: ignore[arg-type]
        )
        consumer.start()
        try:
            yield consumer
        finally:
            consumer.stop()
            assert consumer.join(30)
            host.close()


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    yield Platform(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_sources_come_from_both_buckets_and_artefacts_go_under_the_jobs_prefix(platform: Platform) -> None:
    platform.ai.put("exams/1/words.txt", "안녕, ".encode(), content_type="text/plain")
    platform.video.put("v/1/audio.m3u8", b'#EXTM3U\n#EXT-X-MAP:URI="i.mp4"\na.m4s\nb.m4s\n', content_type="x")
    for name, data in (("i.mp4", b"1"), ("a.m4s", b"2"), ("b.m4s", b"3")):
        platform.video.put(f"v/1/{name}", data, content_type="x")
    job = platform.submit(spec.KIND, spec.Text(source="exams/1/words.txt", lecture="v/1/audio.m3u8"))
    with platform.worker():
        platform.wait(job)
    assert job.state == "succeeded", job.reason
    assert platform.ai.get(f"{job.output_prefix}said.txt").decode() == "안녕, 123"


def test_children_read_what_their_parent_made_and_then_gets_their_results(platform: Platform) -> None:
    job = platform.submit(spec.SPLIT, spec.Split(words=("a", "b", "c")))
    with platform.worker():
        platform.wait(job)
    assert job.result is not None
    assert job.result["text"] == "abc"


def test_both_full_are_served_three_to_one(platform: Platform) -> None:
    for _ in range(60):
        platform.submit(spec.KIND, spec.Text())
        platform.submit(spec.LITE, spec.Text())
    with platform.worker({Queue.AI_BASIC: 3, Queue.AI_LITE: 1}):
        wait_until(lambda: len(ended(platform)) >= 60, LONG, "60 tasks")
        counts = Counter(ended(platform)[:60])
    assert abs(counts["made.text"] - 45) <= 3, counts


def ended(platform: Platform) -> list[str]:
    """Kinds of the tasks that succeeded, in the order in which they were claimed."""
    done = [task for task in platform.ledger.tasks.values() if task.state == "succeeded" and task.claim is not None]
    return [task.kind.name for task in sorted(done, key=lambda task: task.claim.claimed_at)]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [spec.KIND, spec.LITE])
def test_one_queue_alone_is_served_without_pause(platform: Platform, kind: TaskKind) -> None:
    with platform.worker({Queue.AI_BASIC: 3, Queue.AI_LITE: 1}, wait_seconds=10 * LONG) as consumer:
        jobs = [platform.submit(kind, spec.Text()) for _ in range(10)]
        platform.wait(*jobs, message="ten tasks waited for the other queue's long poll")
        consumer.stop()
        for name in QUEUES.values():  # ends the long polls that are still out
            platform.sqs.send(name, ["wake"])


@pytest.mark.parametrize("how", ["abort", "segfault"])
def test_a_crash_is_a_failure_of_its_own_task_alone(platform: Platform, how: str) -> None:
    bad = platform.submit(spec.TROUBLE, spec.Trouble(how=how))  # type: ignore[arg-type]
    good = [platform.submit(spec.KIND, spec.Text(seconds=0.2)) for _ in range(4)]
    with platform.worker(slots=2):
        platform.wait(bad, *good)
    assert [job.state for job in good] == ["succeeded"] * 4
    assert bad.state == "failed"
    trouble = next(task for task in platform.ledger.tasks.values() if task.kind is spec.TROUBLE)
    assert (trouble.state, trouble.failures, trouble.crashes) == ("dead", 2, 0)
    assert {task.attempt for task in platform.ledger.tasks.values() if task.kind is spec.KIND} == {1}


def test_a_hang_ends_with_its_time_and_the_next_task_runs(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = platform.submit(spec.TROUBLE, spec.Trouble(how="hang"))
    (hanging,) = platform.ledger.tasks
    claim = platform.ledger.claim

    def quick(request: object) -> object:
        answer = claim(request)  # type: ignore[arg-type]
        if answer.task is not None and answer.task.task == hanging:
            return answer.model_copy(update={"task": answer.task.model_copy(update={"max_seconds": 1})})
        return answer

    monkeypatch.setattr(platform.ledger, "claim", quick)
    with platform.worker():
        platform.wait(bad)
        good = platform.submit(spec.KIND, spec.Text())
        platform.wait(good)
    assert (bad.state, good.state) == ("failed", "succeeded")


@pytest.mark.parametrize("how", ["link", "escape", "absent", "lie"])
def test_a_child_that_cannot_be_trusted_gets_nothing_uploaded(platform: Platform, how: str) -> None:
    bad = platform.submit(spec.TROUBLE, spec.Trouble(how=how))  # type: ignore[arg-type]
    (task,) = platform.ledger.tasks.values()
    with platform.worker():
        wait_until(lambda: task.failures == 1, LONG, "the task did not fail")
    assert bad.state == "running"  # it is tried again
    assert platform.ai.objects == {}


def test_what_the_kind_refuses_fails_the_job_at_once(platform: Platform) -> None:
    bad = platform.submit(spec.TROUBLE, spec.Trouble(how="refuse"))
    gone = platform.submit(spec.KIND, spec.Text(source="not/there"))
    with platform.worker():
        platform.wait(bad, gone)
    assert (bad.reason, gone.reason) == ("no-page", "source-gone")
    assert {task.attempt for task in platform.ledger.tasks.values()} == {1}
    assert platform.ledger.deaths == []


def test_a_cancel_kills_the_child_and_a_stop_hands_the_task_back(platform: Platform) -> None:
    cancelled = platform.submit(spec.KIND, spec.Text(seconds=600))
    with platform.worker():
        wait_until(lambda: progressed(platform, cancelled), LONG, "it never began")
        platform.ledger.cancel(cancelled.id)
        stopped = platform.submit(spec.KIND, spec.Text(seconds=600))
        wait_until(lambda: progressed(platform, stopped), LONG, "the cancelled task holds the worker")
    task = next(task for task in platform.ledger.tasks.values() if task.job is stopped)
    assert (task.state, task.failures, task.crashes) == ("ready", 0, 0)


def progressed(platform: Platform, job: FakeJob) -> bool:
    found = [task.progress for task in platform.ledger.tasks.values() if task.job is job]
    return found[0] is not None and found[0].percent == 50


def test_an_api_that_is_away_costs_no_attempt(platform: Platform) -> None:
    job = platform.submit(spec.KIND, spec.Text(seconds=1))
    with platform.worker(backoff_base=0.05, backoff_cap=0.1):
        wait_until(lambda: progressed(platform, job), LONG, "it never began")
        platform.ledger.available = False
        back = threading.Timer(3, lambda: setattr(platform.ledger, "available", True))
        back.start()
        platform.wait(job)
        back.join()
    assert job.state == "succeeded"
    assert [(task.attempt, task.failures) for task in platform.ledger.tasks.values()] == [(1, 0)]


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../x", "a//b", "./a", "folder"])
def test_artefacts_have_plain_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(Retryable):
        files.inside(tmp_path, name)


def test_an_artefact_below_a_linked_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to("/etc")
    with pytest.raises(Retryable, match="link"):
        files.inside(tmp_path, "folder/passwd")


def test_sources_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FakeStore()
    store.put("big", b"x" * 100, content_type="x")
    monkeypatch.setattr(files, "MAX_BYTES", 99)
    with pytest.raises(Permanent) as refused:
        files.fetch(store, ["big"], tmp_path, lambda: None)
    assert refused.value.reason.code == "source-too-large"
