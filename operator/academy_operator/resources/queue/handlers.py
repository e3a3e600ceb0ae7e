"""Queue: reads the provider, compares (desired.py), applies the differences, reports. Called by the reconciler."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from academy_operator import metrics
from academy_operator.cluster import Cluster
from academy_operator.errors import ProviderFault, Refused, Unsupported
from academy_operator.model import Clock, Json, Owner, Resource, format_time, parse_time
from academy_operator.providers.queues import Counts, QueueProvider
from academy_operator.resources.base import READY, SYNCED, Commit, Measurement, Outcome, Verdict
from academy_operator.resources.queue import desired, redrive

log = structlog.get_logger()

ROUNDS = 8
"""Observe-apply rounds of one pass: dead-letter queue, queue, repairs, and slack for emulators."""
PROPAGATION_SECONDS = 60.0
"""SQS shows a changed attribute within this time."""
SAME_MOMENT = timedelta(seconds=90)
"""Two readings of the oldest message's time that differ by less are one moment: CloudWatch samples by the minute."""

ProviderFor = Callable[[str, str | None, str], QueueProvider]
"""(region, Secret's name or None, namespace) → provider. Raises CredentialsMissing."""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What the operator as a whole says about queues."""

    cluster_id: str
    region: str
    allowed_principals: frozenset[str]


@dataclass(slots=True)
class QueueKind:
    """The Queue kind."""

    settings: QueueSettings
    provider_for: ProviderFor
    cluster: Cluster
    clock: Clock
    wait: Callable[[float], bool]
    kind: str = "Queue"
    plural: str = "queues"
    _unsupported: set[str] = field(default_factory=set)
    """Attributes that the emulator in use does not keep."""

    def claims(self, resource: Resource) -> frozenset[str]:
        """The queue and its dead-letter queue."""
        return desired.claims(resource, self.settings.region)

    def reconcile(self, resource: Resource, status: Json, commit: Commit) -> Outcome:
        """One full pass."""
        spec = desired.spec_of(resource)
        desired.check_principals(spec, self.settings.allowed_principals)
        provider = self._provider(resource, spec)
        owner = self._owner(resource)
        wanted = desired.desired(spec, desired.queue_name(resource), owner)
        if spec.adoption == "Observe":
            return self._observe_only(resource, provider, wanted, status)
        observed, writes, late = self._converge(provider, wanted, owner, spec.adoption, status)
        fields = dict(desired.status_of(observed, spec))
        redriver = redrive.Redriver(provider, commit, self.clock.now, self.wait, fresh="url" not in status)
        fields |= _redrive(redriver, spec.redrive, {**status, **fields})
        fields |= self._measure(resource, provider, {**status, **fields}, with_age=True)
        return Outcome(
            fields=fields,
            ready=self._publish(resource, fields),
            synced=Verdict("False", "Propagating", f"not visible yet: {late}") if late else SYNCED,
            not_supported=self._not_supported(observed, spec),
            again_after=PROPAGATION_SECONDS if late else None,
            writes=writes,
        )

    def measure(self, resource: Resource, status: Json, commit: Commit) -> Measurement:
        """Depths, and the progress of a redrive."""
        if not status.get("url"):
            return Measurement()
        spec = desired.spec_of(resource)
        try:
            provider = self._provider(resource, spec)
        except ProviderFault as fault:
            return Measurement(dict.fromkeys(("depth", "inFlight", "delayed", "dlqDepth", "oldestMessageTime")), fault)
        fields: dict[str, Any] = {}
        met: ProviderFault | None = None
        try:
            if spec.adoption != "Observe":
                redriver = redrive.Redriver(provider, commit, self.clock.now, self.wait, fresh=False)
                fields |= _redrive(redriver, spec.redrive, status)
        except ProviderFault as fault:
            met = fault
        reading = self._read(provider, status)
        fields |= self._fields(resource, reading, status)
        return Measurement(fields, met or reading.fault)

    def delete(self, resource: Resource, status: Json) -> bool:  # noqa: ARG002  (the tags are the proof, not the status)
        """Delete queue, dead-letter queue and alarms, whichever are ours."""
        spec = desired.spec_of(resource)
        provider = self._provider(resource, spec)
        owner = self._owner(resource)
        name = desired.queue_name(resource)
        found = [provider.find(name), provider.find(desired.dead_letter_name(name))]
        ours = [facts for facts in found if facts is not None and desired.is_ours(facts, owner)]
        if not spec.forceDestroy:
            held = {facts.arn: provider.counts(facts.url).total for facts in ours}
            holding = [f"{arn} holds about {count} messages" for arn, count in held.items() if count]
            if holding:
                raise Refused(
                    "HoldsMessages",
                    f"{'; '.join(holding)}: empty it, set forceDestroy, or set deletionPolicy to Retain",
                )
        for facts in ours:
            provider.delete(facts.url)
        if ours:
            try:
                provider.delete_alarms(desired.alarm_names(name))
            except Unsupported:
                log.debug("no alarms to delete: there is no CloudWatch", resource=resource.label)
        return True

    def forget(self, resource: Resource) -> None:
        """Drop the queue's gauges."""
        metrics.forget_queue(resource.namespace, resource.name)

    def _provider(self, resource: Resource, spec: desired.QueueSpec) -> QueueProvider:
        secret = spec.credentials.secretName if spec.credentials else None
        return self.provider_for(spec.region or self.settings.region, secret, resource.namespace)

    def _owner(self, resource: Resource) -> Owner:
        return Owner(self.settings.cluster_id, resource.namespace, resource.name)

    def _see(self, provider: QueueProvider, wanted: desired.Desired) -> desired.Observed:
        try:
            alarms = provider.alarms(wanted.alarm_names)
        except Unsupported:
            alarms = None
        return desired.Observed(
            queue=provider.find(wanted.name),
            dead_letter=provider.find(wanted.dead_letter_name) if wanted.dead_letter_name else None,
            alarms=alarms,
            unsupported=frozenset(self._unsupported),
        )

    def _converge(
        self, provider: QueueProvider, wanted: desired.Desired, owner: Owner, adoption: str, status: Json
    ) -> tuple[desired.Observed, int, str]:
        """Observe and apply until nothing is left: what is there, writes that changed anything, and what is late."""
        applied: list[desired.Action] = []
        for _ in range(ROUNDS):
            observed = self._see(provider, wanted)
            desired.check_ownership(wanted, observed, owner, adoption)
            actions = desired.plan(wanted, observed, status.get("managedTagKeys") or ())
            if not actions:
                return observed, self._kept(applied), ""
            fresh = [action for action in actions if action not in applied]
            if not fresh and not (provider.emulator and self._learn(actions, observed)):
                _check_visible(wanted, observed)
                return observed, self._kept(applied), ", ".join(type(action).__name__ for action in actions)
            for action in fresh:
                self._apply(provider, action)
                applied.append(action)
        raise ProviderFault(f"{wanted.name} does not settle: {applied[-1]}")

    def _learn(self, actions: tuple[desired.Action, ...], observed: desired.Observed) -> bool:
        """Remember the attributes an emulator drops, so that they are not written in every pass."""
        shown = {facts.url: facts.attributes for facts in (observed.queue, observed.dead_letter) if facts}
        dropped = {
            key
            for action in actions
            if isinstance(action, desired.SetAttributes)
            for key in action.attributes
            if key not in shown[action.url]
        }
        self._unsupported |= dropped
        return bool(dropped)

    def _kept(self, applied: list[desired.Action]) -> int:
        """Writes that changed anything: an emulator that drops one is tried by every process anew."""
        dropped = self._unsupported
        return sum(
            not (isinstance(action, desired.SetAttributes) and action.attributes.keys() <= dropped)
            for action in applied
        )

    def _apply(self, provider: QueueProvider, action: desired.Action) -> None:
        log.info("writing", action=type(action).__name__)
        match action:
            case desired.Create(name, attributes, tags):
                provider.create(name, attributes, tags)
            case desired.SetAttributes(url, attributes):
                provider.set_attributes(url, attributes)
            case desired.Tag(url, tags):
                provider.tag(url, tags)
            case desired.Untag(url, keys):
                provider.untag(url, keys)
            case desired.PutAlarm(alarm):
                provider.put_alarm(alarm)
            case desired.DeleteAlarms(names):
                provider.delete_alarms(names)

    def _observe_only(
        self, resource: Resource, provider: QueueProvider, wanted: desired.Desired, status: Json
    ) -> Outcome:
        observed = self._see(provider, wanted)
        spec = desired.spec_of(resource)
        fields = {**desired.status_of(observed, spec), "managedTagKeys": None}
        if observed.queue is None:
            gone = {"url": None, "arn": None, **dict.fromkeys(("depth", "inFlight", "delayed", "dlqDepth"))}
            return Outcome(
                fields={**fields, **gone, "oldestMessageTime": None},
                ready=Verdict("False", "NotFound", f"there is no queue {wanted.name}, and Observe creates none"),
                synced=Verdict("False", "NotFound"),
            )
        fields |= self._measure(resource, provider, {**status, **fields}, with_age=True)
        drift = desired.differences(wanted, observed)
        return Outcome(
            fields=fields,
            ready=self._publish(resource, fields),
            synced=Verdict("False", "Drift", f"differs and is only observed: {', '.join(drift)}") if drift else SYNCED,
        )

    def _publish(self, resource: Resource, fields: Mapping[str, Any]) -> Verdict:
        """Keep the ConfigMap <name>-queue; a stranger's of that name is left alone."""
        data = desired.config_map(fields["url"], fields["arn"], fields.get("dlqUrl"))
        name = f"{resource.name}-queue"
        if self.cluster.ensure_config_map(resource, name, data):
            return READY
        return Verdict("False", "Conflict", f"ConfigMap {name} exists and is not this resource's: delete or rename it")

    def _not_supported(self, observed: desired.Observed, spec: desired.QueueSpec) -> tuple[str, ...]:
        lacking = tuple(f"attribute {name}: this provider does not keep it" for name in sorted(self._unsupported))
        if observed.alarms is None and spec.alarms.enabled:
            lacking += ("spec.alarms: this provider has no CloudWatch",)
        return lacking

    def _measure(self, resource: Resource, provider: QueueProvider, status: Json, *, with_age: bool) -> dict[str, Any]:
        reading = self._read(provider, status)
        if reading.fault:
            raise reading.fault
        fields = self._fields(resource, reading, status)
        if with_age and reading.queue and (reading.queue.visible or reading.queue.in_flight):
            fields["oldestMessageTime"] = self._oldest(resource, provider, status)
        return fields

    def _read(self, provider: QueueProvider, status: Json) -> "_Reading":
        queue, fault = _try_counts(provider, status["url"])
        dead_letter, second = _try_counts(provider, status["dlqUrl"]) if status.get("dlqUrl") else (None, None)
        return _Reading(queue, dead_letter, fault or second)

    def _fields(self, resource: Resource, reading: "_Reading", status: Json) -> dict[str, Any]:
        """Absent, never 0, where nothing was read; and no oldest message where there is no message."""
        queue, dead_letter = reading.queue, reading.dead_letter
        dead = dead_letter.visible + dead_letter.in_flight if dead_letter else None
        empty = queue is None or (queue.visible == 0 and queue.in_flight == 0)
        fields: dict[str, Any] = {
            "depth": queue.visible if queue else None,
            "inFlight": queue.in_flight if queue else None,
            "delayed": queue.delayed if queue else None,
            "dlqDepth": dead,
        }
        if empty:
            fields["oldestMessageTime"] = None
        metrics.show_queue(resource.namespace, resource.name, queue.visible if queue else None, dead)
        oldest = None if empty else status.get("oldestMessageTime")
        age = (self.clock.now() - parse_time(oldest)).total_seconds() if oldest else None
        metrics.show_age(resource.namespace, resource.name, age)
        return fields

    def _oldest(self, resource: Resource, provider: QueueProvider, status: Json) -> str | None:
        try:
            moment = provider.oldest(desired.queue_name(resource), self.clock.now())
        except Unsupported:
            return None
        return steady_minute(moment, status.get("oldestMessageTime"))


def _redrive(redriver: redrive.Redriver, asked: desired.Redrive | None, status: Json) -> dict[str, Any]:
    """status.redrive after one step of it."""
    if not status.get("dlqUrl"):
        return {}
    ends = redrive.Ends(status["url"], status["arn"], status["dlqUrl"], status["dlqArn"])
    record = redriver.step(asked, status, ends)
    return {"redrive": record.fields()} if record else {}


@dataclass(frozen=True, slots=True)
class _Reading:
    queue: Counts | None
    dead_letter: Counts | None
    fault: ProviderFault | None


def _check_visible(wanted: desired.Desired, observed: desired.Observed) -> None:
    """A queue that was just created may take a moment to show; nothing can be reported of it until then."""
    if observed.queue is None or (wanted.dead_letter_name and observed.dead_letter is None):
        raise ProviderFault(f"{wanted.name} is created and does not show yet")


def _try_counts(provider: QueueProvider, url: str) -> tuple[Counts | None, ProviderFault | None]:
    try:
        return provider.counts(url), None
    except ProviderFault as fault:
        return None, fault


def steady_minute(moment: datetime | None, before: str | None) -> str | None:
    """`moment` to the minute; `before` as long as it is the same moment but for the sampling."""
    if moment is None:
        return None
    if before and abs(parse_time(before) - moment) <= SAME_MOMENT:
        return before
    return format_time(moment.replace(second=0, microsecond=0))
