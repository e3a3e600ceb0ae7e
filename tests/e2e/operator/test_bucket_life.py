"""The Bucket's life with a real kube-apiserver, kopf, RBAC and an S3 emulator."""

from typing import Any

from operator_e2e import Kube, Operator, eventually

from academy_operator.model import Owner
from academy_operator.providers.buckets import MARKER_KEY, LifecycleRule
from academy_operator.providers.r2 import R2Buckets
from academy_operator.resources.bucket.desired import ABORT_RULE

READY = ("True", "Available")
CORS = {"allowedOrigins": ["https://a.example"], "allowedMethods": ["PUT"], "exposeHeaders": ["ETag"]}


def made(kube: Kube, operator: Operator, name: str, /, **spec: Any) -> dict[str, Any]:
    kube.create(operator.namespace, "buckets", name, spec)
    kube.await_condition(operator.namespace, "buckets", name, "Ready", READY)
    return kube.status(operator.namespace, "buckets", name)


def finalizers(kube: Kube, namespace: str, name: str) -> list[str]:
    metadata = (kube.get(namespace, "buckets", name) or {})["metadata"]
    found: list[str] = metadata.get("finalizers", [])
    return found


def test_create_update_drift(kube: Kube, operator: Operator, buckets: R2Buckets) -> None:
    status = made(kube, operator, "academy-video", cors=[CORS])
    assert (status["bucket"], status["owned"]) == ("academy-video", True)
    assert "intent" not in status
    assert buckets.owner("academy-video") == Owner("e2e", operator.namespace, "academy-video")
    assert buckets.cors("academy-video")[0].expose == ("ETag",)
    assert buckets.lifecycle("academy-video") == (LifecycleRule(ABORT_RULE, abort_days=7),)
    rule = {"id": "tmp", "prefix": "tmp/", "expireAfterDays": 3}
    kube.patch(operator.namespace, "buckets", "academy-video", {"lifecycle": [rule], "cors": []})
    eventually(lambda: len(buckets.lifecycle("academy-video")) == 2, "the update reaches the bucket")
    eventually(lambda: buckets.cors("academy-video") == (), "CORS rules are removed")
    buckets.put_lifecycle("academy-video", (LifecycleRule("theirs", expire_days=1),))
    eventually(lambda: len(buckets.lifecycle("academy-video")) == 2, "drift is repaired")


def test_a_bucket_and_a_marker_taken_away_by_hand_come_back(kube: Kube, operator: Operator, buckets: R2Buckets) -> None:
    made(kube, operator, "academy-taken-away")
    buckets.delete("academy-taken-away")
    owner = Owner("e2e", operator.namespace, "academy-taken-away")
    eventually(lambda: buckets.exists("academy-taken-away"), "the bucket comes back")
    eventually(lambda: buckets.owner("academy-taken-away") == owner, "the marker comes back")
    buckets.s3.delete_object(Bucket="academy-taken-away", Key=MARKER_KEY)
    eventually(lambda: buckets.owner("academy-taken-away") == owner, "the marker comes back alone")


def test_pause_and_go_on(kube: Kube, operator: Operator, buckets: R2Buckets) -> None:
    namespace = operator.namespace
    made(kube, operator, "academy-paused", deletionPolicy="Delete")
    kube.patch(namespace, "buckets", "academy-paused", {"paused": True, "cors": [CORS]})
    kube.await_condition(namespace, "buckets", "academy-paused", "Synced", ("Unknown", "Paused"))
    eventually(lambda: not finalizers(kube, namespace, "academy-paused"), "a paused one goes without being unmade")
    assert buckets.cors("academy-paused") == ()
    kube.patch(namespace, "buckets", "academy-paused", {"paused": False})
    eventually(lambda: len(buckets.cors("academy-paused")) == 1, "reconciling goes on")
    eventually(lambda: finalizers(kube, namespace, "academy-paused"), "and so does the finalizer")
    kube.patch(namespace, "buckets", "academy-paused", {"paused": True})
    eventually(lambda: not finalizers(kube, namespace, "academy-paused"), "the finalizer goes")
    kube.delete(namespace, "buckets", "academy-paused")
    kube.await_gone(namespace, "buckets", "academy-paused")
    assert buckets.exists("academy-paused")


def test_two_resources_for_one_bucket(kube: Kube, operator: Operator, buckets: R2Buckets) -> None:
    namespace = operator.namespace
    made(kube, operator, "academy-first", name="academy-one")
    kube.create(namespace, "buckets", "academy-second", {"name": "academy-one", "adoption": "Adopt"})
    kube.await_condition(namespace, "buckets", "academy-second", "Ready", ("False", "Conflict"))
    assert kube.condition(namespace, "buckets", "academy-first", "Ready") == READY
    assert buckets.owner("academy-one") == Owner("e2e", namespace, "academy-first")
    kube.delete(namespace, "buckets", "academy-first")
    kube.await_condition(namespace, "buckets", "academy-second", "Ready", READY)
    assert buckets.owner("academy-one") == Owner("e2e", namespace, "academy-second")


def test_the_finalizer_follows_the_deletion_policy(kube: Kube, operator: Operator, buckets: R2Buckets) -> None:
    namespace = operator.namespace
    made(kube, operator, "academy-policy", deletionPolicy="Delete")
    assert finalizers(kube, namespace, "academy-policy") == ["academy.hakwonplus.com/cleanup"]
    kube.patch(namespace, "buckets", "academy-policy", {"deletionPolicy": "Retain"})
    eventually(lambda: not finalizers(kube, namespace, "academy-policy"), "the finalizer goes")
    kube.delete(namespace, "buckets", "academy-policy")
    kube.await_gone(namespace, "buckets", "academy-policy")
    assert buckets.exists("academy-policy")


def test_an_adopted_bucket_is_deleted_with_its_resource_and_an_observed_one_is_not(
    kube: Kube, operator: Operator, buckets: R2Buckets
) -> None:
    namespace = operator.namespace
    for name in ("academy-mine-now", "academy-only-seen", "academy-not-mine"):
        buckets.create(name, None)
    made(kube, operator, "academy-mine-now", adoption="Adopt", deletionPolicy="Delete")
    made(kube, operator, "academy-only-seen", adoption="Observe")
    kube.create(namespace, "buckets", "academy-not-mine", {"deletionPolicy": "Delete", "forceDestroy": True})
    kube.await_condition(namespace, "buckets", "academy-not-mine", "Ready", ("False", "NotOurs"))
    for name in ("academy-mine-now", "academy-only-seen", "academy-not-mine"):
        kube.delete(namespace, "buckets", name)
        kube.await_gone(namespace, "buckets", name)
    assert not buckets.exists("academy-mine-now")
    assert buckets.exists("academy-only-seen")
    assert buckets.exists("academy-not-mine"), "what is refused is not deleted either"


def test_credentials_from_a_secret_of_the_namespace(kube: Kube, operator: Operator) -> None:
    namespace = operator.namespace
    kube.create(namespace, "buckets", "academy-secret", {"credentials": {"secretName": "r2"}})
    kube.await_condition(namespace, "buckets", "academy-secret", "Degraded", ("True", "CredentialsMissing"))
    wrong = {"metadata": {"name": "r2"}, "stringData": {"access-key-id": "test", "secret-access-key": "wrong"}}
    kube.core.create_namespaced_secret(namespace, wrong)
    kube.await_condition(namespace, "buckets", "academy-secret", "Degraded", ("True", "AccessDenied"))
    kube.core.patch_namespaced_secret("r2", namespace, {"stringData": {"secret-access-key": "test"}})
    kube.await_condition(namespace, "buckets", "academy-secret", "Ready", READY)


def test_adopt_observe_refuse(kube: Kube, operator: Operator, buckets: R2Buckets) -> None:
    for name in ("academy-refused", "academy-adopted", "academy-observed"):
        buckets.create(name, None)
    kube.create(operator.namespace, "buckets", "academy-refused", {})
    kube.create(operator.namespace, "buckets", "academy-adopted", {"adoption": "Adopt"})
    kube.create(operator.namespace, "buckets", "academy-observed", {"adoption": "Observe"})
    kube.await_condition(operator.namespace, "buckets", "academy-refused", "Ready", ("False", "NotOurs"))
    kube.await_condition(operator.namespace, "buckets", "academy-adopted", "Ready", READY)
    kube.await_condition(operator.namespace, "buckets", "academy-observed", "Synced", ("False", "Drift"))
    owners = [buckets.owner(name) for name in ("academy-refused", "academy-observed")]
    assert owners == [None, None]
    assert buckets.owner("academy-adopted") == Owner("e2e", operator.namespace, "academy-adopted")


def test_not_supported_names_the_field(kube: Kube, operator: Operator) -> None:
    made(kube, operator, "academy-wishes", versioning=True)
    kube.await_condition(operator.namespace, "buckets", "academy-wishes", "NotSupported", ("True", "ProviderLacksIt"))


def test_retain_delete_refuse_force(kube: Kube, operator: Operator, buckets: R2Buckets) -> None:
    namespace = operator.namespace
    made(kube, operator, "academy-kept")
    kube.delete(namespace, "buckets", "academy-kept")
    kube.await_gone(namespace, "buckets", "academy-kept")
    assert buckets.exists("academy-kept")
    made(kube, operator, "academy-empty", deletionPolicy="Delete")
    kube.delete(namespace, "buckets", "academy-empty")
    kube.await_gone(namespace, "buckets", "academy-empty")
    assert not buckets.exists("academy-empty"), "its marker is no content"
    made(kube, operator, "academy-full", deletionPolicy="Delete")
    buckets.s3.put_object(Bucket="academy-full", Key="lecture.mp4", Body=b"x")
    kube.delete(namespace, "buckets", "academy-full")
    kube.await_condition(namespace, "buckets", "academy-full", "Ready", ("False", "HoldsObjects"))
    kube.patch(namespace, "buckets", "academy-full", {"forceDestroy": True})
    kube.await_gone(namespace, "buckets", "academy-full")
    assert not buckets.exists("academy-full")
