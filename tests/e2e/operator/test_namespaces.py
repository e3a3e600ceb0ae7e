"""A namespace's end, with Kubernetes' own namespace controller and garbage collector: it never hangs."""

from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client
from operator_e2e import Kube, Operator, eventually

from academy_operator.providers.r2 import R2Buckets

pytestmark = pytest.mark.usefixtures("_controllers")

READY = ("True", "Available")
MakeOperator = Callable[..., Operator]


def exists(sqs: Any, name: str) -> bool:
    return any(url.endswith(f"/{name}") for url in sqs.list_queues(QueueNamePrefix=name).get("QueueUrls", []))


def end(kube: Kube, namespace: str) -> None:
    """Delete a namespace and wait until it is gone."""
    kube.core.delete_namespace(namespace)

    def gone() -> bool:
        try:
            kube.core.read_namespace(namespace)
        except client.ApiException as error:
            return bool(error.status == 404)
        return False

    eventually(gone, f"namespace {namespace} is gone")


def made(kube: Kube, namespace: str, plural: str, name: str, /, **spec: Any) -> dict[str, Any]:
    kube.create(namespace, plural, name, spec)
    kube.await_condition(namespace, plural, name, "Ready", READY)
    return kube.status(namespace, plural, name)


def test_a_namespace_ends_and_what_is_to_stay_stays(
    kube: Kube, namespace: str, make_operator: MakeOperator, sqs: Any, buckets: R2Buckets
) -> None:
    """Everything at once: retained, deleted, refused; and the operator goes on with its other namespace."""
    other = kube.namespace()
    operator = make_operator(namespace, other)
    operator.start()
    made(kube, namespace, "queues", "academy-end-kept")
    made(kube, namespace, "buckets", "academy-end-kept")
    made(kube, namespace, "queues", "academy-end-deleted", deletionPolicy="Delete")
    made(kube, namespace, "buckets", "academy-end-deleted", deletionPolicy="Delete")
    url = made(kube, namespace, "queues", "academy-end-full", deletionPolicy="Delete")["url"]
    sqs.send_message(QueueUrl=url, MessageBody="bell")
    made(kube, namespace, "buckets", "academy-end-full", deletionPolicy="Delete")
    buckets.s3.put_object(Bucket="academy-end-full", Key="lecture.mp4", Body=b"x")
    end(kube, namespace)
    for left in ("academy-end-kept", "academy-end-full"):
        assert exists(sqs, left)
        assert buckets.exists(left)
    assert not exists(sqs, "academy-end-deleted")
    assert not buckets.exists("academy-end-deleted")
    made(kube, other, "queues", "academy-end-other")
    assert operator.healthy()


def test_a_namespace_ends_although_the_provider_does_not_answer(
    kube: Kube, namespace: str, make_operator: MakeOperator
) -> None:
    operator = make_operator(namespace)
    operator.start()
    made(kube, namespace, "queues", "academy-end-away", deletionPolicy="Delete")
    operator.stop()
    operator.endpoint = "http://127.0.0.1:1"
    operator.start()
    end(kube, namespace)
    assert operator.sample('academy_operator_released_total{kind="Queue"}') == 1


def test_a_namespace_that_ends_while_the_operator_is_away(
    kube: Kube, namespace: str, make_operator: MakeOperator, sqs: Any
) -> None:
    """It waits for the operator, and no longer."""
    operator = make_operator(namespace)
    operator.start()
    made(kube, namespace, "queues", "academy-end-waiting", deletionPolicy="Delete")
    operator.stop()
    kube.core.delete_namespace(namespace)
    operator.start()
    kube.await_gone(namespace, "queues", "academy-end-waiting")
    assert not exists(sqs, "academy-end-waiting")


def test_the_config_map_goes_with_its_queue(kube: Kube, namespace: str, make_operator: MakeOperator) -> None:
    make_operator(namespace).start()
    made(kube, namespace, "queues", "academy-end-map")
    kube.core.read_namespaced_config_map("academy-end-map-queue", namespace)
    kube.delete(namespace, "queues", "academy-end-map")

    def collected() -> bool:
        names = [one.metadata.name for one in kube.core.list_namespaced_config_map(namespace).items]
        return "academy-end-map-queue" not in names

    eventually(collected, "the ConfigMap is collected")
