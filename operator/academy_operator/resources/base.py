"""What the generic reconciler asks of a resource kind, and what a kind answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from academy_operator.model import Json, Resource

Commit = Callable[[Mapping[str, Any]], None]
"""Writes top-level status fields at once, before the call they announce (None removes one). Raises ClusterFault."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Status, reason and message of one condition."""

    status: str
    reason: str
    message: str = ""


READY = Verdict("True", "Available")
SYNCED = Verdict("True", "UpToDate")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass found."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    """Top-level status fields; None means absent, and a field that is not named keeps its value."""
    ready: Verdict = READY
    synced: Verdict = SYNCED
    not_supported: tuple[str, ...] = ()
    """What the provider cannot do, each naming the field."""
    again_after: float | None = None
    """Seconds to the next pass, when that is sooner than the sweep."""
    writes: int = 0
    """Provider writes of this pass: 0 at rest."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a cheap reading between two passes found."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    fault: Exception | None = None
    """Why some of it could not be read."""
    again_after: float | None = None


class Kind(Protocol):
    """One folder under resources/: everything that is particular to a kind. Blocking calls; run in a thread."""

    @property
    def kind(self) -> str:
        """As in `kind:` of a manifest."""

    @property
    def plural(self) -> str:
        """As in the API's paths."""

    def claims(self, resource: Resource) -> frozenset[str]:
        """Provider-side names this resource speaks for."""

    def reconcile(self, resource: Resource, status: Json, commit: Commit) -> Outcome:
        """Observe, compare, write the differences, report. Raises Refused, ProviderFault, ClusterFault."""

    def measure(self, resource: Resource, status: Json, commit: Commit) -> Measurement:
        """Read what changes by itself (depths, progress). Raises as `reconcile`."""

    def delete(self, resource: Resource, status: Json) -> bool:
        """Delete what is ours; False when there is more to do. Raises Refused when it must not be deleted now."""

    def forget(self, resource: Resource) -> None:
        """The resource is gone: drop its metrics."""
