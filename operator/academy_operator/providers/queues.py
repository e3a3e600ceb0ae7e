"""What the queue kind needs of a provider: SQS and CloudWatch behind one interface (aws.py, fake_queues.py)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """An existing queue: attributes as SQS spells them, and tags."""

    url: str
    arn: str
    attributes: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Counts:
    """SQS's approximate numbers of messages."""

    visible: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        """All that would be lost with the queue."""
        return self.visible + self.in_flight + self.delayed


@dataclass(frozen=True, slots=True)
class Alarm:
    """A CloudWatch alarm over one queue's visible messages: what PutMetricAlarm takes and DescribeAlarms gives."""

    name: str
    queue: str
    threshold: float
    period: int
    periods: int
    actions: tuple[str, ...]
    metric: str = "ApproximateNumberOfMessagesVisible"
    namespace: str = "AWS/SQS"
    statistic: str = "Maximum"
    comparison: str = "GreaterThanThreshold"
    missing: str = "ignore"
    """An unreadable depth keeps the alarm as it is: unknown is not zero."""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class MoveTask:
    """One of SQS's message move tasks."""

    started_ms: int
    running: bool
    failure: str | None
    moved: int


class QueueProvider(Protocol):
    """One region's queues with one set of credentials. Every call may raise ProviderFault."""

    emulator: bool
    """Whether this is not AWS: attributes that do not stick are then not supported rather than late."""

    def find(self, name: str) -> QueueFacts | None:
        """The queue of that name, None when there is none."""

    def create(self, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Create it with its tags in one call. Raises DeletedRecently."""

    def set_attributes(self, url: str, attributes: Mapping[str, str]) -> None:
        """Set attributes; an empty string clears one."""

    def tag(self, url: str, tags: Mapping[str, str]) -> None:
        """Add or replace tags."""

    def untag(self, url: str, keys: Sequence[str]) -> None:
        """Remove tags."""

    def delete(self, url: str) -> None:
        """Delete the queue with all its messages; a queue that is gone is no error."""

    def counts(self, url: str) -> Counts:
        """Raises Gone when there is no such queue; never answers 0 for what it cannot read."""

    def move_tasks(self, source_arn: str) -> Sequence[MoveTask]:
        """The latest move tasks, newest first. Raises Unsupported."""

    def start_move(self, source_arn: str, destination_arn: str, per_second: int | None) -> None:
        """Start a move task. Raises Unsupported."""

    def move(self, source_url: str, destination_url: str, limit: int) -> int:
        """Receive at most `limit` (1 to 10), send them on, delete what was sent; how many were moved."""

    def alarms(self, names: Sequence[str]) -> Mapping[str, Alarm]:
        """Those of the named alarms that exist. Raises Unsupported."""

    def put_alarm(self, alarm: Alarm) -> None:
        """Create or replace an alarm. Raises Unsupported."""

    def delete_alarms(self, names: Sequence[str]) -> None:
        """Delete alarms; one that is gone is no error. Raises Unsupported."""

    def oldest(self, name: str, now: datetime) -> datetime | None:
        """When the oldest message was sent, None when there is no figure. Raises Unsupported."""
