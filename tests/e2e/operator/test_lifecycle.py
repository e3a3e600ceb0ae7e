"""Restarts, kills, upgrades: a real kube-apiserver outlives the operator, which keeps nothing."""

import copy
import os
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client
from operator_e2e import Kube, Operator, eventually
from operator_support import crd

from academy_operator.model import GROUP, VERSION

READY = ("True", "Available")
RESTING = 1000 if os.environ.get("ACADEMY_SOAK") == "1" else 60

DRIFT_SECONDS = 300

MakeOperator = Callable[..., Operator]


def created_at(sqs: Any, name: str) -> str:
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return str(attributes["CreatedTimestamp"])


def test_resumed_without_a_patch(kube: Kube, namespace: str, make_operator: MakeOperator) -> None:
    """RESTING queues at rest: an operator that comes back knows them in no time, serves what changed, PATCHes nothing.

    Under ACADEMY_SOAK=1 the whole of it is a thousand, and its seconds and megabytes are the ones in the docs.
    """
    operator = make_operator(namespace, OPERATOR_DRIFT_SECONDS=str(DRIFT_SECONDS), OPERATOR_COUNT_SECONDS="30")
    operator.start()
    names = [f"academy-rest-{number}" for number in range(RESTING)]
    for name in names:
        kube.create(namespace, "queues", name, {})
    passes = 'academy_operator_reconciles_total{kind="Queue",outcome="unchanged"}'
    eventually(lambda: kube.ready(namespace, "queues") == RESTING, "all are made", RESTING)
    operator.stop()
    before = kube.patches()
    seconds = operator.resume(RESTING)
    assert kube.patches() == before
    print(f"{RESTING} queues resumed {seconds:.2f} s after the start of the process; {operator.resident_mb():.0f} MB")  # noqa: T201  (a drill tells)
    # The sweep spreads its first comparisons over one round of DRIFT_SECONDS.
    eventually(lambda: operator.sample(passes) >= 5, "the sweep compares", DRIFT_SECONDS)
    operator.stop()
    assert kube.patches() == before

    kube.patch(namespace, "queues", names[-1], {"visibilityTimeout": 44})
    seconds = operator.resume(RESTING)
    eventually(
        lambda: kube.status(namespace, "queues", names[-1])["observedGeneration"] == 2, "what changed is served at once"
    )
    assert operator.sample('academy_operator_reconciles_total{kind="Queue",outcome="changed"}') == 1
    # The change and its status; the apiserver counts a request once it has been answered, which is seen before.
    eventually(lambda: kube.patches() >= before + 2, "both are counted")
    assert kube.patches() == before + 2


def test_all_are_compared_without_a_patch(kube: Kube, namespace: str, make_operator: MakeOperator) -> None:
    """One round of the drift sweep after a restart."""
    count = 20
    operator = make_operator(namespace, OPERATOR_DRIFT_SECONDS="10", OPERATOR_COUNT_SECONDS="10")
    operator.start()
    names = [f"academy-compared-{number}" for number in range(count)]
    for name in names:
        kube.create(namespace, "queues", name, {})
    eventually(lambda: kube.ready(namespace, "queues") == count, "all are made")
    operator.stop()
    before = kube.patches()
    operator.start()
    synced = "academy_operator_last_sync_timestamp_seconds{"
    eventually(lambda: operator.metrics().count(synced) == count, "all are compared")
    assert kube.patches() == before


def test_uninstalled_and_installed_again(kube: Kube, namespace: str, make_operator: MakeOperator, sqs: Any) -> None:
    operator = make_operator(namespace)
    operator.start()
    kube.create(namespace, "queues", "academy-again", {})
    kube.await_condition(namespace, "queues", "academy-again", "Ready", READY)
    operator.stop()
    moment = created_at(sqs, "academy-again")
    extensions: Any = client.ApiextensionsV1Api(kube.api)
    name = f"queues.{GROUP}"
    extensions.delete_custom_resource_definition(name)

    def away() -> bool:
        return not any(item.metadata.name == name for item in extensions.list_custom_resource_definition().items)

    eventually(away, "the CRD is gone")
    kube.apply_crd(crd("queue"))
    operator.start()
    kube.create(namespace, "queues", "academy-again", {})
    kube.await_condition(namespace, "queues", "academy-again", "Ready", READY)
    assert created_at(sqs, "academy-again") == moment


def test_a_crd_is_upgraded_with_stored_objects(
    kube: Kube, namespace: str, make_operator: MakeOperator, sqs: Any
) -> None:
    """A field of tomorrow arrives with its default; what is stored goes on."""
    operator = make_operator(namespace)
    operator.start()
    kube.create(namespace, "queues", "academy-upgraded", {})
    kube.await_condition(namespace, "queues", "academy-upgraded", "Ready", READY)
    tomorrow = copy.deepcopy(crd("queue"))
    spec = tomorrow["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["tomorrow"] = {"type": "integer", "default": 1, "minimum": 0, "maximum": 9, "description": "New."}
    try:
        kube.apply_crd(tomorrow)

        def stored() -> dict[str, Any]:
            found = kube.get(namespace, "queues", "academy-upgraded") or {}
            return dict(found["spec"])

        # What was served goes on to be served by the schema that was, until the apiserver hears of the new one.
        eventually(lambda: stored().get("tomorrow") == 1, "what is stored has the new field's default")
        kube.patch(namespace, "queues", "academy-upgraded", {"visibilityTimeout": 44, "tomorrow": 2})
        url = kube.status(namespace, "queues", "academy-upgraded")["url"]

        def reached() -> bool:
            attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            return str(attributes["VisibilityTimeout"]) == "44"

        eventually(reached, "the change reaches the queue")
        assert stored()["tomorrow"] == 2
    finally:
        kube.apply_crd(crd("queue"))


@pytest.mark.parametrize(
    ("verb", "resource"), [("list", "secrets"), ("delete", "configmaps"), ("delete", "queues"), ("list", "pods")]
)
def test_the_operator_may_not(kube: Kube, namespace: str, verb: str, resource: str) -> None:
    group = GROUP if resource == "queues" else ""
    review = client.AuthorizationV1Api(kube.api).create_subject_access_review(
        {  # type: ignore[arg-type]  # plain JSON in place of the model
            "spec": {
                "user": "system:serviceaccount:academy-system:academy-operator",
                "resourceAttributes": {"namespace": namespace, "verb": verb, "resource": resource, "group": group},
            }
        }
    )
    assert review.status is not None
    assert review.status.allowed is False


def test_the_api_version_is_served(kube: Kube) -> None:
    listed: Any = kube.custom.list_cluster_custom_object(GROUP, VERSION, "buckets")
    assert listed["kind"] == "BucketList"
