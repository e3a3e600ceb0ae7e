"""The operator through kubectl, as whoever runs the platform uses it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cluster.kubectl import Refused
from platform_e2e import Platform
from support import wait_until

QUEUES = "queues.academy.hakwonplus.com"
NAME = "academy-e2e-jobs"
WAIT_SECONDS = 90


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
    platform.run("patch", QUEUES, NAME, "--type=merge", "-p", json.dumps({"spec": {"redrive": {"token": "one"}}}))
    phase = "--for=jsonpath={.status.redrive.phase}=Completed"
    platform.run("wait", phase, f"{QUEUES}/{NAME}", f"--timeout={WAIT_SECONDS}s", timeout=2 * WAIT_SECONDS)
    bodies: set[str] = set()

    def received() -> bool:
        told = sqs.receive_message(QueueUrl=live, MaxNumberOfMessages=10)
        bodies.update(message["Body"] for message in told.get("Messages", []))
        return bodies == {"0", "1", "2"}

    wait_until(received, WAIT_SECONDS, "every dead letter is back in the queue")
    wait_until(lambda: columns(platform).get("DLQ") == "0", WAIT_SECONDS, "kubectl get shows none")


@pytest.mark.usefixtures("made")
def test_columns(platform: Platform) -> None:
    shown = columns(platform)
    assert list(shown)[:4] == ["NAME", "READY", "DEPTH", "INFLIGHT"]
    assert (shown["NAME"], shown["READY"]) == (NAME, "True")


def columns(platform: Platform) -> dict[str, str]:
    """What `kubectl get` prints of the queue: header → value; a value that is missing shifts none before it."""
    header, row = platform.run("get", QUEUES, NAME).splitlines()
    names = header.split()
    starts = [header.index(name) for name in names]
    ends = [*starts[1:], None]
    return {name: row[start:end].strip() for name, start, end in zip(names, starts, ends, strict=True)}
