"""The Bucket's life with a real kube-apiserver, kopf, RBAC and an S3 emulator."""

from typing import Any

from operator_e2e import Kube, Operator, eventually

from academy_operator.model import Owner
from academy_operator.providers.buckets import LifecycleRule
from academy_operator.providers.r2 import R2Buckets
from academy_operator.resources.bucket.desired import ABORT_RULE

READY = ("True", "Available")
CORS = {"allowedOrigins": ["https://a.example"], "allowedMethods": ["PUT"], "exposeHeaders": ["ETag"]}


def made(kube: Kube, operator: Operator, name: str, /, **spec: Any) -> dict[str, Any]:
    kube.create(operator.namespace, "buckets", name, spec)
    kube.await_condition(operator.namespace, "buckets", name, "Ready", READY)
    return kube.status(operator.namespace, "buckets", name)


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
    made(kube, operator, "academy-full", deletionPolicy="Delete")
    buckets.s3.put_object(Bucket="academy-full", Key="lecture.mp4", Body=b"x")
    kube.delete(namespace, "buckets", "academy-full")
    kube.await_condition(namespace, "buckets", "academy-full", "Ready", ("False", "HoldsObjects"))
    kube.patch(namespace, "buckets", "academy-full", {"forceDestroy": True})
    kube.await_gone(namespace, "buckets", "academy-full")
    assert not buckets.exists("academy-full")
