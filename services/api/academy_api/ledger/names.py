"""The SQS names of the logical queues (S-4)."""

from collections.abc import Mapping

from academy_core.kinds import Queue
from academy_core.settings import QueueSettings


def queue_names(settings: QueueSettings) -> Mapping[Queue, str]:
    """SQS names by logical queue."""
    return {
        Queue.VIDEO: settings.VIDEO_SQS_QUEUE_NAME,
        Queue.AI_LITE: settings.AI_SQS_QUEUE_NAME_LITE,
        Queue.AI_BASIC: settings.AI_SQS_QUEUE_NAME_BASIC,
        Queue.AI_PREMIUM: settings.AI_SQS_QUEUE_NAME_PREMIUM,
    }


def dead_letters(name: str) -> str:
    """SQS name of a queue's DLQ."""
    return f"{name}-dlq"
