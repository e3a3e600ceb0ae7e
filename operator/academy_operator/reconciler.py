"""The one generic reconciler: what every kind has in common.

A pass over a resource: paused? senior rival? then the kind's own observe-compare-apply; then conditions and status. It
never raises for what a provider does: a fault becomes a condition and an earlier next pass, so nothing is lost. The
sweep (sweep.py) and kopf's handlers (main.py) call it from threads; one lock a resource keeps passes apart.
"""

import itertools
import random
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from academy_core.errors import Retryable
from academy_operator import backoff, conditions, metrics
from academy_operator.cluster import Cluster
from academy_operator.conditions import Condition
from academy_operator.errors import ClusterFault, Forbidden, NamespaceTerminating, ProviderFault, Refused, ResourceGone
from academy_operator.model import Clock, Json, Resource, parse_time
from academy_operator.resources.base import Kind, Outcome, Verdict

log = structlog.get_logger()

AT_ONCE = float("-inf")
"""Due before everything that is due by the clock."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How often what happens, in seconds."""

    count: float = 30.0
    """Depths are read, and a status is written at most, this often a resource."""
    drift: float = 300.0
    """Full pass over every resource."""
    release: float = 600.0
    """A deletion that a provider keeps from ending is let go after this long."""
    holding: float = 30.0
    """Next look at a deletion that was refused."""


@dataclass(slots=True)
class Track:
    """What the operator remembers of one resource between passes; all of it can be lost."""

    resource: Resource
    status: dict[str, Any]
    lock: threading.Lock = field(default_factory=threading.Lock)
    claims: frozenset[str] = frozenset()
    """Provider-side names it speaks for."""
    failures: int = 0
    next_pass: float = 0.0
    next_count: float = 0.0
    written_at: float | None = None
    pending: dict[str, Any] | None = None
    """A status that waits for its turn to be written."""

    @property
    def current(self) -> dict[str, Any]:
        """The status as it is known, written or not."""
        return self.status if self.pending is None else self.pending


@dataclass(frozen=True, slots=True)
class Wait:
    """A deletion that has not ended: try again in `seconds`."""

    seconds: float
    why: str


class Reconciler:
    """All resources of all kinds."""

    def __init__(
        self, kinds: Iterable[Kind], cluster: Cluster, clock: Clock, timing: Timing, rng: random.Random
    ) -> None:
        """`rng` jitters backoffs and spreads the sweep."""
        self._kinds = {kind.kind: kind for kind in kinds}
        self._cluster = cluster
        self._clock = clock
        self._timing = timing
        self._rng = rng
        self._tracks: dict[str, Track] = {}
        self._claims: dict[str, dict[str, Track]] = {}
        self._guard = threading.Lock()
        self._gone: set[str] = set()
        """Deleted since the last listing began."""

    # What the cluster tells

    def remember(self, resource: Resource) -> bool:
        """A resource as the cluster shows it; whether it wants a pass at once. An older picture changes nothing.

        The status is taken once: afterwards the operator alone writes it. What was left at rest waits for the sweep,
        so that a restart asks the provider no more than any other five minutes do.
        """
        with self._guard:
            track = self._tracks.get(resource.uid)
            if track is None:
                track = self._tracks[resource.uid] = Track(resource, dict(resource.status))
                now = self._clock.monotonic()
                track.next_pass = now + self._timing.drift * self._rng.random()
                track.next_count = now + self._timing.count * self._rng.random()
                urgent = not _is_at_rest(resource)
                metrics.RESOURCES.labels(resource.kind).inc()
            else:
                seen = track.resource
                if seen.version > resource.version:
                    return False
                urgent = (seen.generation, seen.guarded) != (resource.generation, resource.guarded)
            self._claim(track, self._kinds[resource.kind].claims(resource))
            track.resource = resource
            if urgent:
                track.next_pass = AT_ONCE
        return urgent

    def forget(self, uid: str) -> None:
        """The resource is gone; those that waited for its name get their turn."""
        with self._guard:
            self._gone.add(uid)
            track = self._tracks.pop(uid, None)
            if track is None:
                return
            resource = track.resource
            waiting = [other for other in self._claiming(track.claims) if other is not track]
            self._claim(track, frozenset())
        self._kinds[resource.kind].forget(resource)
        metrics.forget_resource(resource.kind, resource.namespace, resource.name)
        for other in waiting:
            other.next_pass = AT_ONCE

    def refresh(self) -> None:
        """List everything: what is there, and what went while a watch was cut off. Raises ClusterFault.

        A namespace that may not be read (its RoleBinding is gone, or not there yet) does not hold up the others.
        """
        with self._guard:
            known = [track.resource for track in self._tracks.values()]
            self._gone.clear()
        for kind, namespace in itertools.product(self._kinds.values(), self._cluster.namespaces):
            try:
                listed = {one.uid: one for one in self._cluster.list(kind.kind, kind.plural, namespace)}
            except Forbidden as fault:
                log.warning("not served", namespace=namespace, plural=kind.plural, why=str(fault))
                continue
            for uid, resource in listed.items():
                if uid not in self._gone:
                    self.remember(resource)
            for one in known:
                if (one.kind, one.namespace) == (kind.kind, namespace) and one.uid not in listed:
                    self.forget(one.uid)

    def knows(self, uid: str, version: int) -> bool:
        """Whether this very picture of a resource is known."""
        track = self._tracks.get(uid)
        return track is not None and track.resource.version == version

    # What the sweep asks

    def tracks(self) -> list[Track]:
        """All resources."""
        with self._guard:
            return list(self._tracks.values())

    def due_at(self, track: Track) -> float:
        """When (monotonic seconds) there is something to do for a resource; a deletion is kopf's to drive."""
        if track.resource.deleted_at is not None:
            return float("inf")
        return min(track.next_pass, track.next_count, self._write_time(track))

    def visit(self, uid: str) -> None:
        """Do what is due: a full pass, a count, or a status write that had to wait."""
        track = self._tracks.get(uid)
        if track is None:
            return
        if self._clock.monotonic() >= track.next_pass:
            self.reconcile(uid)
        elif self._clock.monotonic() >= track.next_count:
            self.measure(uid)
        else:
            with track.lock:
                self._write_late(track)

    # Passes

    def reconcile(self, uid: str) -> None:
        """One full pass."""
        track = self._tracks.get(uid)
        if track is None:
            return
        with track.lock:
            resource = track.resource
            track.next_pass = self._clock.monotonic() + self._timing.drift
            if resource.deleted_at is not None or (resource.cleans_up and not resource.guarded):
                return  # the second: nothing is made before the finalizer that will unmake it
            try:
                self._report(track, resource, *self._pass(track, resource))
            except ResourceGone:
                log.info("gone while being reconciled", resource=resource.label)
            except ClusterFault as fault:
                self._failed(track, fault)

    def measure(self, uid: str) -> None:
        """Read what changes by itself, and report it."""
        track = self._tracks.get(uid)
        if track is None:
            return
        with track.lock:
            resource = track.resource
            track.next_count = self._clock.monotonic() + self._timing.count
            if resource.deleted_at is not None or resource.paused or not track.current:
                return
            try:
                fields, found = self._measured(track, resource)
                self._report(track, resource, fields, found, whole=False)
            except ResourceGone:
                log.info("gone while being measured", resource=resource.label)
            except ClusterFault as fault:
                self._failed(track, fault)

    def _pass(self, track: Track, resource: Resource) -> tuple[Mapping[str, Any], list[Condition]]:
        if resource.paused:
            metrics.RECONCILES.labels(resource.kind, "paused").inc()
            return {}, [Condition(conditions.SYNCED, "Unknown", "Paused", "spec.paused is set")]
        try:
            self._check_rivals(resource)
            outcome = self._kinds[resource.kind].reconcile(resource, track.current, self._committer(track))
        except Refused as refusal:
            track.failures = 0
            metrics.RECONCILES.labels(resource.kind, "refused").inc()
            return {}, _refused(refusal)
        except ProviderFault as fault:
            self._failed(track, fault)
            metrics.RECONCILES.labels(resource.kind, "fault").inc()
            return {}, [*_unknown(track), *_degraded(fault.condition, str(fault))]
        except (ResourceGone, ClusterFault):
            raise
        except Exception as error:
            log.exception("a pass failed", resource=resource.label)
            self._failed(track, error)
            metrics.RECONCILES.labels(resource.kind, "error").inc()
            return {}, [
                *_unknown(track),
                *_degraded("InternalError", f"{type(error).__name__}: see the operator's log"),
            ]
        track.failures = 0
        track.next_count = self._clock.monotonic() + self._timing.count
        if outcome.again_after is not None:
            track.next_pass = min(track.next_pass, self._clock.monotonic() + outcome.again_after)
        metrics.RECONCILES.labels(resource.kind, "changed" if outcome.writes else "unchanged").inc()
        metrics.LAST_SYNC.labels(resource.kind, resource.namespace, resource.name).set(self._clock.now().timestamp())
        return outcome.fields, _settled(outcome)

    def _measured(self, track: Track, resource: Resource) -> tuple[Mapping[str, Any], list[Condition]]:
        measurement = self._kinds[resource.kind].measure(resource, track.current, self._committer(track))
        if measurement.again_after is not None:
            track.next_count = self._clock.monotonic() + measurement.again_after
        fault = measurement.fault
        if fault is None or track.failures:
            return measurement.fields, []  # a failed pass has said why, and will come back by itself
        self._failed(track, fault)
        reason = fault.condition if isinstance(fault, ProviderFault) else "InternalError"
        return measurement.fields, _degraded(reason, str(fault))

    # Deletion

    def delete(self, uid: str) -> Wait | None:
        """Delete what a resource stands for; None when its finalizer may go."""
        track = self._tracks.get(uid)
        if track is None:
            return None
        with track.lock:
            resource = track.resource
            if self._senior_rival(resource) is not None:
                return None
            try:
                done = self._kinds[resource.kind].delete(resource, track.current)
            except Refused as refusal:
                return self._hold(track, resource, refusal)
            except Retryable as fault:
                return self._hold_or_release(track, resource, fault)
            except Exception as error:
                log.exception("a deletion failed", resource=resource.label)
                return self._hold_or_release(track, resource, error)
            track.failures = 0
            return None if done else Wait(1.0, "more to delete")

    def _hold(self, track: Track, resource: Resource, refusal: Refused) -> Wait | None:
        """Say why it is not deleted; let go when the whole namespace is going."""
        try:
            self._cluster.post_event(resource, refusal.condition, str(refusal), self._clock.now())
        except NamespaceTerminating:
            self._release(resource, str(refusal), tell=False)
            return None
        except ClusterFault as fault:
            log.warning("no Event posted", resource=resource.label, why=str(fault))
        self._say_quietly(track, resource, _refused(refusal))
        return Wait(self._timing.holding, str(refusal))

    def _hold_or_release(self, track: Track, resource: Resource, fault: Exception) -> Wait | None:
        """Wait for the provider, ten minutes from the first failure of this deletion at most."""
        reason = fault.condition if isinstance(fault, ProviderFault) else "InternalError"
        since = self._failing_since(track, resource)
        if self._clock.now() - since >= timedelta(seconds=self._timing.release):
            self._release(resource, f"{reason}: {fault}", tell=True)
            return None
        self._say_quietly(track, resource, _degraded(reason, str(fault)))
        track.failures += 1
        least = fault.after_seconds if isinstance(fault, ProviderFault) else 0.0
        return Wait(max(least, min(30.0, backoff.delay(track.failures, self._rng))), str(fault))

    def _failing_since(self, track: Track, resource: Resource) -> datetime:
        """Since when Degraded is true, not before the deletion; kept in the status, so a restart does not extend it."""
        now = self._clock.now()
        degraded = conditions.find(track.current.get("conditions") or (), conditions.DEGRADED)
        if degraded is None or degraded.get("status") != "True":
            return now
        return max(parse_time(degraded["lastTransitionTime"]), resource.deleted_at or now)

    def _release(self, resource: Resource, left: str, *, tell: bool) -> None:
        log.error("released: what it stands for is left behind", resource=resource.label, spec=resource.spec, why=left)
        metrics.RELEASED.labels(resource.kind).inc()
        if not tell:
            return
        try:
            self._cluster.post_event(resource, "LeftBehind", f"left at the provider: {left}", self._clock.now())
        except (NamespaceTerminating, ClusterFault) as error:
            log.warning("no Event posted", resource=resource.label, why=str(error))

    def _say_quietly(self, track: Track, resource: Resource, found: list[Condition]) -> None:
        """Report during a deletion, where a failure to do so must not stop it."""
        try:
            self._report(track, resource, {}, found, whole=False)
            self._flush(track)
        except (ResourceGone, ClusterFault) as error:
            log.warning("status not written", resource=resource.label, why=str(error))

    # Rivals

    def _check_rivals(self, resource: Resource) -> None:
        rival = self._senior_rival(resource)
        if rival is not None:
            raise Refused(
                "Conflict",
                f"{rival.label} is older and stands for the same thing: delete one of the two, or rename it",
            )

    def _senior_rival(self, resource: Resource) -> Resource | None:
        """The oldest other resource that claims one of this one's names."""
        with self._guard:
            claiming = [track.resource for track in self._claiming(self._kinds[resource.kind].claims(resource))]
        elders = [other for other in claiming if other.seniority < resource.seniority]
        return min(elders, key=lambda elder: elder.seniority, default=None)

    def _claim(self, track: Track, claims: frozenset[str]) -> None:
        """Claim these names and no others."""
        uid = track.resource.uid
        for lost in track.claims - claims:
            holders = self._claims[lost]
            del holders[uid]
            if not holders:
                del self._claims[lost]
        for won in claims - track.claims:
            self._claims.setdefault(won, {})[uid] = track
        track.claims = claims

    def _claiming(self, claims: frozenset[str]) -> list[Track]:
        return [track for claim in claims for track in self._claims.get(claim, {}).values()]

    # Status

    def _report(
        self,
        track: Track,
        resource: Resource,
        fields: Mapping[str, Any],
        found: list[Condition],
        *,
        whole: bool = True,
    ) -> None:
        """Lay what was found over the status; write it now if its turn has come or the spec is new, else later."""
        base = track.current
        status = {**base, **fields}
        generation = resource.generation if whole else int(base.get("observedGeneration", resource.generation))
        status["conditions"] = conditions.merge(
            base.get("conditions") or (), found, generation=generation, now=self._clock.now()
        )
        if whole:
            status["observedGeneration"] = generation
        track.pending = {key: value for key, value in status.items() if value is not None}
        new_spec = track.status.get("observedGeneration") != track.pending.get("observedGeneration")
        if new_spec or self._clock.monotonic() >= self._write_time(track):
            self._flush(track)

    def _write_time(self, track: Track) -> float:
        """When the next status write of a resource is allowed, if one waits."""
        if track.pending is None:
            return float("inf")
        return track.written_at + self._timing.count if track.written_at is not None else float("-inf")

    def _flush(self, track: Track) -> None:
        if track.pending is None:
            return
        self._write(track, track.pending)
        track.pending = None

    def _write_late(self, track: Track) -> None:
        try:
            self._flush(track)
        except ResourceGone:
            log.info("gone before its status was written", resource=track.resource.label)
        except ClusterFault as fault:
            log.warning("status not written, will try again", resource=track.resource.label, why=str(fault))

    def _write(self, track: Track, status: dict[str, Any]) -> None:
        if status != track.status:
            track.written_at = self._clock.monotonic()
            self._cluster.write_status(track.resource, status)
            metrics.STATUS_WRITES.labels(track.resource.kind).inc()
            track.status = status

    def _committer(self, track: Track) -> "_Committer":
        return _Committer(self, track)

    def commit(self, track: Track, fields: Mapping[str, Any]) -> None:
        """Write fields before the call they announce. What else waits to be written goes with it."""
        base = track.current
        status = {key: value for key, value in {**base, **fields}.items() if value is not None}
        self._write(track, status)
        track.pending = None

    # Scheduling

    def _failed(self, track: Track, fault: Exception) -> None:
        """Come back sooner than the sweep would, later with every failure."""
        track.failures += 1
        least = fault.after_seconds if isinstance(fault, ProviderFault) else 0.0
        wait = max(least, backoff.delay(track.failures, self._rng))
        track.next_pass = min(track.next_pass, self._clock.monotonic() + wait)
        log.warning("will try again", resource=track.resource.label, why=str(fault), seconds=round(wait, 1))


@dataclass(frozen=True, slots=True)
class _Committer:
    """A Commit bound to one resource."""

    reconciler: Reconciler
    track: Track

    def __call__(self, fields: Json) -> None:
        self.reconciler.commit(self.track, fields)


def _is_at_rest(resource: Resource) -> bool:
    """Whether its status says that this very spec was reached."""
    synced = conditions.find(resource.status.get("conditions") or (), conditions.SYNCED)
    reached = synced is not None and synced.get("status") == "True"
    return reached and resource.status.get("observedGeneration") == resource.generation


def _condition(kind: str, verdict: Verdict) -> Condition:
    return Condition(kind, verdict.status, verdict.reason, verdict.message)


def _settled(outcome: Outcome) -> list[Condition]:
    lacking = "; ".join(outcome.not_supported)
    return [
        _condition(conditions.READY, outcome.ready),
        _condition(conditions.SYNCED, outcome.synced),
        Condition(conditions.DEGRADED, "False", "ProviderAnswers"),
        Condition(conditions.NOT_SUPPORTED, "True", "ProviderLacksIt", lacking)
        if lacking
        else Condition(conditions.NOT_SUPPORTED, "False", "AllSupported"),
    ]


def _refused(refusal: Refused) -> list[Condition]:
    return [
        Condition(conditions.READY, "False", refusal.condition, str(refusal)),
        Condition(conditions.SYNCED, "False", refusal.condition, str(refusal)),
        Condition(conditions.DEGRADED, "False", "ProviderAnswers"),
    ]


def _unknown(track: Track) -> list[Condition]:
    """Before the first pass that succeeds, whether it can be used is unknown, and said so."""
    if conditions.find(track.current.get("conditions") or (), conditions.READY):
        return []
    return [Condition(conditions.READY, "Unknown", "NotReconciled", "no pass has succeeded yet: see Degraded")]


def _degraded(reason: str, message: str) -> list[Condition]:
    """Ready stays what it was: a provider that does not answer says nothing about the queue."""
    return [
        Condition(conditions.SYNCED, "Unknown", reason, message),
        Condition(conditions.DEGRADED, "True", reason, message),
    ]
