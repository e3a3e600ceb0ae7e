"""Bucket: reads the provider, compares (desired.py), applies the differences, reports. Called by the reconciler."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from academy_operator.errors import AlreadyExists, Gone, ProviderFault, Refused
from academy_operator.model import Json, Owner, Resource
from academy_operator.providers.buckets import BucketProvider
from academy_operator.resources.base import READY, SYNCED, Commit, Measurement, Outcome, Verdict
from academy_operator.resources.bucket import desired

log = structlog.get_logger()

ROUNDS = 5
"""Observe-apply rounds of one pass."""
BATCHES = 20
"""Batches of objects deleted in one go; then other resources get their turn."""

ProviderFor = Callable[[str | None, str], BucketProvider]
"""(Secret's name or None, namespace) → provider. Raises CredentialsMissing."""


@dataclass(frozen=True, slots=True)
class BucketKind:
    """The Bucket kind."""

    cluster_id: str
    provider_for: ProviderFor
    kind: str = "Bucket"
    plural: str = "buckets"

    def claims(self, resource: Resource) -> frozenset[str]:
        """The bucket."""
        return desired.claims(resource)

    def reconcile(self, resource: Resource, status: Json, commit: Commit) -> Outcome:
        """One full pass."""
        spec = desired.spec_of(resource)
        name = desired.bucket_name(resource)
        provider = self._provider(resource, spec)
        wanted = desired.desired(spec, self._owner(resource))
        lacking = desired.not_supported(resource.spec)
        if spec.adoption == "Observe":
            return _observe_only(provider, name, wanted, lacking)
        writes = _Target(provider, name, dict(status), commit).converge(wanted, spec.adoption)
        fields: dict[str, Any] = {"bucket": name, "owned": True, "intent": None}
        return Outcome(fields, READY, SYNCED, lacking, writes=writes)

    def measure(self, resource: Resource, status: Json, commit: Commit) -> Measurement:  # noqa: ARG002
        """Nothing about a bucket changes by itself that status shows."""
        return Measurement()

    def delete(self, resource: Resource, status: Json) -> bool:
        """Delete the bucket if it is ours; in batches when it may be destroyed with its content."""
        spec = desired.spec_of(resource)
        name = desired.bucket_name(resource)
        provider = self._provider(resource, spec)
        observed = desired.Observed(provider.exists(name))
        if not observed.exists:
            return True
        observed = desired.Observed(exists=True, owner=provider.owner(name))
        if not desired.is_ours(observed, self._owner(resource), name, status):
            return True
        if observed.owner is None and provider.holds_content(name):
            raise Refused(
                "MarkerMissing",
                f"bucket {name} holds objects but no marker: delete it by hand, or set deletionPolicy to Retain",
            )
        if spec.forceDestroy:
            if not any(provider.empty(name) for _ in range(BATCHES)):
                return False
        elif provider.holds_content(name):
            raise Refused(
                "HoldsObjects",
                f"bucket {name} holds objects: empty it, set forceDestroy, or set deletionPolicy to Retain",
            )
        provider.delete(name)
        return True

    def forget(self, resource: Resource) -> None:
        """Buckets have no gauges."""

    def _provider(self, resource: Resource, spec: desired.BucketSpec) -> BucketProvider:
        return self.provider_for(spec.credentials.secretName if spec.credentials else None, resource.namespace)

    def _owner(self, resource: Resource) -> Owner:
        return Owner(self.cluster_id, resource.namespace, resource.name)


@dataclass(slots=True)
class _Target:
    """One bucket during one pass."""

    provider: BucketProvider
    name: str
    known: dict[str, Any]
    """Status, as far as it proves ownership."""
    commit: Commit

    def converge(self, wanted: desired.Desired, adoption: str) -> int:
        """Observe and apply until nothing is left; how many writes that took."""
        writes = 0
        for _ in range(ROUNDS):
            observed = _see(self.provider, self.name)
            desired.check_ownership(observed, wanted.owner, self.name, self.known, adoption)
            actions = desired.plan(wanted, observed)
            if not actions:
                return writes
            for action in actions:
                log.info("writing", action=type(action).__name__, bucket=self.name)
                self._apply(action)
                writes += 1
        raise ProviderFault(f"bucket {self.name} does not settle")

    def _apply(self, action: desired.Action) -> None:
        match action:
            case desired.Create(location_hint):
                self._create(location_hint)
            case desired.PutOwner(owner):
                self.provider.put_owner(self.name, owner)
            case desired.PutCors(rules):
                self.provider.put_cors(self.name, rules)
            case desired.PutLifecycle(rules):
                self.provider.put_lifecycle(self.name, rules)

    def _create(self, location_hint: str | None) -> None:
        """Announce, then create. A bucket that appeared in between is not ours: the announcement is taken back."""
        if self.known.get("intent") != self.name:
            self.commit({"intent": self.name})
            self.known["intent"] = self.name
        try:
            self.provider.create(self.name, location_hint)
        except AlreadyExists:
            self.commit({"intent": None})
            raise


def _see(provider: BucketProvider, name: str) -> desired.Observed:
    if not provider.exists(name):
        return desired.Observed(exists=False)
    try:
        return desired.Observed(
            exists=True, owner=provider.owner(name), cors=provider.cors(name), lifecycle=provider.lifecycle(name)
        )
    except Gone:
        return desired.Observed(exists=False)


def _observe_only(provider: BucketProvider, name: str, wanted: desired.Desired, lacking: tuple[str, ...]) -> Outcome:
    observed = _see(provider, name)
    if not observed.exists:
        missing = Verdict("False", "NotFound", f"there is no bucket {name}, and Observe creates none")
        return Outcome({"bucket": None, "owned": None}, missing, missing, lacking)
    drift = desired.differences(wanted, observed)
    synced = Verdict("False", "Drift", f"differs and is only observed: {', '.join(drift)}") if drift else SYNCED
    return Outcome({"bucket": name, "owned": None}, READY, synced, lacking)
