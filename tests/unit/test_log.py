"""Log lines: S-17's two exactly, context on every line, JSON, no secrets."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from academy_core import log
from academy_core.settings import LogSettings


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    structlog.contextvars.clear_contextvars()  # what requests of other tests in this process have bound
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_the_two_lines_are_exactly_the_specifications(stream: io.StringIO) -> None:
    log.configure(LogSettings(), stream)
    logger = log.get("t")
    with log.bound(request_id="abc123", job="j", task=1, academy="a"):
        logger.info(log.MESSAGE_RECEIVED, message_id="msg-123", queue_wait_sec=5.2, kind="k")
        logger.info(log.JOB_COMPLETED, total_duration=7.7, processing_duration=2.5)
    assert lines(stream) == [
        "SQS_MESSAGE_RECEIVED | request_id=abc123 | queue_wait_sec=5.2 | message_id=msg-123",
        "SQS_JOB_COMPLETED | request_id=abc123 | processing_duration=2.5 | total_duration=7.7",
    ]


def test_every_other_line_has_the_context_first_and_stays_one_line(stream: io.StringIO) -> None:
    log.configure(LogSettings(), stream)
    with log.bound(request_id="r", job="j", task=1, academy="a"):
        log.get("t").warning("E", detail="two words | and\na line")
        logging.getLogger("library").info("foreign %s", "line")
    log.get("t").info("outside")
    assert lines(stream) == [
        'E | request_id=r | job=j | task=1 | academy=a | detail="two words | and\\na line" | level=warning',
        "foreign line | request_id=r | job=j | task=1 | academy=a",
        "outside",
    ]


def test_json_has_everything(stream: io.StringIO) -> None:
    log.configure(LogSettings(LOG_JSON=True), stream)
    with log.bound(request_id="r", job="j", task=1, academy="a"):
        log.get("t").info(log.MESSAGE_RECEIVED, queue_wait_sec=1.0, message_id="m")
    event = json.loads(lines(stream)[0])
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": log.MESSAGE_RECEIVED, "level": "info", "request_id": "r", "job": "j", "task": 1, "academy": "a",
        "queue_wait_sec": 1.0, "message_id": "m",
    }  # fmt: skip


@pytest.mark.parametrize("as_json", [False, True])
def test_an_exception_is_one_line(stream: io.StringIO, *, as_json: bool) -> None:
    log.configure(LogSettings(LOG_JSON=as_json), stream)
    try:
        raise ValueError("boom")  # noqa: TRY301 - the traceback is what is logged
    except ValueError:
        log.get("t").exception("E")
    (line,) = lines(stream)
    assert "boom" in line
    assert "Traceback" in line


def test_secrets_are_blanked(stream: io.StringIO) -> None:
    log.configure(LogSettings(LOG_LEVEL="DEBUG"), stream)
    url = "https://r2/k?X-Amz-Credential=hidden&X-Amz-Signature=hidden&x=1"
    log.get("t").info("E", lease_secret="hidden", url=url, header="Bearer hidden", detail="sig=hidden")
    logging.getLogger("lib").error("GET %s", url)
    logging.getLogger("botocore").debug("Authorization: hidden")
    assert "hidden" not in stream.getvalue()
    assert len(lines(stream)) == 2


def test_the_level_is_the_settings(stream: io.StringIO) -> None:
    log.configure(LogSettings(LOG_LEVEL="ERROR"), stream)
    log.get("t").warning("E")
    logging.getLogger("lib").warning("E")
    assert stream.getvalue() == ""
