"""From zero to what is needed and back: real KEDA over the queues that the platform rings."""

import time
from pathlib import Path

import platform_e2e
from platform_e2e import Platform
from support import wait_until

from academy_local import client

UP_SECONDS = 90
BACK_SECONDS = 180
STARTING_SECONDS = 75
"""Pods whose process has no handler for SIGTERM, as one that is starting, are gone by then: their grace is 105 s."""
BUSY = 5
UNREADABLE_SECONDS = 30
"""Six times the stabilisation window."""


def test_a_lecture_wakes_the_video_workers_and_they_go(
    platform: Platform, director: client.Client, lecture: Path
) -> None:
    """0 pods → upload → video workers → lecture ready → 0 pods."""
    assert platform.workers("video") == []
    made = platform_e2e.publish(director, lecture, "처음부터 끝까지")
    assert director.detail(made)["state"] == "ready"
    assert platform.workers("video") != []
    names = [item["Key"] for item in platform.s3().list_objects_v2(Bucket="academy-video")["Contents"]]
    assert any(name.endswith(".m3u8") and made in name for name in names), "the lecture's playlists are in the store"
    wait_until(lambda: platform.replicas("video") == 0, BACK_SECONDS, "KEDA wants no video worker")
    wait_until(lambda: platform.workers("video") == [], BACK_SECONDS, "no video worker is left")
    assert platform.depth("video") == 0
    director.delete(made)


def test_a_worker_of_two_queues_is_scaled_by_their_sum(platform: Platform) -> None:
    """Six bells on basic and six on lite want twelve pods; two triggers of their own would want six."""
    idle = {"command": ["sleep", "3600"], "maxReplicas": 20, "pollingSeconds": 1, "cooldownSeconds": 5}
    values = platform_e2e.platform_values()
    values["workers"]["aiCpu"] = {**values["workers"]["aiCpu"], **idle}
    platform.install(values, wait=False)
    sqs = platform.sqs()
    urls = [sqs.get_queue_url(QueueName=platform_e2e.QUEUES[name])["QueueUrl"] for name in ("basic", "lite")]
    try:
        for url in urls:
            for number in range(6):
                sqs.send_message(QueueUrl=url, MessageBody=str(number))
        wait_until(lambda: platform.replicas("cpu") == 12, UP_SECONDS, "twelve pods are wanted")
    finally:
        for url in urls:
            sqs.purge_queue(QueueUrl=url)
    wait_until(lambda: platform.replicas("cpu") == 0, BACK_SECONDS, "none is wanted")
    unwanted = time.monotonic()
    wait_until(lambda: platform.workers("cpu") == [], BACK_SECONDS, "none is left")
    assert time.monotonic() - unwanted < STARTING_SECONDS, "none needs its grace"
    platform.install()


def test_busy_pods_without_a_backlog_are_kept(platform: Platform) -> None:
    """Five messages in flight and none that waits, far beyond window and cooldown: nobody is taken from work."""
    idle = {"command": ["sleep", "3600"], "maxReplicas": BUSY, "pollingSeconds": 1, "cooldownSeconds": 5}
    values = platform_e2e.platform_values()
    values["workers"]["aiCpu"] = {
        **values["workers"]["aiCpu"],
        **idle,
        "taskLimitSeconds": 5,
        "shutdownGraceSeconds": 5,
    }
    platform.install(values, wait=False)
    sqs = platform.sqs()
    url = sqs.get_queue_url(QueueName=platform_e2e.QUEUES["lite"])["QueueUrl"]
    for number in range(BUSY):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    wait_until(lambda: len(platform.running("cpu")) == BUSY, UP_SECONDS, "a pod for each message")
    busy = {pod["metadata"]["uid"] for pod in platform.running("cpu")}
    taken = [sqs.receive_message(QueueUrl=url, VisibilityTimeout=600).get("Messages", []) for _ in range(BUSY)]
    assert sum(map(len, taken)) == BUSY, "all are in flight"
    ends = time.monotonic() + UNREADABLE_SECONDS
    while time.monotonic() < ends:
        assert {pod["metadata"]["uid"] for pod in platform.running("cpu")} == busy
        time.sleep(1)
    for messages in taken:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=messages[0]["ReceiptHandle"])
    wait_until(lambda: platform.workers("cpu") == [], BACK_SECONDS, "none is left")
    platform.install()


def test_a_queue_that_keda_cannot_read_keeps_the_replicas(platform: Platform) -> None:
    """Unknown is not zero: with SQS away, what was wanted stays wanted, far beyond the window.

    Within the cooldown: KEDA 2.20.2 takes a scaler that another reader has just closed for one without work, and an
    outage longer than that may end at zero (docs/services/charts.md).
    """
    idle = {"command": ["sleep", "3600"], "maxReplicas": 3, "pollingSeconds": 1, "cooldownSeconds": 150}
    values = platform_e2e.platform_values()
    values["workers"]["aiCpu"] = {**values["workers"]["aiCpu"], **idle, "taskLimitSeconds": 5}
    platform.install(values, wait=False)
    sqs = platform.sqs()
    url = sqs.get_queue_url(QueueName=platform_e2e.QUEUES["basic"])["QueueUrl"]
    for number in range(3):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    wait_until(lambda: platform.replicas("cpu") == 3, UP_SECONDS, "three pods are wanted")

    def failing() -> bool:
        conditions = platform.run.get("scaledobject", platform_e2e.WORKERS["cpu"])["status"]["conditions"]
        return any(entry["type"] == "Ready" and entry["status"] == "False" for entry in conditions)

    with platform.cut_off("academy-dev-emulator"):
        wait_until(failing, UP_SECONDS, "KEDA says that it cannot read the queue")
        ends = time.monotonic() + UNREADABLE_SECONDS
        while time.monotonic() < ends:
            assert platform.replicas("cpu") == 3
            time.sleep(1)
    sqs.purge_queue(QueueUrl=url)
    platform.install()
    wait_until(lambda: platform.workers("cpu") == [], BACK_SECONDS, "an empty queue that can be read wants none")
