"""Every CEL rule refuses with its message, by a real kube-apiserver; defaults are those of the models."""

from typing import Any

import pytest
from kubernetes import client
from operator_e2e import Kube
from operator_support import schema_of, with_defaults

from academy_operator.resources.bucket.desired import BucketSpec
from academy_operator.resources.queue.desired import QueueSpec

LONG = "a" * 77

# (plural, metadata.name, spec, spec it is changed to or None, message)
CASES: list[tuple[str, str, dict[str, Any], dict[str, Any] | None, str]] = [
    ("queues", "a.b", {}, None, "metadata.name is not a valid SQS queue name"),
    ("queues", LONG, {}, None, "metadata.name is not a valid SQS queue name"),
    ("queues", "q1", {"name": "one"}, {"name": "two"}, "spec.name is immutable"),
    ("queues", "q2", {}, {"name": "two"}, "spec.name is immutable"),
    ("queues", "q3", {"region": "us-east-1"}, {"region": "us-east-2"}, "spec.region is immutable"),
    ("queues", "q4", {"retention": 1209600, "deadLetter": {"retention": 60}}, None, "deadLetter.retention must be"),
    ("queues", "q5", {"redrive": {"token": "a"}, "deadLetter": {"enabled": False}}, None, "redrive needs deadLetter"),
    ("queues", "q6", {"adoption": "Observe", "deletionPolicy": "Delete"}, None, "adoption Observe never writes"),
    ("queues", "q7", {"encryption": {"mode": "KMS"}}, None, "encryption.kmsKeyId is needed"),
    ("queues", "q8", {"encryption": {"kmsKeyId": "k"}}, None, "encryption.kmsKeyId is needed"),
    ("queues", "q9", {"tags": {"aws:x": "y"}}, None, "tag keys have 1 to 128"),
    ("queues", "q10", {"tags": {"academy.hakwonplus.com/name": "y"}}, None, "tag keys have 1 to 128"),
    ("buckets", "a.b", {}, None, "metadata.name is not a valid bucket name"),
    ("buckets", "b1", {"name": "one"}, {"name": "two"}, "spec.name is immutable"),
    ("buckets", "b22", {"locationHint": "apac"}, {"locationHint": "weur"}, "spec.locationHint is immutable"),
    ("buckets", "b33", {"adoption": "Observe", "deletionPolicy": "Delete"}, None, "adoption Observe never writes"),
    (
        "buckets",
        "b44",
        {"lifecycle": [{"id": "academy-abort-multipart", "expireAfterDays": 1}]},
        None,
        "academy-abort-multipart is reserved",
    ),
    (
        "buckets",
        "b55",
        {"lifecycle": [{"id": "a", "prefix": ".academy/", "expireAfterDays": 1}]},
        None,
        "lifecycle prefix would delete the ownership marker",
    ),
]
BOUNDS: list[tuple[str, dict[str, Any]]] = [
    ("queues", {"visibilityTimeout": 43201}),
    ("queues", {"receiveWaitTime": 21}),
    ("queues", {"retention": 59}),
    ("queues", {"maximumMessageSize": 1048577}),
    ("queues", {"deadLetter": {"maxReceiveCount": 0}}),
    ("queues", {"deletionPolicy": "Maybe"}),
    ("queues", {"visibilityTimeout": "300"}),
    ("queues", {"allowedPrincipals": ["*"]}),
    ("queues", {"alarms": {"actions": ["arn:aws:lambda:ap-northeast-2:111122223333:function:x"]}}),
    ("buckets", {"locationHint": "moon"}),
    ("buckets", {"cors": [{"allowedOrigins": ["*"], "allowedMethods": ["PATCH"]}]}),
    ("buckets", {"abortIncompleteMultipartAfterDays": 0}),
]


def refusal(kube: Kube, namespace: str, case: tuple[str, str, dict[str, Any], dict[str, Any] | None]) -> str:
    plural, name, spec, changed = case
    if changed is not None:
        kube.create(namespace, plural, name, spec)
    attempt = kube.create if changed is None else kube.patch
    with pytest.raises(client.ApiException) as caught:
        attempt(namespace, plural, name, spec if changed is None else changed)
    assert caught.value.status == 422
    return str(caught.value.body)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1][:6]}-{case[4][:20]}")
def test_rule(kube: Kube, namespace: str, case: tuple[str, str, dict[str, Any], dict[str, Any] | None, str]) -> None:
    assert case[4] in refusal(kube, namespace, case[:4])


@pytest.mark.parametrize("plural", ["queues", "buckets"])
def test_every_rule_has_a_case(plural: str) -> None:
    def messages(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [rule["message"] for rule in node.get("x-kubernetes-validations", [])]
            return own + [message for inner in node.values() for message in messages(inner)]
        return [message for inner in node for message in messages(inner)] if isinstance(node, list) else []

    for message in messages(schema_of({"queues": "queue", "buckets": "bucket"}[plural])):
        assert any(case[0] == plural and case[4] in message for case in CASES), message


@pytest.mark.parametrize(("plural", "spec"), BOUNDS)
def test_bounds(kube: Kube, namespace: str, plural: str, spec: dict[str, Any]) -> None:
    assert refusal(kube, namespace, (plural, "bound", spec, None))


@pytest.mark.parametrize(("plural", "model"), [("queues", QueueSpec), ("buckets", BucketSpec)])
def test_the_server_s_defaults_are_the_models(
    kube: Kube, namespace: str, plural: str, model: type[QueueSpec] | type[BucketSpec]
) -> None:
    created = kube.create(namespace, plural, "defaults", {})
    assert model.model_validate(created["spec"]) == model()
    folder = {"queues": "queue", "buckets": "bucket"}[plural]
    assert created["spec"] == with_defaults(schema_of(folder)["properties"]["spec"], {}), "as the unit tests fill them"
