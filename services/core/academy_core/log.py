"""Logs: one line an event (S-17), readable or JSON, with the context of the work bound to every line.

`configure` is called once by each process's composition root and takes the standard library's logging in as well.
`bound` binds request_id, job, task and academy for a stretch of work (context variables: threads started with
`contextvars.copy_context` and greenlets carry them on).
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, TextIO, cast

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import EventDict, FilteringBoundLogger

from academy_core.settings import LogSettings

MESSAGE_RECEIVED = "SQS_MESSAGE_RECEIVED"
JOB_COMPLETED = "SQS_JOB_COMPLETED"

_EXACT: Mapping[str, tuple[str, ...]] = {
    MESSAGE_RECEIVED: ("request_id", "queue_wait_sec", "message_id"),
    JOB_COMPLETED: ("request_id", "processing_duration", "total_duration"),
}
"""S-17's two lines print these fields and no others in the readable form; JSON has everything."""
_PLAIN = re.compile(r"[^\s|\"=]+")
_SECRET_NAME = re.compile(r"secret|token|password|authorization|cookie|credential|receipt", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"((?:X-Amz-(?:Signature|Credential|Security-Token)|sig|Signature)=)[^&\s\"']+|(Bearer )\S+")
_CHATTY = ("boto3", "botocore", "urllib3", "httpx", "httpcore", "s3transfer")
"""They log whole requests, signatures included, below WARNING."""


def _without_secrets(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Blank out what is named like a secret or looks like a signed URL or a bearer token."""
    for name, value in event.items():
        if name != "event" and _SECRET_NAME.search(name):
            event[name] = "***"
        elif isinstance(value, str):
            event[name] = _SECRET_VALUE.sub(lambda found: f"{found[1] or found[2]}***", value)
    return event


def _text(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def readable(_logger: Any, _method: str, event: EventDict) -> str:
    """`EVENT | key=value | …` on one line; the context's ids first, a level other than info last."""
    name = str(event.pop("event"))
    fields: dict[str, Any] = {key: event[key] for key in _EXACT.get(name, ()) if key in event}
    if name not in _EXACT:
        level = event.pop("level", "info")
        event.pop("timestamp", None)
        first = [key for key in ("request_id", "job", "task", "academy") if key in event]
        fields = {key: event[key] for key in (*first, *(key for key in event if key not in first))}
        if level != "info":
            fields["level"] = level
    head = " ".join(name.splitlines())
    return " | ".join((head, *(f"{key}={_text(value)}" for key, value in fields.items())))


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send every line, ours and the standard library's, to `stream` (standard output when None)."""
    shared: list[structlog.typing.Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _without_secrets,
    ]
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str) if settings.LOG_JSON else readable
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.LOG_LEVEL)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get(name: str) -> FilteringBoundLogger:
    """The logger of a module: `log.get(__name__)`."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def bound(**context: Any) -> AbstractContextManager[Any]:
    """Bind `context` to every line logged inside the block."""
    return bound_contextvars(**context)
