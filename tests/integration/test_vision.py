"""Google Vision: its errors in our tree, its token, no secret in a message; and asked on a confined child's behalf."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
import tesseract_support
import vision_server
from vision_server import Fault, VisionServer

from academy_ai import main, vision
from academy_ai.host import Host, Life
from academy_ai.kind import kinds_of
from academy_ai.kinds.exam_ocr.spec import ExamOcrInput, PictureRead
from academy_ai.paper import png
from academy_ai.vision import Vision, VisionBusy, VisionUnavailable
from academy_core import settings
from academy_core.errors import Permanent, Retryable, SettingsFault

pytestmark = [tesseract_support.fonts, tesseract_support.tesseract]

BLANK = png(np.full((120, 200), 255, np.uint8))
BUSY = [
    Fault.of(429, "RESOURCE_EXHAUSTED"),
    Fault.of(503, "UNAVAILABLE"),
    Fault.of(500, "INTERNAL"),
    Fault(502, b"<html>Bad Gateway"),
    Fault(200, b"{"),
    Fault(200, {"responses": []}),
    Fault(200, {"responses": [{"error": {"code": 14, "message": "Away."}}]}),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[VisionServer]:
    with vision_server.serving(tmp_path) as server:
        yield server


@pytest.fixture
def reader(server: VisionServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vision]:
    """With waits that a test has time for."""
    monkeypatch.setattr(vision, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(vision, "LONGEST_WAIT", 0.02)
    monkeypatch.setattr(vision, "TIMEOUT", httpx.Timeout(20))
    with closing(Vision(server.url, server.key_file)) as made:
        yield made


def no_secret(server: VisionServer, *texts: str) -> None:
    assert server.secrets
    for secret in server.secrets:
        assert not any(secret in text for text in texts)


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", BUSY, ids=lambda fault: f"{fault.status}-{fault.body!s:.40}")
def test_what_passes_is_tried_again(server: VisionServer, reader: Vision, fault: Fault) -> None:
    server.faults[:] = [fault, fault]
    assert reader.read(BLANK) == []
    assert len(server.annotated) == 3
    assert len(server.tokens) == 1


def test_what_does_not_pass_ends_retryable(server: VisionServer, reader: Vision) -> None:
    server.faults[:] = [Fault.of(429, "RESOURCE_EXHAUSTED")] * vision.ATTEMPTS
    with pytest.raises(VisionBusy, match="429 RESOURCE_EXHAUSTED") as caught:
        reader.read(BLANK)
    assert isinstance(caught.value, Retryable)
    assert server.faults == []


def test_a_timeout_is_retryable_and_names_nothing(
    server: VisionServer, reader: Vision, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader.read(BLANK)  # a token is there
    server.faults[:] = [Fault(hang=60)] * vision.ATTEMPTS
    # Of the answer alone: on a busy machine a connection may take longer.
    monkeypatch.setattr(reader, "_http", httpx.Client(timeout=httpx.Timeout(60, read=0.1)))
    with pytest.raises(VisionBusy) as caught:
        reader.read(BLANK)
    assert caught.value.detail == "ReadTimeout"
    no_secret(server, str(caught.value), repr(caught.value.__context__))


def test_nobody_there_is_retryable(server: VisionServer, reader: Vision, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_url", "http://127.0.0.1:1/v1/images:annotate")
    with pytest.raises(VisionBusy, match="ConnectError"):
        reader.read(BLANK)
    assert server.annotated == []


@pytest.mark.parametrize("name", ["PERMISSION_DENIED", "BILLING_DISABLED"])
def test_refused_credentials_are_ours_to_mend_and_not_tried_at_once(
    server: VisionServer, reader: Vision, name: str
) -> None:
    server.faults[:] = [Fault.of(403, name)]
    with pytest.raises(VisionUnavailable, match=f"403 {name}") as caught:
        reader.read(BLANK)
    assert not isinstance(caught.value, VisionBusy)
    assert len(server.annotated) == 1
    no_secret(server, str(caught.value))


@pytest.mark.parametrize(
    "fault",
    [
        Fault.of(400, "INVALID_ARGUMENT"),
        Fault(413, b""),
        Fault(200, {"responses": [{"error": {"code": 3, "message": "Bad image data."}}]}),
    ],
    ids=lambda fault: str(fault.status),
)
def test_a_picture_that_is_not_taken_is_the_pictures_fault(server: VisionServer, reader: Vision, fault: Fault) -> None:
    server.faults[:] = [fault]
    with pytest.raises(Permanent) as caught:
        reader.read(BLANK)
    assert caught.value.reason == vision.NOT_TAKEN
    assert len(server.annotated) == 1


def test_a_picture_too_large_for_a_request_is_never_sent(server: VisionServer, reader: Vision) -> None:
    with pytest.raises(Permanent):
        reader.read(b"x" * (vision.MAX_BYTES + 1))
    assert server.annotated == []


def test_work_that_nobody_waits_for_is_not_tried_again(server: VisionServer, reader: Vision) -> None:
    server.faults[:] = [Fault.of(503, "UNAVAILABLE")] * 3
    with pytest.raises(VisionBusy):
        reader.read(BLANK, lambda: False)
    assert len(server.annotated) == 1


# -- the token --------------------------------------------------------------------------------------------------------


def test_a_token_serves_until_it_is_refused(server: VisionServer, reader: Vision) -> None:
    reader.read(BLANK)
    reader.read(BLANK)
    assert len(server.tokens) == 1
    server.tokens.append("revoked-the-one-before")
    assert reader.read(BLANK) == []  # 401, another token, then the answer
    assert len(server.tokens) == 3


def test_a_revoked_key_is_ours_to_mend(server: VisionServer, reader: Vision) -> None:
    server.token_faults[:] = [Fault(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})]
    with pytest.raises(VisionUnavailable, match="token: RefreshError") as caught:
        reader.read(BLANK)
    assert server.annotated == []
    no_secret(server, str(caught.value))


@pytest.mark.parametrize("text", ["", "{", "{}", '{"type": "service_account", "private_key": "s3cret"}'])
def test_a_key_file_that_is_none_stops_the_worker_without_a_word_of_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key.json"
    file.write_text(text)
    given = settings.VisionSettings(GOOGLE_APPLICATION_CREDENTIALS=str(file))
    with pytest.raises(SettingsFault, match="GOOGLE_APPLICATION_CREDENTIALS") as caught:
        main.vision_of(given)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(SettingsFault):
        main.vision_of(settings.VisionSettings(GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "none.json")))


def test_without_credentials_there_is_no_vision() -> None:
    assert main.vision_of(settings.VisionSettings(GOOGLE_APPLICATION_CREDENTIALS=None)) is None


# -- on a child's behalf ----------------------------------------------------------------------------------------------


@pytest.fixture
def start(reader: Vision, tmp_path: Path) -> Iterator[Callable[[], PictureRead]]:
    """Have exam.ocr read a line in a confined child."""
    host = Host(Life(max_tasks=9, memory_bytes=2**30, address_space=4 * 2**30, reader=reader), tmp_path)
    kind = next(iter(kinds_of("academy_ai.kinds.exam_ocr")))
    source, out = tmp_path / "question.png", tmp_path / "out"
    out.mkdir()
    cv2.imwrite(str(source), tesseract_support.picture(["1. 온도가 일정할 때 기체의 부피는?", "① 농업 ② 광합성"]))

    def started() -> PictureRead:
        task = ExamOcrInput(pictures=("q",))
        host.run(kind, task, {"q": source}, out, progress=lambda _: None, killable=lambda _: nullcontext())
        (one,) = json.loads((out / "text.json").read_text())
        return PictureRead.model_validate(one)

    with closing(host):
        yield started


def test_a_confined_child_has_the_worker_ask(server: VisionServer, start: Callable[[], PictureRead]) -> None:
    read = start()
    assert read.engine == "google-vision"
    assert "온도가일정할때기체의부피는?" in read.text.replace(" ", "")
    assert "① 농업 ② 광합성" in read.text
    assert len(server.annotated) == 1


def test_a_child_raises_what_the_worker_heard(server: VisionServer, start: Callable[[], PictureRead]) -> None:
    server.faults[:] = [Fault.of(403, "PERMISSION_DENIED")]
    with pytest.raises(Retryable, match="403 PERMISSION_DENIED") as caught:
        start()
    no_secret(server, str(caught.value))
    server.faults[:] = [Fault.of(400, "INVALID_ARGUMENT")]
    assert start().refused == "vision-picture"


def test_no_secret_is_logged(
    server: VisionServer,
    start: Callable[[], PictureRead],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whatever the libraries underneath log at their most talkative."""
    for name in (None, "httpx", "httpcore"):  # whatever a test before set them to
        caplog.set_level(logging.DEBUG, logger=name)
    server.faults[:] = [Fault.of(403, "PERMISSION_DENIED")]
    with pytest.raises(Retryable):
        start()
    assert "images:annotate" in caplog.text  # httpx did log the request
    no_secret(server, caplog.text, *capfd.readouterr())
