"""Pure: from a Queue's spec and what was observed to the writes that are left to do.

`plan` is called until it answers nothing: observe, plan, apply, observe again. Each answer holds what can be done with
what is known so far (the redrive policy needs the dead-letter queue's ARN, which exists once that queue does).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from academy_operator.errors import Refused
from academy_operator.model import GROUP, Json, Owner, Resource
from academy_operator.providers.queues import Alarm, QueueFacts

TAG_CLUSTER = f"{GROUP}/cluster"
TAG_NAMESPACE = f"{GROUP}/namespace"
TAG_NAME = f"{GROUP}/name"

POLICY_SID = "academy-operator"
POLICY_ACTIONS = (
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
)
"""What an allowed principal may do; never administration."""

DOCUMENTS = frozenset({"Policy", "RedrivePolicy", "RedriveAllowPolicy"})
"""Attributes that are JSON and compared as such."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Encryption(_Model):
    """spec.encryption."""

    mode: Literal["SSE-SQS", "KMS", "None"] = "SSE-SQS"
    kmsKeyId: str | None = None  # noqa: N815
    dataKeyReusePeriod: int = 300  # noqa: N815


class DeadLetter(_Model):
    """spec.deadLetter."""

    enabled: bool = True
    maxReceiveCount: int = 20  # noqa: N815
    retention: int = 1_209_600


class Threshold(_Model):
    """spec.alarms.depth and spec.alarms.deadLetterDepth."""

    threshold: int
    periods: int


class Alarms(_Model):
    """spec.alarms; the defaults are S-21's."""

    enabled: bool = True
    period: int = 300
    depth: Threshold = Threshold(threshold=1000, periods=2)
    deadLetterDepth: Threshold = Threshold(threshold=10, periods=1)  # noqa: N815
    actions: tuple[str, ...] = ()


class Credentials(_Model):
    """spec.credentials."""

    secretName: str  # noqa: N815


class Redrive(_Model):
    """spec.redrive."""

    token: str
    maxMessagesPerSecond: int | None = None  # noqa: N815
    maxMessages: int | None = None  # noqa: N815


class QueueSpec(_Model):
    """The typed spec; the API server has applied crd.yaml's defaults, a test holds these equal to them."""

    name: str | None = None
    region: str | None = None
    visibilityTimeout: int = 300  # noqa: N815
    receiveWaitTime: int = 20  # noqa: N815
    retention: int = 345_600
    delay: int = 0
    maximumMessageSize: int = 1_048_576  # noqa: N815
    encryption: Encryption = Encryption()
    deadLetter: DeadLetter = DeadLetter()  # noqa: N815
    tags: dict[str, str] = {}
    allowedPrincipals: tuple[str, ...] = ()  # noqa: N815
    alarms: Alarms = Alarms()
    credentials: Credentials | None = None
    deletionPolicy: Literal["Retain", "Delete"] = "Retain"  # noqa: N815
    forceDestroy: bool = False  # noqa: N815
    adoption: Literal["Refuse", "Adopt", "Observe"] = "Refuse"
    paused: bool = False
    redrive: Redrive | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """CreateQueue, tags included: ownership is there from the first moment."""

    name: str
    attributes: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SetAttributes:
    """SetQueueAttributes with the differing ones only."""

    url: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tag:
    """TagQueue with the differing ones only."""

    url: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Untag:
    """UntagQueue: what was in the spec and is no more."""

    url: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PutAlarm:
    """PutMetricAlarm."""

    alarm: Alarm


@dataclass(frozen=True, slots=True)
class DeleteAlarms:
    """DeleteAlarms."""

    names: tuple[str, ...]


Action = Create | SetAttributes | Tag | Untag | PutAlarm | DeleteAlarms


@dataclass(frozen=True, slots=True)
class Desired:
    """What the provider should have. Attributes that need an ARN are added by `plan` once it is known."""

    name: str
    attributes: Mapping[str, str]
    tags: Mapping[str, str]
    dead_letter_name: str | None
    dead_letter_attributes: Mapping[str, str]
    max_receive_count: int
    principals: tuple[str, ...]
    alarms: tuple[Alarm, ...]
    alarm_names: tuple[str, ...]
    """Every alarm name that belongs to this queue, wanted or not."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the provider has. `alarms` is None where there is no CloudWatch."""

    queue: QueueFacts | None
    dead_letter: QueueFacts | None
    alarms: Mapping[str, Alarm] | None = None
    unsupported: frozenset[str] = field(default_factory=frozenset)
    """Attributes this provider is known not to keep."""


def dead_letter_name(name: str) -> str:
    """The dead-letter queue's name, by the platform's rule."""
    return f"{name}-dlq"


def queue_name(resource: Resource) -> str:
    """spec.name, or the resource's own."""
    return str(resource.spec.get("name") or resource.name)


def claims(resource: Resource, default_region: str) -> frozenset[str]:
    """The provider-side names this resource speaks for: two resources with one in common are in conflict.

    Credentials of its own may be of another account, where the name is another queue's.
    """
    region = resource.spec.get("region") or default_region
    secret = resource.spec.get("credentials", {}).get("secretName")
    account = f"{resource.namespace}/{secret}" if secret else "own"
    name = queue_name(resource)
    return frozenset(f"queue/{account}/{region}/{one}" for one in (name, dead_letter_name(name)))


def ownership_tags(owner: Owner) -> dict[str, str]:
    """The proof of ownership."""
    return {TAG_CLUSTER: owner.cluster, TAG_NAMESPACE: owner.namespace, TAG_NAME: owner.name}


def is_ours(facts: QueueFacts, owner: Owner) -> bool:
    """Whether a queue carries this resource's tags."""
    return all(facts.tags.get(key) == value for key, value in ownership_tags(owner).items())


def desired(spec: QueueSpec, name: str, owner: Owner) -> Desired:
    """What the provider should have for this spec."""
    dead_letter = dead_letter_name(name) if spec.deadLetter.enabled else None
    common = {
        "MaximumMessageSize": str(spec.maximumMessageSize),
        "ReceiveMessageWaitTimeSeconds": str(spec.receiveWaitTime),
        "VisibilityTimeout": str(spec.visibilityTimeout),
        **_encryption(spec.encryption),
    }
    return Desired(
        name=name,
        attributes={**common, "DelaySeconds": str(spec.delay), "MessageRetentionPeriod": str(spec.retention)},
        tags={**spec.tags, **ownership_tags(owner)},
        dead_letter_name=dead_letter,
        dead_letter_attributes={
            **common,
            "DelaySeconds": "0",
            "MessageRetentionPeriod": str(spec.deadLetter.retention),
        },
        max_receive_count=spec.deadLetter.maxReceiveCount,
        principals=tuple(sorted(spec.allowedPrincipals)),
        alarms=_alarms(spec, name, dead_letter),
        alarm_names=alarm_names(name),
    )


def _encryption(encryption: Encryption) -> dict[str, str]:
    if encryption.mode == "KMS":
        return {
            "KmsMasterKeyId": encryption.kmsKeyId or "",
            "KmsDataKeyReusePeriodSeconds": str(encryption.dataKeyReusePeriod),
        }
    return {"SqsManagedSseEnabled": "true" if encryption.mode == "SSE-SQS" else "false", "KmsMasterKeyId": ""}


def alarm_names(name: str) -> tuple[str, ...]:
    """Names of a queue's alarms: depth, and depth of the dead-letter queue."""
    return (f"{name}-depth", f"{dead_letter_name(name)}-depth")


def _alarms(spec: QueueSpec, name: str, dead_letter: str | None) -> tuple[Alarm, ...]:
    if not spec.alarms.enabled:
        return ()
    watched = [(name, spec.alarms.depth)]
    if dead_letter:
        watched.append((dead_letter, spec.alarms.deadLetterDepth))
    return tuple(
        Alarm(
            name=f"{queue}-depth",
            queue=queue,
            threshold=float(limit.threshold),
            period=spec.alarms.period,
            periods=limit.periods,
            actions=tuple(sorted(spec.alarms.actions)),
        )
        for queue, limit in watched
    )


def check_principals(spec: QueueSpec, allowed: frozenset[str]) -> None:
    """Refuse principals that the operator's own list does not name; an account is its id or its root's ARN."""
    known = {_account(one) for one in allowed}
    strangers = sorted(one for one in spec.allowedPrincipals if _account(one) not in known)
    if strangers:
        raise Refused(
            "PrincipalNotAllowed",
            f"allowedPrincipals not on the operator's list (OPERATOR_ALLOWED_PRINCIPALS): {', '.join(strangers)}",
        )


def check_ownership(wanted: Desired, observed: Observed, owner: Owner, adoption: str) -> None:
    """Refuse to touch a queue that exists and is not ours, unless it is to be adopted."""
    if adoption == "Adopt":
        return
    for facts in (observed.queue, observed.dead_letter if wanted.dead_letter_name else None):
        if facts is not None and not is_ours(facts, owner):
            raise Refused(
                "NotOurs",
                f"{facts.arn} exists and does not carry this resource's tags: set adoption to Adopt to take it over,"
                " to Observe to only report on it, or choose another name",
            )


def plan(wanted: Desired, observed: Observed, managed_tags: Sequence[str]) -> tuple[Action, ...]:
    """The writes that can be done now; empty when the provider has what is wanted.

    `managed_tags`: the keys of spec.tags written before, so that a key that left the spec leaves the queue, and a tag
    put there by somebody else stays.
    """
    if wanted.dead_letter_name and observed.dead_letter is None:
        return (Create(wanted.dead_letter_name, _given(wanted.dead_letter_attributes), wanted.tags),)
    if observed.queue is None:
        redrive = {"RedrivePolicy": _redrive_policy(wanted, observed)}
        return (Create(wanted.name, _given({**wanted.attributes, **redrive}), wanted.tags),)
    actions: list[Action] = []
    if wanted.dead_letter_name and observed.dead_letter is not None:
        allow = {"RedriveAllowPolicy": _redrive_allow_policy(observed.queue.arn)}
        attributes = {**wanted.dead_letter_attributes, **allow}
        actions += _repair(observed.dead_letter, attributes, wanted.tags, managed_tags, observed.unsupported)
    attributes = {
        **wanted.attributes,
        "RedrivePolicy": _redrive_policy(wanted, observed),
        "Policy": _policy(wanted.principals, observed.queue),
    }
    actions += _repair(observed.queue, attributes, wanted.tags, managed_tags, observed.unsupported)
    if observed.alarms is not None:
        actions += _repair_alarms(wanted, observed.alarms)
    return tuple(actions)


def _given(attributes: Mapping[str, str]) -> dict[str, str]:
    """CreateQueue takes no empty values: an absent attribute is what they mean."""
    return {key: value for key, value in attributes.items() if value != ""}


def _repair(
    facts: QueueFacts,
    attributes: Mapping[str, str],
    tags: Mapping[str, str],
    managed_tags: Sequence[str],
    unsupported: frozenset[str],
) -> list[Action]:
    actions: list[Action] = []
    differing = {
        key: value
        for key, value in attributes.items()
        if key not in unsupported and canonical(key, value) != canonical(key, facts.attributes.get(key, ""))
    }
    if differing:
        actions.append(SetAttributes(facts.url, differing))
    missing = {key: value for key, value in tags.items() if facts.tags.get(key) != value}
    if missing:
        actions.append(Tag(facts.url, missing))
    extra = tuple(sorted(key for key in managed_tags if key not in tags and key in facts.tags))
    if extra:
        actions.append(Untag(facts.url, extra))
    return actions


def _repair_alarms(wanted: Desired, existing: Mapping[str, Alarm]) -> list[Action]:
    actions: list[Action] = [PutAlarm(alarm) for alarm in wanted.alarms if existing.get(alarm.name) != alarm]
    names = {alarm.name for alarm in wanted.alarms}
    extra = tuple(sorted(name for name in wanted.alarm_names if name in existing and name not in names))
    if extra:
        actions.append(DeleteAlarms(extra))
    return actions


def _redrive_policy(wanted: Desired, observed: Observed) -> str:
    if not wanted.dead_letter_name or observed.dead_letter is None:
        return ""
    return json.dumps({"deadLetterTargetArn": observed.dead_letter.arn, "maxReceiveCount": wanted.max_receive_count})


def _redrive_allow_policy(queue_arn: str) -> str:
    return json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [queue_arn]})


def _policy(principals: tuple[str, ...], queue: QueueFacts) -> str:
    """The whole queue policy, our one statement; a policy is removed when nobody is allowed."""
    if not principals:
        return ""
    statement = {
        "Sid": POLICY_SID,
        "Effect": "Allow",
        "Principal": {"AWS": list(principals)},
        "Action": list(POLICY_ACTIONS),
        "Resource": queue.arn,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def canonical(attribute: str, value: str) -> Any:
    """A form in which two spellings of one value are equal (SQS reorders documents and unwraps one-element lists)."""
    if value in ("", None):
        return None
    if attribute not in DOCUMENTS:
        return value.lower() if value.lower() in ("true", "false") else value
    try:
        return _canonical_json(json.loads(value))
    except ValueError:
        return value


def _canonical_json(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {name: _canonical_json(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        items = [_account(item) if isinstance(item, str) else _canonical_json(item) for item in value]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    if key == "maxReceiveCount":
        return int(value)
    if key in ("AWS", "Action", "sourceQueueArns"):
        return [_account(value)]
    return _account(value) if isinstance(value, str) else value


def _account(value: str) -> str:
    """An account id and its root ARN are one principal to IAM, which stores the second."""
    parts = value.split(":")
    return parts[4] if value.startswith("arn:") and value.endswith(":root") and parts[2] == "iam" else value


def differences(wanted: Desired, observed: Observed) -> tuple[str, ...]:
    """What Observe reports: the names of what would be written."""
    found: list[str] = []
    for action in plan(wanted, observed, ()):
        match action:
            case Create(name=name):
                found.append(f"{name} is missing")
            case SetAttributes(attributes=attributes):
                found += sorted(attributes)
            case PutAlarm(alarm=alarm):
                found.append(f"alarm {alarm.name}")
            case DeleteAlarms(names=names):
                found += [f"alarm {name}" for name in names]
            case Tag() | Untag():
                pass  # ownership tags are missing by definition of Observe
    return tuple(dict.fromkeys(found))


def config_map(queue_url: str, queue_arn: str, dead_letter_url: str | None) -> dict[str, str]:
    """Data of the ConfigMap <name>-queue, for workers and KEDA."""
    data = {"QUEUE_URL": queue_url, "QUEUE_ARN": queue_arn}
    return {**data, "DLQ_URL": dead_letter_url} if dead_letter_url else data


def spec_of(resource: Resource) -> QueueSpec:
    """The typed spec of a resource."""
    return QueueSpec.model_validate(resource.spec)


def status_of(observed: Observed, spec: QueueSpec) -> Json:
    """The parts of status that say where things are."""
    fields: dict[str, Any] = {"managedTagKeys": sorted(spec.tags) or None}
    if observed.queue:
        fields |= {"url": observed.queue.url, "arn": observed.queue.arn}
    linked = observed.dead_letter if spec.deadLetter.enabled else None
    return fields | {"dlqUrl": linked.url if linked else None, "dlqArn": linked.arn if linked else None}
