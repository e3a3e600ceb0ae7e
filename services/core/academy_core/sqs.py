"""SQS, as worker loop and relay use it: queues by name, one message a receive.

`SqsClient` talks to SQS (or an emulator) with boto3; `academy_core.sqs_fake` has the one for tests. Provider errors are
wrapped here: ReceiptLost, QueueUnavailable. A count that cannot be read is an error, never 0.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from academy_core.errors import AcademyError, QueueUnavailable, ReceiptLost
from academy_core.settings import QueueSettings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

T = TypeVar("T")

BATCH = 10
"""Most messages of one SendMessageBatch."""


@dataclass(frozen=True, slots=True)
class Message:
    """One received message. `receipt` names this delivery; `receives` counts them, this one included."""

    id: str
    body: str
    receipt: str
    receives: int


@dataclass(frozen=True, slots=True)
class Depth:
    """SQS's three approximate counts of one queue."""

    visible: int
    in_flight: int
    delayed: int


class Sqs(Protocol):
    """Queues by SQS name. Calls raise QueueUnavailable; those that take a receipt also ReceiptLost."""

    def receive(self, queue: str, *, wait_seconds: int, visibility_seconds: int, most: int = 1) -> tuple[Message, ...]:
        """Long-poll for up to `most` (≤ 10) messages; they are invisible to others for `visibility_seconds`."""
        ...

    def send(self, queue: str, bodies: Sequence[str]) -> tuple[bool, ...]:
        """Send by SendMessageBatch; for each body whether SQS took it. QueueUnavailable when nothing is known."""
        ...

    def change_visibility(self, queue: str, receipt: str, seconds: int) -> None:
        """The message stays invisible for `seconds` from now; 0 hands it back at once."""
        ...

    def delete(self, queue: str, receipt: str) -> None:
        """The message is done; one deleted already is fine."""
        ...

    def depth(self, queue: str) -> Depth:
        """The three counts; QueueUnavailable when any of them cannot be read."""
        ...


_LOST = frozenset(
    {
        "MessageNotInflight",
        "ReceiptHandleIsInvalid",
        "InvalidParameterValue",  # also: the 12 hours since the receive are over
        "AWS.SimpleQueueService.MessageNotInflight",
    }
)


class SqsClient:
    """Sqs over boto3. Thread-safe; boto3's standard retries with jitter."""

    def __init__(
        self,
        settings: QueueSettings,
        *,
        pool: int = 10,
        connect_seconds: float = 5,
        answer_seconds: float = 30,
        attempts: int = 3,
    ) -> None:
        """`pool`: connections held at most; one a thread that polls. `answer_seconds` is above the longest poll.

        A caller that has its own retries passes short times and one attempt.
        """
        self._client: SQSClient = boto3.client(
            "sqs",
            region_name=settings.AWS_REGION,
            endpoint_url=settings.AWS_ENDPOINT_URL_SQS,
            config=Config(
                retries={"total_max_attempts": attempts, "mode": "standard"},
                max_pool_connections=pool,
                connect_timeout=connect_seconds,
                read_timeout=answer_seconds,
                tcp_keepalive=True,
            ),
        )
        self._urls: dict[str, str] = {}
        self._lock = threading.Lock()

    def _url(self, queue: str) -> str:
        with self._lock:
            known = self._urls.get(queue)
        if known is None:
            known = self._client.get_queue_url(QueueName=queue)["QueueUrl"]
            with self._lock:
                self._urls[queue] = known
        return known

    def _call(self, queue: str, call: Callable[[str], T]) -> T:
        try:
            return call(self._url(queue))
        except ClientError as error:
            raise self._wrapped(error, queue) from error
        except BotoCoreError as error:
            raise QueueUnavailable(f"{queue}: {type(error).__name__}") from error

    def _wrapped(self, error: ClientError, queue: str) -> AcademyError:
        code = str(error.response.get("Error", {}).get("Code", "?"))
        if error.operation_name in {"ChangeMessageVisibility", "DeleteMessage"} and code in _LOST:
            return ReceiptLost(f"{queue}: {code}")
        with self._lock:
            self._urls.pop(queue, None)  # the queue may have been deleted and made again
        return QueueUnavailable(f"{queue}: {code}")

    def receive(self, queue: str, *, wait_seconds: int, visibility_seconds: int, most: int = 1) -> tuple[Message, ...]:
        """See Sqs.receive."""
        answer = self._call(
            queue,
            lambda url: self._client.receive_message(
                QueueUrl=url,
                WaitTimeSeconds=wait_seconds,
                VisibilityTimeout=visibility_seconds,
                MaxNumberOfMessages=most,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            ),
        )
        return tuple(
            Message(
                item["MessageId"],
                item["Body"],
                item["ReceiptHandle"],
                int(item.get("Attributes", {}).get("ApproximateReceiveCount", "1")),
            )
            for item in answer.get("Messages", ())
        )

    def send(self, queue: str, bodies: Sequence[str]) -> tuple[bool, ...]:
        """See Sqs.send. A later batch that fails leaves its bodies unsent (False), the earlier ones' answer stands."""
        taken = [False] * len(bodies)
        for start in range(0, len(bodies), BATCH):
            try:
                accepted = self._send_batch(queue, bodies[start : start + BATCH])
            except QueueUnavailable:
                if start == 0:
                    raise
                break
            for index in accepted:
                taken[start + index] = True
        return tuple(taken)

    def _send_batch(self, queue: str, bodies: Sequence[str]) -> tuple[int, ...]:
        answer = self._call(
            queue,
            lambda url: self._client.send_message_batch(
                QueueUrl=url, Entries=[{"Id": str(index), "MessageBody": body} for index, body in enumerate(bodies)]
            ),
        )
        return tuple(int(item["Id"]) for item in answer.get("Successful", ()))

    def change_visibility(self, queue: str, receipt: str, seconds: int) -> None:
        """See Sqs.change_visibility."""
        self._call(
            queue,
            lambda url: self._client.change_message_visibility(
                QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=seconds
            ),
        )

    def delete(self, queue: str, receipt: str) -> None:
        """See Sqs.delete."""
        with contextlib.suppress(ReceiptLost):  # deleted already, or another delivery's now
            self._call(queue, lambda url: self._client.delete_message(QueueUrl=url, ReceiptHandle=receipt))

    def depth(self, queue: str) -> Depth:
        """See Sqs.depth."""
        attributes = self._call(
            queue,
            lambda url: self._client.get_queue_attributes(
                QueueUrl=url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            ),
        ).get("Attributes", {})
        try:
            return Depth(
                int(attributes["ApproximateNumberOfMessages"]),
                int(attributes["ApproximateNumberOfMessagesNotVisible"]),
                int(attributes["ApproximateNumberOfMessagesDelayed"]),
            )
        except (KeyError, ValueError) as error:
            raise QueueUnavailable(f"{queue}: a count is missing") from error
