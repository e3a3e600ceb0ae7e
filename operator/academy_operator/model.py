"""The operator's own picture of a custom resource, and the clock; no kopf, no provider.

kopf's bodies are turned into `Resource` at the edge (main.py); everything inside works with it.
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

GROUP = "academy.hakwonplus.com"
VERSION = "v1alpha1"
FINALIZER = f"{GROUP}/cleanup"

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """One Queue or Bucket as the cluster holds it."""

    kind: str
    plural: str
    namespace: str
    name: str
    uid: str
    version: int
    """metadata.resourceVersion: of two pictures of one object the greater is the later (Kubernetes KEP-5504)."""
    generation: int
    created: str
    """metadata.creationTimestamp, RFC 3339: sorts by age."""
    deleted_at: datetime | None
    guarded: bool
    """Whether it carries our finalizer: it cannot go away before what it stands for is dealt with."""
    spec: Json
    status: Json

    @property
    def label(self) -> str:
        """How logs and messages call it."""
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def paused(self) -> bool:
        """Whether reconciling is stopped."""
        return bool(self.spec.get("paused", False))

    @property
    def cleans_up(self) -> bool:
        """Whether deleting the resource deletes what it stands for; only then does it carry a finalizer."""
        return cleans_up(self.spec)

    @property
    def seniority(self) -> tuple[str, str, str]:
        """Of two resources for one thing, the lesser wins: the older one, then by name."""
        return (self.created, self.namespace, self.name)


def cleans_up(spec: Json) -> bool:
    """Delete only what the spec says to delete: not what is paused or merely observed."""
    return spec.get("deletionPolicy") == "Delete" and spec.get("adoption") != "Observe" and not spec.get("paused")


def resource_of(kind: str, plural: str, body: Json) -> Resource:
    """Read a Kubernetes object."""
    meta = body["metadata"]
    deleted = meta.get("deletionTimestamp")
    return Resource(
        kind=kind,
        plural=plural,
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        version=int(meta.get("resourceVersion", 0)),
        generation=int(meta.get("generation", 1)),
        created=meta["creationTimestamp"],
        deleted_at=parse_time(deleted) if deleted else None,
        guarded=FINALIZER in (meta.get("finalizers") or ()),
        spec=plain(body.get("spec") or {}),
        status=plain(body.get("status") or {}),
    )


def plain(value: Any) -> Any:
    """Deep copy of JSON-like mappings and sequences into dicts and lists; equal strings are kept once (memory)."""
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, Mapping):
        return {sys.intern(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def parse_time(text: str) -> datetime:
    """RFC 3339 as Kubernetes writes it."""
    return datetime.fromisoformat(text)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds, as Kubernetes wants it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall clock for what people read, monotonic clock for what waits; both replaced in tests."""

    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    monotonic: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class Owner:
    """Proof of ownership, carried by the queue's tags or the bucket's marker object."""

    cluster: str
    namespace: str
    name: str
