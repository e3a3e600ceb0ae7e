"""SQS and CloudWatch over boto3, and any emulator that speaks their protocol."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
)

from academy_operator import metrics
from academy_operator.errors import (
    AccessDenied,
    AlreadyExists,
    CredentialsMissing,
    DeletedRecently,
    Gone,
    ProviderFault,
    Throttled,
    Unsupported,
)
from academy_operator.providers.queues import Alarm, Counts, MoveTask, QueueFacts

CONFIG = Config(
    connect_timeout=3,
    read_timeout=25,
    retries={"mode": "standard", "total_max_attempts": 2},
    max_pool_connections=32,
)
"""A connection a thread; few retries: the reconciler backs off by itself, and no pass may hold a thread for long."""
MOVE_VISIBILITY_SECONDS = 60
BATCH_BYTES = 1_048_576
"""SQS's limit for all messages of a batch."""
AGE_WINDOW = timedelta(minutes=15)
AGE_PERIOD = 60

ABSENT = frozenset(
    {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "404", "NoSuchBucket", "NoSuchKey",
     "NoSuchCORSConfiguration", "NoSuchLifecycleConfiguration", "NoSuchUpload"}
)  # fmt: skip
DENIED = frozenset(
    {
        "AccessDenied", "AccessDeniedException", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch",
        "InvalidClientTokenId", "ExpiredToken", "ExpiredTokenException", "InvalidIdentityToken",
        "UnrecognizedClientException", "Unauthorized",
    }
)  # fmt: skip
THROTTLED = frozenset(
    {"Throttling", "ThrottlingException", "RequestThrottled", "TooManyRequestsException", "SlowDown", "429",
     "KmsThrottled", "OverLimit"}
)  # fmt: skip
RECENT = frozenset({"AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently"})
EXISTS = frozenset({"BucketAlreadyExists", "BucketAlreadyOwnedByYou", "BucketConflict"})
LACKING = frozenset({"NotImplemented", "UnknownOperationException", "InvalidAction", "UnsupportedOperation"})


def fault_of(code: str, message: str) -> Exception:
    """The operator's error for a provider's error code; the tables above are matched with and without a namespace."""
    short = code.rpartition("#")[2]
    table: tuple[tuple[frozenset[str], type[Exception]], ...] = (
        (RECENT, DeletedRecently),
        (ABSENT, Gone),
        (DENIED, AccessDenied),
        (THROTTLED, Throttled),
        (EXISTS, AlreadyExists),
        (LACKING, Unsupported),
    )
    for codes, kind in table:
        if short in codes or code in codes:
            return kind(f"{short}: {message}")
    return ProviderFault(f"{short}: {message}")


@contextmanager
def wrapped(operation: str) -> Iterator[None]:
    """Turn botocore's errors into ours at this one border, and count the call."""
    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        fault = fault_of(str(details.get("Code", "")), str(details.get("Message", "")))
        metrics.PROVIDER_CALLS.labels(operation, type(fault).__name__).inc()
        raise fault from error
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError) as error:
        metrics.PROVIDER_CALLS.labels(operation, type(error).__name__).inc()
        raise CredentialsMissing(
            f"{operation}: {type(error).__name__}: no credentials from the environment, IRSA or Pod Identity"
        ) from error
    except BotoCoreError as error:
        metrics.PROVIDER_CALLS.labels(operation, type(error).__name__).inc()
        raise ProviderFault(f"{operation}: {type(error).__name__}") from error
    metrics.PROVIDER_CALLS.labels(operation, "ok").inc()


@dataclass(frozen=True, slots=True)
class Keys:
    """Explicit credentials; the process's own (environment, IRSA, Pod Identity) where there are none."""

    access_key: str
    secret_key: str = field(repr=False)


def _client(service: str, region: str, endpoint: str | None, keys: Keys | None) -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]  # one of the literals below
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=keys.access_key if keys else None,
        aws_secret_access_key=keys.secret_key if keys else None,
        config=CONFIG,
    )


def connect(region: str, keys: Keys | None, sqs_endpoint: str | None, cloudwatch_endpoint: str | None) -> "AwsQueues":
    """A provider for one region and one set of credentials. An SQS emulator has CloudWatch only if it says where."""
    emulator = sqs_endpoint is not None
    watched = not emulator or cloudwatch_endpoint is not None
    return AwsQueues(
        sqs=_client("sqs", region, sqs_endpoint, keys),
        cloudwatch=_client("cloudwatch", region, cloudwatch_endpoint, keys) if watched else None,
        emulator=emulator,
    )


@dataclass(slots=True)
class AwsQueues:
    """QueueProvider over AWS; see there for what each call promises."""

    sqs: Any
    cloudwatch: Any | None
    emulator: bool

    def find(self, name: str) -> QueueFacts | None:
        """See QueueProvider."""
        try:
            with wrapped("GetQueueUrl"):
                url = self.sqs.get_queue_url(QueueName=name)["QueueUrl"]
            with wrapped("GetQueueAttributes"):
                attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            with wrapped("ListQueueTags"):
                tags = self.sqs.list_queue_tags(QueueUrl=url).get("Tags", {})
        except Gone:
            return None
        return QueueFacts(url, attributes["QueueArn"], attributes, tags)

    def create(self, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """See QueueProvider."""
        with wrapped("CreateQueue"):
            self.sqs.create_queue(QueueName=name, Attributes=dict(attributes), tags=dict(tags))

    def set_attributes(self, url: str, attributes: Mapping[str, str]) -> None:
        """See QueueProvider."""
        with wrapped("SetQueueAttributes"):
            self.sqs.set_queue_attributes(QueueUrl=url, Attributes=dict(attributes))

    def tag(self, url: str, tags: Mapping[str, str]) -> None:
        """See QueueProvider."""
        with wrapped("TagQueue"):
            self.sqs.tag_queue(QueueUrl=url, Tags=dict(tags))

    def untag(self, url: str, keys: Sequence[str]) -> None:
        """See QueueProvider."""
        with wrapped("UntagQueue"):
            self.sqs.untag_queue(QueueUrl=url, TagKeys=list(keys))

    def delete(self, url: str) -> None:
        """See QueueProvider."""
        try:
            with wrapped("DeleteQueue"):
                self.sqs.delete_queue(QueueUrl=url)
        except Gone:
            return

    def counts(self, url: str) -> Counts:
        """See QueueProvider."""
        names = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ]
        with wrapped("GetQueueAttributes"):
            answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names).get("Attributes", {})
        if any(name not in answer for name in names):
            raise ProviderFault("GetQueueAttributes: the answer lacks a count")
        return Counts(*(int(answer[name]) for name in names))

    def move_tasks(self, source_arn: str) -> Sequence[MoveTask]:
        """See QueueProvider."""
        with wrapped("ListMessageMoveTasks"), self._lacking():
            results = self.sqs.list_message_move_tasks(SourceArn=source_arn, MaxResults=10).get("Results", [])
        return [
            MoveTask(
                started_ms=int(result.get("StartedTimestamp", 0)),
                running=result.get("Status") in ("RUNNING", "CANCELLING"),
                failure=result.get("FailureReason")
                or (result["Status"].lower() if result.get("Status") in ("FAILED", "CANCELLED") else None),
                moved=int(result.get("ApproximateNumberOfMessagesMoved", 0)),
            )
            for result in results
        ]

    def start_move(self, source_arn: str, destination_arn: str, per_second: int | None) -> None:
        """See QueueProvider."""
        rate = {"MaxNumberOfMessagesPerSecond": per_second} if per_second else {}
        with wrapped("StartMessageMoveTask"), self._lacking():
            self.sqs.start_message_move_task(SourceArn=source_arn, DestinationArn=destination_arn, **rate)

    def move(self, source_url: str, destination_url: str, limit: int) -> int:
        """See QueueProvider. A failed entry is left where it is, to be seen again after its visibility timeout."""
        with wrapped("ReceiveMessage"):
            messages = self.sqs.receive_message(
                QueueUrl=source_url,
                MaxNumberOfMessages=limit,
                WaitTimeSeconds=1,
                VisibilityTimeout=MOVE_VISIBILITY_SECONDS,
                MessageAttributeNames=["All"],
            ).get("Messages", [])
        if not messages:
            return 0
        messages = fitting(messages)
        entries = [
            {
                "Id": str(index),
                "MessageBody": message["Body"],
                "MessageAttributes": message.get("MessageAttributes", {}),
            }
            for index, message in enumerate(messages)
        ]
        with wrapped("SendMessageBatch"):
            sent = self.sqs.send_message_batch(QueueUrl=destination_url, Entries=entries).get("Successful", [])
        if not sent:
            raise ProviderFault("SendMessageBatch: no message was accepted")
        done = [{"Id": one["Id"], "ReceiptHandle": messages[int(one["Id"])]["ReceiptHandle"]} for one in sent]
        with wrapped("DeleteMessageBatch"):
            self.sqs.delete_message_batch(QueueUrl=source_url, Entries=done)
        return len(sent)

    def alarms(self, names: Sequence[str]) -> Mapping[str, Alarm]:
        """See QueueProvider."""
        with wrapped("DescribeAlarms"):
            answer = self._watch().describe_alarms(AlarmNames=list(names), AlarmTypes=["MetricAlarm"])
        return {raw["AlarmName"]: _alarm(raw) for raw in answer.get("MetricAlarms", [])}

    def put_alarm(self, alarm: Alarm) -> None:
        """See QueueProvider."""
        with wrapped("PutMetricAlarm"):
            self._watch().put_metric_alarm(
                AlarmName=alarm.name,
                AlarmDescription=f"SQS queue {alarm.queue}; managed by academy-operator",
                Namespace=alarm.namespace,
                MetricName=alarm.metric,
                Dimensions=[{"Name": "QueueName", "Value": alarm.queue}],
                Statistic=alarm.statistic,
                ComparisonOperator=alarm.comparison,
                Threshold=alarm.threshold,
                Period=alarm.period,
                EvaluationPeriods=alarm.periods,
                TreatMissingData=alarm.missing,
                ActionsEnabled=alarm.enabled,
                AlarmActions=list(alarm.actions),
                OKActions=list(alarm.actions),
            )

    def delete_alarms(self, names: Sequence[str]) -> None:
        """See QueueProvider. DeleteAlarms of a missing name fails as a whole, so only what exists is named."""
        existing = sorted(self.alarms(names))
        if existing:
            with wrapped("DeleteAlarms"):
                self._watch().delete_alarms(AlarmNames=existing)

    def oldest(self, name: str, now: datetime) -> datetime | None:
        """See QueueProvider. The figure of a period holds at its end; the latest period wins."""
        with wrapped("GetMetricStatistics"):
            points = self._watch().get_metric_statistics(
                Namespace="AWS/SQS",
                MetricName="ApproximateAgeOfOldestMessage",
                Dimensions=[{"Name": "QueueName", "Value": name}],
                StartTime=now - AGE_WINDOW,
                EndTime=now,
                Period=AGE_PERIOD,
                Statistics=["Maximum"],
            )["Datapoints"]
        if not points:
            return None
        latest = max(points, key=lambda point: point["Timestamp"])
        moment: datetime = latest["Timestamp"]
        return moment + timedelta(seconds=AGE_PERIOD) - timedelta(seconds=float(latest["Maximum"]))

    @contextmanager
    def _lacking(self) -> Iterator[None]:
        """An emulator without an operation may fail with a bare 500, no SQS error code in it."""
        try:
            yield
        except ClientError as error:
            if self.emulator and error.response.get("Error", {}).get("Code") == "500":
                raise Unsupported("the emulator has no message move tasks") from error
            raise

    def _watch(self) -> Any:
        if self.cloudwatch is None:
            raise Unsupported("there is no CloudWatch")
        return self.cloudwatch


def fitting(messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """As many of the first messages as one SendMessageBatch takes, at least one; the others show again later."""
    total = 0
    for index, message in enumerate(messages):
        total += len(message["Body"].encode()) + len(str(message.get("MessageAttributes", "")))
        if index and total > BATCH_BYTES:
            return messages[:index]
    return messages


def _alarm(raw: Mapping[str, Any]) -> Alarm:
    dimensions = {one["Name"]: one["Value"] for one in raw.get("Dimensions", [])}
    actions = tuple(sorted(raw.get("AlarmActions", [])))
    told = tuple(sorted(raw.get("OKActions", [])))
    return Alarm(
        name=raw["AlarmName"],
        queue=dimensions.get("QueueName", "") if len(dimensions) == 1 else json.dumps(dimensions, sort_keys=True),
        threshold=float(raw.get("Threshold", 0)),
        period=int(raw.get("Period", 0)),
        periods=int(raw.get("EvaluationPeriods", 0)),
        actions=actions if actions == told else (*actions, "differs from OKActions"),
        metric=raw.get("MetricName", ""),
        namespace=raw.get("Namespace", ""),
        statistic=raw.get("Statistic", ""),
        comparison=raw.get("ComparisonOperator", ""),
        missing=raw.get("TreatMissingData", "missing"),
        enabled=bool(raw.get("ActionsEnabled", True)),
    )
