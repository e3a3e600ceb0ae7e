"""The operator through kubectl, as whoever runs the platform uses it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import exam_e2e
import platform_e2e
import pytest
from cluster.kubectl import Refused
from platform_e2e import Platform
from support import wait_until

from academy_local import client

QUEUES = "queues.academy.hakwonplus.com"
NAME = "academy-e2e-jobs"
LITE = platform_e2e.QUEUES["lite"]
PAUSED = "autoscaling.keda.sh/paused-replicas"
WAIT_SECONDS = 180
WORK_SECONDS = 300


def queue(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "academy.hakwonplus.com/v1alpha1",
        "kind": "Queue",
        "metadata": {"name": NAME},
        "spec": spec,
    }


@pytest.fixture
def made(platform: Platform) -> Iterator[str]:
    """A Queue of the test's own; its URL."""
    platform.run.apply(queue(visibilityTimeout=60, deletionPolicy="Delete", forceDestroy=True))
    platform.run.await_condition(f"{QUEUES}/{NAME}", "Ready", WAIT_SECONDS)
    yield str(platform.run.get(QUEUES, NAME)["status"]["url"])
    platform.run("delete", QUEUES, NAME, "--ignore-not-found", timeout=WAIT_SECONDS)


def test_created_edited_deleted(platform: Platform, made: str) -> None:
    sqs = platform.sqs()
    name = made.rpartition("/")[2]
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]

    def attribute(key: str) -> str:
        return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"][key])

    assert attribute("VisibilityTimeout") == "60"
    patch = json.dumps({"spec": {"visibilityTimeout": 120}})
    platform.run("patch", QUEUES, NAME, "--type=merge", "-p", patch)
    wait_until(lambda: attribute("VisibilityTimeout") == "120", WAIT_SECONDS, "the edit reaches the queue")
    platform.run("delete", QUEUES, NAME, timeout=WAIT_SECONDS)
    assert not sqs.list_queues(QueueNamePrefix=NAME).get("QueueUrls")


def test_a_mistake_is_refused_at_once_with_a_reason(platform: Platform) -> None:
    with pytest.raises(Refused, match="visibilityTimeout"):
        platform.run.apply(queue(visibilityTimeout=-1))


@pytest.mark.usefixtures("made")
def test_dead_letters_are_redriven_to_success(platform: Platform) -> None:
    sqs = platform.sqs()
    status = platform.run.get(QUEUES, NAME)["status"]
    dead, live = (sqs.get_queue_url(QueueName=status[key].rpartition("/")[2])["QueueUrl"] for key in ("dlqUrl", "url"))
    for number in range(3):
        sqs.send_message(QueueUrl=dead, MessageBody=str(number))
    wait_until(lambda: columns(platform).get("DLQ") == "3", WAIT_SECONDS, "kubectl get shows the dead letters")
    redrive(platform, NAME)
    bodies: set[str] = set()

    def received() -> bool:
        told = sqs.receive_message(QueueUrl=live, MaxNumberOfMessages=10)
        bodies.update(message["Body"] for message in told.get("Messages", []))
        return bodies == {"0", "1", "2"}

    wait_until(received, WAIT_SECONDS, "every dead letter is back in the queue")
    wait_until(lambda: columns(platform).get("DLQ") == "0", WAIT_SECONDS, "kubectl get shows none")


def test_a_dead_task_is_redriven_to_success(platform: Platform, director: client.Client) -> None:
    """The store is away, its only attempt fails; its death lies in the DLQ, and redriven it is done by the worker."""
    exam = exam_e2e.make(director)
    (uploaded,) = exam.upload(1)
    with ExitStack() as away:
        with paused(platform, "cpu"):
            exam.grade_one(uploaded.sheets[0])
            allow_failures(platform, uploaded.sheets[0], 1)
            away.enter_context(platform.cut_off("academy-dev-store"))
        wait_until(lambda: exam.states(uploaded)["failed"] == 1, WORK_SECONDS, "the task is dead")
    wait_until(lambda: columns(platform, LITE).get("DLQ") == "1", WAIT_SECONDS, "kubectl get shows its death")
    allow_failures(platform, uploaded.sheets[0], 5)
    redrive(platform, LITE)
    wait_until(lambda: exam.states(uploaded)["graded"] == 1, WORK_SECONDS, "the redriven task is done")
    (task,) = platform.query(
        "SELECT state, generation, crashes FROM ledger_task WHERE job_id ="
        " (SELECT job FROM exams_sheet WHERE id = :'sheet')",
        sheet=uploaded.sheets[0],
    )
    assert task == {"state": "succeeded", "generation": "2", "crashes": "0"}
    (result,) = exam.results()
    assert result["answers"]["Student"] == exam.made[0].truth["Student"]
    wait_until(lambda: columns(platform, LITE).get("DLQ") == "0", WAIT_SECONDS, "kubectl get shows none")
    wait_until(lambda: platform.workers("cpu") == [], WAIT_SECONDS, "no worker is left")
    exam.delete()


@contextmanager
def paused(platform: Platform, worker: str) -> Iterator[None]:
    """It has no pod, and KEDA starts none."""
    scaled = f"scaledobject/{platform_e2e.WORKERS[worker]}"
    platform.run("annotate", scaled, f"{PAUSED}=0")
    try:
        # Written last; the condition Paused comes before the loop over the queues ends.
        platform.run(
            "wait", "--for=jsonpath={.status.pausedReplicaCount}=0", scaled, f"--timeout={WAIT_SECONDS}s",
            timeout=2 * WAIT_SECONDS,
        )  # fmt: skip
        wait_until(lambda: platform.workers(worker) == [], WAIT_SECONDS, "no worker is left")
        yield
    finally:
        platform.run("annotate", scaled, f"{PAUSED}-")


def allow_failures(platform: Platform, sheet: str, count: int) -> None:
    """So many make a task of the sheet's dead."""
    platform.query(
        "UPDATE ledger_task SET max_failures = :'count' WHERE job_id ="
        " (SELECT job FROM exams_sheet WHERE id = :'sheet')",
        sheet=sheet,
        count=str(count),
    )


def redrive(platform: Platform, name: str) -> None:
    """All dead letters of a queue go back to it."""
    platform.run("patch", QUEUES, name, "--type=merge", "-p", json.dumps({"spec": {"redrive": {"token": "one"}}}))
    phase = "--for=jsonpath={.status.redrive.phase}=Completed"
    platform.run("wait", phase, f"{QUEUES}/{name}", f"--timeout={WAIT_SECONDS}s", timeout=2 * WAIT_SECONDS)


@pytest.mark.usefixtures("made")
def test_columns(platform: Platform) -> None:
    shown = columns(platform)
    assert list(shown)[:4] == ["NAME", "READY", "DEPTH", "INFLIGHT"]
    assert (shown["NAME"], shown["READY"]) == (NAME, "True")


def columns(platform: Platform, queue: str = NAME) -> dict[str, str]:
    """What `kubectl get` prints of a queue: header → value; a value that is missing shifts none before it."""
    header, row = platform.run("get", QUEUES, queue).splitlines()
    names = header.split()
    starts = [header.index(name) for name in names]
    ends = [*starts[1:], None]
    return {name: row[start:end].strip() for name, start, end in zip(names, starts, ends, strict=True)}
