"""SQS as the relay and the fast path use it: send batches, read depths, walk a DLQ.

The only module of the API that talks to SQS. Network: never called inside a transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import boto3
import botocore.config
import botocore.exceptions

from academy_core.errors import Retryable
from academy_core.kinds import Queue
from academy_core.settings import QueueSettings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

BATCH = 10
"""Messages of one SQS batch call at most."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One message as received: its body, and the receipt that deletes it."""

    body: str
    receipt: str


class Queues(Protocol):
    """What the ledger needs of a message service. Every call raises Retryable when the service cannot be reached."""

    def send(self, queue: Queue, bodies: Sequence[str], *, dead_letter: bool) -> list[bool]:
        """Send up to 10 bodies to the queue or its DLQ; for each, whether it was accepted."""
        ...

    def visible(self, queue: Queue) -> int:
        """Messages that could be received now, approximately."""
        ...

    def receive_dead(self, queue: Queue, visibility_seconds: int) -> list[Letter]:
        """Up to 10 messages of the queue's DLQ, hidden for `visibility_seconds`; no waiting."""
        ...

    def delete_dead(self, queue: Queue, receipts: Iterable[str]) -> None:
        """Delete up to 10 messages from the queue's DLQ."""
        ...

    def show_dead(self, queue: Queue, receipts: Iterable[str]) -> None:
        """Make up to 10 received messages of the queue's DLQ visible again."""
        ...


def queue_names(settings: QueueSettings) -> Mapping[Queue, str]:
    """SQS names of the logical queues (S-4); a DLQ's name is its queue's plus `-dlq`."""
    return {
        Queue.VIDEO: settings.VIDEO_SQS_QUEUE_NAME,
        Queue.AI_LITE: settings.AI_SQS_QUEUE_NAME_LITE,
        Queue.AI_BASIC: settings.AI_SQS_QUEUE_NAME_BASIC,
        Queue.AI_PREMIUM: settings.AI_SQS_QUEUE_NAME_PREMIUM,
    }


class SqsQueues:
    """`Queues` over boto3. Timeouts are short and botocore does not retry: the outbox does."""

    def __init__(self, settings: QueueSettings) -> None:
        self._settings = settings
        self._names = queue_names(settings)
        self._urls: dict[str, str] = {}

    @cached_property
    def _client(self) -> "SQSClient":
        return boto3.client(
            "sqs",
            region_name=self._settings.AWS_REGION,
            endpoint_url=self._settings.AWS_ENDPOINT_URL_SQS,
            config=botocore.config.Config(
                connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 1}
            ),
        )

    def _url(self, queue: Queue, *, dead: bool = False) -> str:
        name = self._names[queue] + ("-dlq" if dead else "")
        if name not in self._urls:
            self._urls[name] = self._client.get_queue_url(QueueName=name)["QueueUrl"]
        return self._urls[name]

    def send(self, queue: Queue, bodies: Sequence[str], *, dead_letter: bool) -> list[bool]:
        """See Queues.send."""
        try:
            answer = self._client.send_message_batch(
                QueueUrl=self._url(queue, dead=dead_letter),
                Entries=[{"Id": str(index), "MessageBody": body} for index, body in enumerate(bodies)],
            )
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise Retryable(f"sqs send to {queue}: {error}") from error
        accepted = {entry["Id"] for entry in answer.get("Successful", ())}
        return [str(index) in accepted for index in range(len(bodies))]

    def visible(self, queue: Queue) -> int:
        """See Queues.visible."""
        try:
            answer = self._client.get_queue_attributes(
                QueueUrl=self._url(queue), AttributeNames=["ApproximateNumberOfMessages"]
            )
            return int(answer["Attributes"]["ApproximateNumberOfMessages"])
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, KeyError) as error:
            raise Retryable(f"sqs depth of {queue}: {error}") from error

    def receive_dead(self, queue: Queue, visibility_seconds: int) -> list[Letter]:
        """See Queues.receive_dead."""
        try:
            answer = self._client.receive_message(
                QueueUrl=self._url(queue, dead=True),
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=0,
                VisibilityTimeout=visibility_seconds,
            )
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise Retryable(f"sqs receive from the DLQ of {queue}: {error}") from error
        return [Letter(message["Body"], message["ReceiptHandle"]) for message in answer.get("Messages", ())]

    def delete_dead(self, queue: Queue, receipts: Iterable[str]) -> None:
        """See Queues.delete_dead."""
        try:
            self._client.delete_message_batch(
                QueueUrl=self._url(queue, dead=True),
                Entries=[{"Id": str(i), "ReceiptHandle": receipt} for i, receipt in enumerate(receipts)],
            )
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise Retryable(f"sqs: deleting in the DLQ of {queue}: {error}") from error

    def show_dead(self, queue: Queue, receipts: Iterable[str]) -> None:
        """See Queues.show_dead."""
        try:
            self._client.change_message_visibility_batch(
                QueueUrl=self._url(queue, dead=True),
                Entries=[
                    {"Id": str(i), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                    for i, receipt in enumerate(receipts)
                ],
            )
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise Retryable(f"sqs visibility in the DLQ of {queue}: {error}") from error
