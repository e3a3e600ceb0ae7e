"""The Queue's life with a real kube-apiserver, kopf, RBAC and an SQS emulator."""

from typing import Any

from operator_e2e import Kube, Operator, eventually

READY = ("True", "Available")


def exists(sqs: Any, name: str) -> bool:
    return any(url.endswith(f"/{name}") for url in sqs.list_queues(QueueNamePrefix=name).get("QueueUrls", []))


def attribute(sqs: Any, url: str, name: str) -> str:
    return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"].get(name, ""))


def made(kube: Kube, operator: Operator, name: str, /, **spec: Any) -> dict[str, Any]:
    kube.create(operator.namespace, "queues", name, spec)
    kube.await_condition(operator.namespace, "queues", name, "Ready", READY)
    return kube.status(operator.namespace, "queues", name)


def test_create_report_and_publish(kube: Kube, operator: Operator, sqs: Any) -> None:
    status = made(kube, operator, "academy-made")
    assert exists(sqs, "academy-made")
    assert exists(sqs, "academy-made-dlq")
    assert attribute(sqs, status["url"], "VisibilityTimeout") == "300"
    assert (status["depth"], status["dlqDepth"], status["observedGeneration"]) == (0, 0, 1)
    config_map = kube.core.read_namespaced_config_map("academy-made-queue", operator.namespace)
    assert config_map.data == {"QUEUE_URL": status["url"], "QUEUE_ARN": status["arn"], "DLQ_URL": status["dlqUrl"]}
    assert config_map.metadata.owner_references[0].kind == "Queue"
    metadata = (kube.get(operator.namespace, "queues", "academy-made") or {})["metadata"]
    assert "finalizers" not in metadata, "Retain needs none"
    assert "kopf" not in kube.status(operator.namespace, "queues", "academy-made")


def test_depth_follows_and_update_reaches_the_queue(kube: Kube, operator: Operator, sqs: Any) -> None:
    url = made(kube, operator, "academy-update")["url"]
    sqs.send_message(QueueUrl=url, MessageBody="bell")
    namespace = operator.namespace
    eventually(lambda: kube.status(namespace, "queues", "academy-update").get("depth") == 1, "depth is seen")
    kube.patch(namespace, "queues", "academy-update", {"visibilityTimeout": 77})
    eventually(lambda: attribute(sqs, url, "VisibilityTimeout") == "77", "the update reaches the queue")
    eventually(
        lambda: kube.status(namespace, "queues", "academy-update")["observedGeneration"] == 2, "the new spec is seen"
    )


def test_drift_is_repaired(kube: Kube, operator: Operator, sqs: Any) -> None:
    url = made(kube, operator, "academy-drift")["url"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
    eventually(lambda: attribute(sqs, url, "VisibilityTimeout") == "300", "drift is repaired")


def test_retain_leaves_the_queue(kube: Kube, operator: Operator, sqs: Any) -> None:
    made(kube, operator, "academy-kept")
    kube.delete(operator.namespace, "queues", "academy-kept")
    kube.await_gone(operator.namespace, "queues", "academy-kept")
    assert exists(sqs, "academy-kept")


def test_delete_removes_both_queues(kube: Kube, operator: Operator, sqs: Any) -> None:
    made(kube, operator, "academy-deleted", deletionPolicy="Delete")
    found = kube.get(operator.namespace, "queues", "academy-deleted") or {}
    assert found["metadata"]["finalizers"] == ["academy.hakwonplus.com/cleanup"]
    kube.delete(operator.namespace, "queues", "academy-deleted")
    kube.await_gone(operator.namespace, "queues", "academy-deleted")
    assert not exists(sqs, "academy-deleted")


def test_delete_refuses_messages_until_forced(kube: Kube, operator: Operator, sqs: Any) -> None:
    url = made(kube, operator, "academy-full", deletionPolicy="Delete")["url"]
    sqs.send_message(QueueUrl=url, MessageBody="bell")
    kube.delete(operator.namespace, "queues", "academy-full")
    kube.await_condition(operator.namespace, "queues", "academy-full", "Ready", ("False", "HoldsMessages"))
    assert exists(sqs, "academy-full")
    events = kube.core.list_namespaced_event(operator.namespace).items
    assert any(event.reason == "HoldsMessages" for event in events)
    kube.patch(operator.namespace, "queues", "academy-full", {"forceDestroy": True})
    kube.await_gone(operator.namespace, "queues", "academy-full")
    assert not exists(sqs, "academy-full")


def test_the_finalizer_follows_the_deletion_policy(kube: Kube, operator: Operator, sqs: Any) -> None:
    made(kube, operator, "academy-policy", deletionPolicy="Delete")
    kube.patch(operator.namespace, "queues", "academy-policy", {"deletionPolicy": "Retain"})

    def free() -> bool:
        found = kube.get(operator.namespace, "queues", "academy-policy") or {}
        return not found["metadata"].get("finalizers")

    eventually(free, "the finalizer goes")
    kube.delete(operator.namespace, "queues", "academy-policy")
    kube.await_gone(operator.namespace, "queues", "academy-policy")
    assert exists(sqs, "academy-policy")


def test_adoption(kube: Kube, operator: Operator, sqs: Any) -> None:
    namespace = operator.namespace
    for name in ("academy-theirs", "academy-watched"):
        sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "11"})
    kube.create(namespace, "queues", "academy-theirs", {})
    kube.create(namespace, "queues", "academy-watched", {"adoption": "Observe"})
    kube.await_condition(namespace, "queues", "academy-theirs", "Ready", ("False", "NotOurs"))
    kube.await_condition(namespace, "queues", "academy-watched", "Synced", ("False", "Drift"))
    for name in ("academy-theirs", "academy-watched"):
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        assert attribute(sqs, url, "VisibilityTimeout") == "11"
    kube.patch(namespace, "queues", "academy-theirs", {"adoption": "Adopt"})
    kube.await_condition(namespace, "queues", "academy-theirs", "Ready", READY)
    url = kube.status(namespace, "queues", "academy-theirs")["url"]
    assert attribute(sqs, url, "VisibilityTimeout") == "300"


def test_a_queue_deleted_by_hand_comes_back(kube: Kube, operator: Operator, sqs: Any) -> None:
    url = made(kube, operator, "academy-by-hand")["url"]
    sqs.delete_queue(QueueUrl=url)
    eventually(lambda: exists(sqs, "academy-by-hand"), "it is made again")
    kube.await_condition(operator.namespace, "queues", "academy-by-hand", "Ready", READY)


def test_an_adopted_queue_is_deleted_with_its_resource_and_an_observed_one_is_not(
    kube: Kube, operator: Operator, sqs: Any
) -> None:
    namespace = operator.namespace
    for name in ("academy-mine-now", "academy-only-seen", "academy-not-mine"):
        sqs.create_queue(QueueName=name)
    made(kube, operator, "academy-mine-now", adoption="Adopt", deletionPolicy="Delete")
    made(kube, operator, "academy-only-seen", adoption="Observe")
    kube.create(namespace, "queues", "academy-not-mine", {"deletionPolicy": "Delete", "forceDestroy": True})
    kube.await_condition(namespace, "queues", "academy-not-mine", "Ready", ("False", "NotOurs"))
    for name in ("academy-mine-now", "academy-only-seen", "academy-not-mine"):
        kube.delete(namespace, "queues", name)
        kube.await_gone(namespace, "queues", name)
    assert not exists(sqs, "academy-mine-now")
    assert exists(sqs, "academy-only-seen")
    assert exists(sqs, "academy-not-mine"), "what is refused is not deleted either"


def test_pause_and_go_on(kube: Kube, operator: Operator, sqs: Any) -> None:
    url = made(kube, operator, "academy-paused")["url"]
    kube.patch(operator.namespace, "queues", "academy-paused", {"paused": True, "visibilityTimeout": 55})
    kube.await_condition(operator.namespace, "queues", "academy-paused", "Synced", ("Unknown", "Paused"))
    assert attribute(sqs, url, "VisibilityTimeout") == "300"
    kube.patch(operator.namespace, "queues", "academy-paused", {"paused": False})
    eventually(lambda: attribute(sqs, url, "VisibilityTimeout") == "55", "reconciling goes on")


def test_redrive_once_a_token(kube: Kube, operator: Operator, sqs: Any) -> None:
    namespace = operator.namespace
    status = made(kube, operator, "academy-redrive", redrive={"token": "at-creation"})
    assert status["redrive"] == {"token": "at-creation", "phase": "Recorded"}
    for number in range(3):
        sqs.send_message(QueueUrl=status["dlqUrl"], MessageBody=str(number))
    kube.patch(namespace, "queues", "academy-redrive", {"redrive": {"token": "one"}})

    def done() -> Any:
        record = kube.status(namespace, "queues", "academy-redrive").get("redrive", {})
        return record.get("phase") == "Completed" and record

    assert eventually(done, "the redrive ends")["moved"] == 3
    assert attribute(sqs, status["url"], "ApproximateNumberOfMessages") == "3"
    sqs.send_message(QueueUrl=status["dlqUrl"], MessageBody="later")
    eventually(lambda: kube.status(namespace, "queues", "academy-redrive").get("dlqDepth") == 1, "it stays there")


def test_two_resources_for_one_queue(kube: Kube, operator: Operator) -> None:
    made(kube, operator, "academy-first", name="academy-one")
    kube.create(operator.namespace, "queues", "academy-second", {"name": "academy-one"})
    kube.await_condition(operator.namespace, "queues", "academy-second", "Ready", ("False", "Conflict"))
    assert kube.condition(operator.namespace, "queues", "academy-first", "Ready") == READY


def test_a_foreign_config_map_is_a_conflict(kube: Kube, operator: Operator) -> None:
    body = {"metadata": {"name": "academy-taken-queue"}, "data": {"QUEUE_URL": "theirs"}}
    kube.core.create_namespaced_config_map(operator.namespace, body)
    kube.create(operator.namespace, "queues", "academy-taken", {})
    kube.await_condition(operator.namespace, "queues", "academy-taken", "Ready", ("False", "Conflict"))
    found = kube.core.read_namespaced_config_map("academy-taken-queue", operator.namespace)
    assert found.data == {"QUEUE_URL": "theirs"}


def test_credentials_from_a_secret_of_the_namespace(kube: Kube, operator: Operator) -> None:
    namespace = operator.namespace
    kube.create(namespace, "queues", "academy-secret", {"credentials": {"secretName": "sqs"}})
    kube.await_condition(namespace, "queues", "academy-secret", "Degraded", ("True", "CredentialsMissing"))
    body = {"metadata": {"name": "sqs"}, "stringData": {"access-key-id": "a", "secret-access-key": "b"}}
    kube.core.create_namespaced_secret(namespace, body)
    kube.await_condition(namespace, "queues", "academy-secret", "Ready", READY)
