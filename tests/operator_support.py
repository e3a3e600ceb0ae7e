"""What the operator's tests share: a clock that is set by hand, a small world around the reconciler, schema checks."""

import copy
import functools
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any

import yaml

from academy_operator.fake_cluster import FakeCluster
from academy_operator.model import FINALIZER, GROUP, VERSION, Clock, cleans_up, resource_of
from academy_operator.providers.fake_buckets import FakeBuckets
from academy_operator.providers.fake_queues import FakeQueues
from academy_operator.reconciler import Reconciler, Timing
from academy_operator.resources.base import Kind
from academy_operator.resources.bucket.handlers import BucketKind
from academy_operator.resources.queue.handlers import QueueKind, QueueSettings

CLUSTER_ID = "test-cluster"
PRINCIPAL = "arn:aws:iam::111122223333:role/academy-grader"


@dataclass
class Hands:
    """A clock moved by hand."""

    moment: datetime = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    seconds: float = 1000.0

    def clock(self) -> Clock:
        return Clock(lambda: self.moment, lambda: self.seconds)

    def pass_by(self, seconds: float) -> None:
        self.seconds += seconds
        self.moment += timedelta(seconds=seconds)


@functools.cache
def crd(kind: str) -> dict[str, Any]:
    """The CustomResourceDefinition in a kind's folder."""
    text = (resources.files("academy_operator.resources") / kind / "crd.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def schema_of(kind: str) -> dict[str, Any]:
    """The OpenAPI schema of its one version."""
    schema: dict[str, Any] = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def with_defaults(schema: Mapping[str, Any], value: Any) -> Any:
    """`value` with the schema's defaults filled in, as the kube-apiserver does."""
    if schema.get("type") != "object" or not isinstance(value, dict):
        return value
    filled = dict(value)
    for name, inner in schema.get("properties", {}).items():
        if name not in filled and "default" in inner:
            filled[name] = copy.deepcopy(inner["default"])
        if name in filled:
            filled[name] = with_defaults(inner, filled[name])
    return filled


_uids = itertools.count(1)


def body_of(kind: str, plural: str, name: str, spec: Mapping[str, Any], **meta: Any) -> dict[str, Any]:
    """A custom resource as the API server would hold it, defaults included."""
    folder = {"queues": "queue", "buckets": "bucket"}[plural]
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "academy",
            "uid": f"uid-{next(_uids):06d}",
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": "2026-11-23T09:00:00Z",
            **meta,
        },
        "spec": with_defaults(schema_of(folder)["properties"]["spec"], dict(spec)),
    }


@dataclass
class World:
    """A cluster, a provider and an operator between them, all in memory."""

    hands: Hands = field(default_factory=Hands)
    cluster: FakeCluster = field(default_factory=FakeCluster)
    queues: FakeQueues = field(init=False)
    buckets: FakeBuckets = field(default_factory=FakeBuckets)
    reconciler: Reconciler = field(init=False)

    def __post_init__(self) -> None:
        self.queues = FakeQueues(self.hands.clock())
        self.restart()

    def kinds(self) -> list[Kind]:
        settings = QueueSettings(CLUSTER_ID, "ap-northeast-2", frozenset({PRINCIPAL}))
        clock = self.hands.clock()
        return [
            QueueKind(settings, lambda *_: self.queues, self.cluster, clock, self._wait),
            BucketKind(CLUSTER_ID, lambda *_: self.buckets),
        ]

    def restart(self) -> None:
        """A new operator process: all it remembers is what the cluster holds."""
        rng = random.Random(1)  # noqa: S311  (jitter)
        self.reconciler = Reconciler(self.kinds(), self.cluster, self.hands.clock(), Timing(), rng)
        self.reconciler.refresh()

    def add(self, body: dict[str, Any]) -> str:
        """Somebody creates a resource."""
        uid = str(body["metadata"]["uid"])
        self.cluster.bodies[uid] = body
        self.cluster.statuses.setdefault(uid, dict(body.get("status", {})))
        self._show(uid)
        return uid

    def queue(self, name: str, /, **spec: Any) -> str:
        """Create a Queue; fields of its metadata are given as `meta`."""
        meta = spec.pop("meta", {})
        return self.add(body_of("Queue", "queues", name, spec, **meta))

    def bucket(self, name: str, /, **spec: Any) -> str:
        """Create a Bucket."""
        meta = spec.pop("meta", {})
        return self.add(body_of("Bucket", "buckets", name, spec, **meta))

    def edit(self, uid: str, **spec: Any) -> None:
        """Somebody changes a spec."""
        body = self.cluster.bodies[uid]
        body["spec"] |= spec
        body["metadata"]["generation"] += 1
        self._show(uid)

    def mark_deleted(self, uid: str) -> None:
        """Somebody deletes a resource that has a finalizer."""
        self.cluster.bodies[uid]["metadata"]["deletionTimestamp"] = self.hands.moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        self._show(uid)

    def remove(self, uid: str) -> None:
        """A resource is gone."""
        del self.cluster.bodies[uid]
        del self.cluster.statuses[uid]
        self.reconciler.forget(uid)

    def status(self, uid: str) -> dict[str, Any]:
        """The status in the cluster."""
        return self.cluster.statuses[uid]

    def condition(self, uid: str, kind: str) -> tuple[str, str]:
        """Status and reason of a condition in the cluster."""
        found = next(one for one in self.status(uid)["conditions"] if one["type"] == kind)
        return found["status"], found["reason"]

    def sweep(self, seconds: float, step: float = 5.0) -> None:
        """Let time pass, doing what is due."""
        end = self.hands.seconds + seconds
        while self.hands.seconds < end:
            self.hands.pass_by(step)
            for track in self.reconciler.tracks():
                if self.reconciler.due_at(track) <= self.hands.seconds:
                    self.reconciler.visit(track.resource.uid)

    def _show(self, uid: str) -> None:
        """The watch tells; kopf has seen to the finalizer."""
        body = {**self.cluster.bodies[uid], "status": self.cluster.statuses[uid]}
        meta = body["metadata"]
        meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1)
        if "deletionTimestamp" not in meta:
            meta["finalizers"] = [FINALIZER] if cleans_up(body["spec"]) else []
        plural = {"Queue": "queues", "Bucket": "buckets"}[body["kind"]]
        self.reconciler.remember(resource_of(body["kind"], plural, body))

    def _wait(self, seconds: float) -> bool:
        self.hands.pass_by(seconds)
        return False
