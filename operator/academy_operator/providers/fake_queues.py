"""Providers in memory, beside the real ones and under the same contract tests; stricter than the emulators."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from academy_operator.errors import DeletedRecently, Gone, ProviderFault, Unsupported
from academy_operator.model import Clock
from academy_operator.providers.queues import Alarm, Counts, MoveTask, QueueFacts

ACCOUNT = "000000000000"
DELETED_SECONDS = 60.0
READ_ONLY = ("ApproximateNumberOfMessages", "QueueArn", "CreatedTimestamp", "LastModifiedTimestamp")
DEFAULTS = {
    "DelaySeconds": "0",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
    "VisibilityTimeout": "30",
}
RANGES = {
    "DelaySeconds": (0, 900),
    "MaximumMessageSize": (1024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
}

Fault = Callable[[str], None]
"""Called with "before OPERATION" and, once it has had its effect, "after OPERATION"; raises to inject a fault."""


def no_fault(_moment: str) -> None:
    """Nothing goes wrong."""


@dataclass(slots=True)
class _Queue:
    url: str
    arn: str
    attributes: dict[str, str]
    tags: dict[str, str]
    messages: list[str] = field(default_factory=list)
    in_flight: int = 0


@dataclass(slots=True)
class FakeQueues:
    """QueueProvider in memory. `calls` lists every operation in order; `watch` and `move_support` switch parts off."""

    clock: Clock
    region: str = "ap-northeast-2"
    emulator: bool = False
    move_support: bool = True
    watch: bool = True
    fault: Fault = no_fault
    calls: list[str] = field(default_factory=list)
    queues: dict[str, _Queue] = field(default_factory=dict)
    deleted: dict[str, float] = field(default_factory=dict)
    alarm_store: dict[str, Alarm] = field(default_factory=dict)
    ages: dict[str, float] = field(default_factory=dict)
    tasks: dict[str, list[MoveTask]] = field(default_factory=dict)
    _sequence: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def find(self, name: str) -> QueueFacts | None:
        """See QueueProvider."""
        self._enter("GetQueueUrl")
        queue = self.queues.get(name)
        if queue is None:
            return None
        attributes = {**queue.attributes, "QueueArn": queue.arn}
        return QueueFacts(queue.url, queue.arn, attributes, dict(queue.tags))

    def create(self, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """See QueueProvider; equal attributes silently find the existing queue, as in SQS."""
        self._enter("CreateQueue")
        if self.clock.monotonic() - self.deleted.get(name, float("-inf")) < DELETED_SECONDS:
            raise DeletedRecently("QueueDeletedRecently: wait 60 seconds")
        self._check(attributes)
        if any(value == "" for value in attributes.values()):
            raise ProviderFault("InvalidAttributeValue: empty value in CreateQueue")
        existing = self.queues.get(name)
        if existing is None:
            arn = f"arn:aws:sqs:{self.region}:{ACCOUNT}:{name}"
            url = f"https://sqs.{self.region}.example/{ACCOUNT}/{name}"
            self.queues[name] = _Queue(url, arn, {**DEFAULTS, **attributes}, dict(tags))
        elif any(existing.attributes.get(key) != value for key, value in attributes.items()):
            raise ProviderFault("QueueNameExists: with different attributes")
        self.fault("after CreateQueue")

    def set_attributes(self, url: str, attributes: Mapping[str, str]) -> None:
        """See QueueProvider."""
        self._enter("SetQueueAttributes")
        self._check(attributes)
        queue = self._at(url)
        for key, value in attributes.items():
            if value == "":
                queue.attributes.pop(key, None)
            else:
                queue.attributes[key] = value
        if "KmsMasterKeyId" in queue.attributes:
            queue.attributes["SqsManagedSseEnabled"] = "false"
        self.fault("after SetQueueAttributes")

    def tag(self, url: str, tags: Mapping[str, str]) -> None:
        """See QueueProvider."""
        self._enter("TagQueue")
        self._at(url).tags.update(tags)
        self.fault("after TagQueue")

    def untag(self, url: str, keys: Sequence[str]) -> None:
        """See QueueProvider."""
        self._enter("UntagQueue")
        for key in keys:
            self._at(url).tags.pop(key, None)
        self.fault("after UntagQueue")

    def delete(self, url: str) -> None:
        """See QueueProvider."""
        self._enter("DeleteQueue")
        name = url.rpartition("/")[2]
        if self.queues.pop(name, None) is not None:
            self.deleted[name] = self.clock.monotonic()
        self.fault("after DeleteQueue")

    def counts(self, url: str) -> Counts:
        """See QueueProvider."""
        self._enter("GetQueueAttributes")
        queue = self._at(url)
        return Counts(len(queue.messages), queue.in_flight, 0)

    def move_tasks(self, source_arn: str) -> Sequence[MoveTask]:
        """See QueueProvider."""
        self._enter("ListMessageMoveTasks")
        self._need_moves()
        return list(reversed(self.tasks.get(source_arn, [])))[:10]

    def start_move(self, source_arn: str, destination_arn: str, per_second: int | None) -> None:  # noqa: ARG002
        """See QueueProvider. The task ends at once."""
        self._enter("StartMessageMoveTask")
        self._need_moves()
        source, destination = self._by_arn(source_arn), self._by_arn(destination_arn)
        moved = len(source.messages)
        destination.messages += source.messages
        source.messages = []
        self.tasks.setdefault(source_arn, []).append(MoveTask(next(self._sequence), False, None, moved))
        self.fault("after StartMessageMoveTask")

    def move(self, source_url: str, destination_url: str, limit: int) -> int:
        """See QueueProvider."""
        self._enter("ReceiveMessage")
        source, destination = self._at(source_url), self._at(destination_url)
        batch, source.messages = source.messages[:limit], source.messages[limit:]
        destination.messages += batch
        self.fault("after DeleteMessageBatch")
        return len(batch)

    def alarms(self, names: Sequence[str]) -> Mapping[str, Alarm]:
        """See QueueProvider."""
        self._need_watch()
        self._enter("DescribeAlarms")
        return {name: self.alarm_store[name] for name in names if name in self.alarm_store}

    def put_alarm(self, alarm: Alarm) -> None:
        """See QueueProvider."""
        self._need_watch()
        self._enter("PutMetricAlarm")
        self.alarm_store[alarm.name] = alarm
        self.fault("after PutMetricAlarm")

    def delete_alarms(self, names: Sequence[str]) -> None:
        """See QueueProvider."""
        self._need_watch()
        self._enter("DeleteAlarms")
        for name in names:
            self.alarm_store.pop(name, None)
        self.fault("after DeleteAlarms")

    def oldest(self, name: str, now: datetime) -> datetime | None:
        """See QueueProvider."""
        self._need_watch()
        self._enter("GetMetricStatistics")
        return now - timedelta(seconds=self.ages[name]) if name in self.ages else None

    def send(self, name: str, *bodies: str) -> None:
        """For tests: messages arrive."""
        self.queues[name].messages += bodies

    def writes(self) -> list[str]:
        """The operations that change something, in order."""
        verbs = ("Create", "Set", "Tag", "Untag", "Delete", "Put", "Start", "Receive")
        return [call for call in self.calls if call.startswith(verbs)]

    def _enter(self, operation: str) -> None:
        self.fault(f"before {operation}")
        self.calls.append(operation)

    def _at(self, url: str) -> _Queue:
        queue = self.queues.get(url.rpartition("/")[2])
        if queue is None:
            raise Gone(f"no queue at {url}")
        return queue

    def _by_arn(self, arn: str) -> _Queue:
        return self._at(arn.replace(":", "/"))

    def _need_moves(self) -> None:
        if not self.move_support:
            raise Unsupported("no message move tasks")

    def _need_watch(self) -> None:
        if not self.watch:
            raise Unsupported("there is no CloudWatch")

    def _check(self, attributes: Mapping[str, str]) -> None:
        for key, value in attributes.items():
            low, high = RANGES.get(key, (None, None))
            if low is not None and high is not None and not low <= int(value) <= high:
                raise ProviderFault(f"InvalidAttributeValue: {key}")
            if key in READ_ONLY:
                raise ProviderFault(f"InvalidAttributeName: {key}")
            if key in ("Policy", "RedrivePolicy", "RedriveAllowPolicy") and value:
                json.loads(value)
        policy = attributes.get("RedrivePolicy")
        if policy and json.loads(policy)["deadLetterTargetArn"].rpartition(":")[2] not in self.queues:
            raise ProviderFault("InvalidParameterValue: the dead-letter queue does not exist")
