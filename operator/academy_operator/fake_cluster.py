"""The kube-apiserver in memory, beside the real client and under the same contract tests."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from academy_operator.cluster import belongs, config_map_body, event_body
from academy_operator.errors import NamespaceTerminating, ResourceGone
from academy_operator.model import Json, Resource, resource_of


def no_fault(_moment: str) -> None:
    """Nothing goes wrong."""


@dataclass(slots=True)
class FakeCluster:
    """Cluster in memory. `patches` counts status writes."""

    namespaces: tuple[str, ...] = ("academy",)
    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By uid; a uid that is not here is a resource that is gone."""
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Custom resources without their status, by uid."""
    config_maps: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    secrets: dict[tuple[str, str], Mapping[str, bytes]] = field(default_factory=dict)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    terminating: set[str] = field(default_factory=set)
    patches: list[Json] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    fault: Callable[[str], None] = no_fault

    def write_status(self, resource: Resource, status: Json) -> None:
        """See Cluster."""
        self.fault("before write_status")
        if resource.uid not in self.statuses:
            raise ResourceGone(resource.label)
        self.patches.append(copy.deepcopy(dict(status)))
        self.statuses[resource.uid] = copy.deepcopy(dict(status))
        self.fault("after write_status")

    def list(self, kind: str, plural: str, namespace: str) -> Iterable[Resource]:
        """See Cluster."""
        self.fault("before list")
        return [
            resource_of(kind, plural, {**body, "status": self.statuses[uid]})
            for uid, body in self.bodies.items()
            if (body["kind"], body["metadata"]["namespace"]) == (kind, namespace)
        ]

    def ensure_config_map(self, resource: Resource, name: str, data: Mapping[str, str]) -> bool:
        """See Cluster."""
        self.fault("before ensure_config_map")
        body = config_map_body(resource, name, data)
        found = self.config_maps.get((resource.namespace, name))
        if found is not None and not belongs(found["metadata"].get("ownerReferences", []), resource):
            return False
        if found != body:
            self.config_maps[resource.namespace, name] = body
            self.writes.append(f"ConfigMap {name}")
        self.fault("after ensure_config_map")
        return True

    def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """See Cluster."""
        return self.secrets.get((namespace, name))

    def post_event(self, resource: Resource, reason: str, message: str, now: datetime) -> None:
        """See Cluster."""
        if resource.namespace in self.terminating:
            raise NamespaceTerminating(resource.namespace)
        body = event_body(resource, reason, message, now)
        self.events.setdefault(body["metadata"]["name"], body)
