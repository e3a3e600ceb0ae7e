"""`helm install` gives a platform that works: everything ready, `helm test` passes, a second time changes nothing."""

from typing import Any

import pytest
from cluster.kubectl import Kubectl
from platform_e2e import NAMESPACE, QUEUES, Platform, platform_values
from support import wait_until

DEPLOYMENTS = ("academy-api", "academy-relay", "academy-pgbouncer", "academy-operator")

HELM_TEST_SECONDS = 300
BACK_SECONDS = 180


def test_everything_is_ready_and_workers_are_at_zero(platform: Platform) -> None:
    for name in DEPLOYMENTS:
        platform.run.await_condition(f"deployment/{name}", "Available")
    for worker in ("video", "cpu"):
        # Those of a test before this one may still be ending; that the install starts none is the next test.
        wait_until(lambda worker=worker: platform.replicas(worker) == 0, BACK_SECONDS, "no worker is wanted")  # type: ignore[misc]
        wait_until(lambda worker=worker: platform.workers(worker) == [], BACK_SECONDS, "no worker is there")  # type: ignore[misc]


@pytest.mark.usefixtures("platform")
def test_no_worker_was_ever_started(events: list[dict[str, Any]]) -> None:
    """Not for a second: whatever the ReplicaSets made is in the events of the installation."""
    started = [event["message"] for event in events if event["reason"] == "SuccessfulCreate"]
    assert any("academy-api-" in message for message in started), "events tell of pods"
    assert [message for message in started if "-worker" in message] == []


def test_helm_test_publishes_a_lecture_of_its_own(platform: Platform) -> None:
    before = platform.query("SELECT count(*) FROM lectures_lecture")
    told = platform.helm("test", "academy", "--timeout", f"{HELM_TEST_SECONDS}s", timeout=2 * HELM_TEST_SECONDS)
    assert "Succeeded" in told
    assert platform.run("get", "pod", "academy-test", "-o", "name", "--ignore-not-found") == ""
    assert platform.query("SELECT count(*) FROM lectures_lecture") == before
    wait_until(lambda: platform.workers("video") == [], BACK_SECONDS, "its worker has gone")


def test_the_operator_made_the_queues_and_buckets_that_the_chart_asks_for(platform: Platform) -> None:
    for name in QUEUES.values():
        platform.run.await_condition(f"queue/{name}", "Ready")
        attributes = platform.sqs().get_queue_attributes(
            QueueUrl=platform.sqs().get_queue_url(QueueName=name)["QueueUrl"], AttributeNames=["All"]
        )["Attributes"]
        assert '"maxReceiveCount":20' in attributes["RedrivePolicy"].replace(" ", "")
    for name in ("academy-video", "academy-ai", "academy-backup"):
        platform.run.await_condition(f"bucket/{name}", "Ready")


def test_every_pod_is_restricted(platform: Platform, run: Kubectl) -> None:
    """The namespace enforces Pod Security's strictest level, so what runs has passed it."""
    labels = run.get("namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert len(platform.run.get("pods")["items"]) >= len(DEPLOYMENTS)


def test_the_same_values_again_change_nothing(platform: Platform) -> None:
    before = _pods(platform)
    generations = _generations(platform)
    platform.install()
    assert _generations(platform) == generations
    assert _pods(platform) == before


def test_an_upgrade_of_resources_alone_rolls_what_they_are_of_and_migrates_anew(platform: Platform) -> None:
    """A Job's pod cannot be changed: other resources of its are another Job. No worker is started for its new size."""
    values = platform_values()
    values["relay"] = {"resources": {"limits": {"memory": "400Mi"}}}
    values["migrate"] = {"resources": {"limits": {"memory": "600Mi"}}}
    values["workers"]["video"] = {**values["workers"]["video"], "resources": {"limits": {"memory": "1900Mi"}}}
    generations, jobs = _generations(platform), _migrations(platform)
    platform.install(values)
    after = _generations(platform)
    changed = {name for name, generation in after.items() if generation != generations[name]}
    assert changed == {"academy-relay", "academy-video-worker"}
    (migration,) = _migrations(platform) - jobs
    platform.run.await_condition(f"job/{migration}", "Complete")
    assert (platform.replicas("video"), platform.workers("video")) == (0, [])
    platform.install()
    assert _migrations(platform) == jobs


def _pods(platform: Platform) -> set[str]:
    """All but those on their way out, as the ones are that an upgrade before this has replaced."""
    pods = [pod["metadata"] for pod in platform.run.get("pods")["items"]]
    return {pod["uid"] for pod in pods if "deletionTimestamp" not in pod}


def _migrations(platform: Platform) -> set[str]:
    found = platform.run.get("jobs", "-l", "app.kubernetes.io/component=migrate")["items"]
    return {job["metadata"]["name"] for job in found}


def _generations(platform: Platform) -> dict[str, str]:
    return {item["metadata"]["name"]: item["metadata"]["generation"] for item in _deployments(platform)}


def _deployments(platform: Platform) -> list[dict[str, dict[str, str]]]:
    found: list[dict[str, dict[str, str]]] = platform.run.get("deployments")["items"]
    return found
