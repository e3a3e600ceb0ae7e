"""R2Store's requests: where they go and what they carry (S-1), retries, lost answers; and cutting a stream."""

import base64
import hashlib
import io
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from academy_core.errors import Permanent, PreconditionFailed, StoreUnavailable
from academy_core.settings import StoreSettings
from academy_core.store import Part, R2Store, multipart_etag, parts_of, r2_client

HOST = "account.r2.cloudflarestorage.com"


class _Raw(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        while chunk := self.read(65_536):
            yield chunk


class Wire:
    """Answers instead of the network, and keeps what was asked."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        self.requests: list[AWSPreparedRequest] = []
        self.answers = list(answers)

    def __call__(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        self.requests.append(request)
        status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return AWSResponse(request.url, status, headers, _Raw(body))


def settings(**changes: Any) -> StoreSettings:
    values: dict[str, Any] = {
        "R2_ENDPOINT": f"https://{HOST}",
        "R2_ACCESS_KEY": "id",
        "R2_SECRET_KEY": SecretStr("key"),
        "RETRY_MAX_ATTEMPTS": 3,
        "BACKOFF_BASE_SECONDS": 0.001,
        "BACKOFF_CAP_SECONDS": 0.002,
    }
    return StoreSettings(**values | changes)


def store(*answers: tuple[int, dict[str, str], bytes]) -> tuple[R2Store, Wire]:
    made = R2Store(settings(), "academy-video", part_bytes=4)
    wire = Wire(*answers)
    made._client.meta.events.register("before-send.s3", wire)
    return made, wire


def refused(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    return status, {}, f"<Error><Code>{code}</Code></Error>".encode()


@pytest.mark.parametrize(
    "hostile",
    [
        {"AWS_ENDPOINT_URL": "https://s3.amazonaws.com", "AWS_ENDPOINT_URL_S3": "https://s3.amazonaws.com"},
        {"AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_USE_FIPS_ENDPOINT": "true", "AWS_REGION": "ap-northeast-2"},
        {"AWS_PROFILE": "evil"},
        {"AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "legacy", "AWS_DEFAULT_REGION": "us-east-1"},
    ],
)
def test_no_environment_leads_to_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hostile: dict[str, str]) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[default]\nendpoint_url = https://s3.amazonaws.com\ns3 =\n  addressing_style = virtual\n"
        "  use_accelerate_endpoint = true\n[profile evil]\nendpoint_url = https://s3.amazonaws.com\n"
        "region = us-east-1\nuse_dualstack_endpoint = true\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(config))
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    made, wire = store((200, {"ETag": '"e"'}, b""))
    made.put("k", b"x", content_type="text/plain")
    urls = [
        str(wire.requests[0].url),
        made.presign_get("k", 60),
        made.presign_put("k", 60, content_type="text/plain"),
        made.presign_part("k", "u", 1, 60),
    ]
    assert [urlsplit(url).netloc for url in urls] == [HOST] * 4
    assert all("X-Amz-Signature" in url and "checksum" not in url.lower() for url in urls[1:])
    assert "/auto/s3/aws4_request" in str(wire.requests[0].headers["Authorization"])


def test_a_request_that_was_turned_elsewhere_does_not_leave() -> None:
    made, wire = store((200, {}, b""))

    def turn(request: Any, **_: Any) -> None:
        request.url = "https://s3.amazonaws.com/academy-video/k"

    made._client.meta.events.register("request-created.s3", turn)
    made._client.meta.events.unregister("before-send.s3", wire)
    with pytest.raises(StoreUnavailable, match="left R2_ENDPOINT"):
        made.get("k")


@pytest.mark.parametrize("bucket", ["arn:aws:s3:us-east-1:123456789012:accesspoint/x", "a.b", "A", "", "x/../y"])
def test_only_a_plain_bucket_name_is_taken(bucket: str) -> None:
    with pytest.raises(ValueError, match="not a bucket name"):
        R2Store(settings(), bucket)


def test_an_aws_endpoint_is_refused_even_past_the_settings() -> None:
    forged = settings().model_copy(update={"R2_ENDPOINT": "https://s3.amazonaws.com"})
    with pytest.raises(ValueError, match="AWS"):
        r2_client(forged)


def test_signed_requests_carry_no_checksum_header_r2_refuses() -> None:
    made, wire = store((200, {"ETag": '"e"'}, b"<DeleteResult/>"))
    made.put("k", b"x", content_type="text/plain")
    made.put_part("k", "u", 1, b"x")
    made.delete_many(["a", "b"])
    for request in wire.requests:
        names = [name.lower() for name in request.headers]
        assert not [
            name for name in names if name.startswith(("x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer"))
        ]
        assert "checksum" not in str(request.headers["Authorization"])
    body = wire.requests[2].body
    assert isinstance(body, bytes)
    md5 = wire.requests[2].headers["Content-MD5"]
    assert (md5.decode() if isinstance(md5, bytes) else md5) == base64.b64encode(hashlib.md5(body).digest()).decode()  # noqa: S324


def test_an_unavailable_store_is_tried_as_often_as_set() -> None:
    made, wire = store(refused(503, "SlowDown"))
    with pytest.raises(StoreUnavailable, match="SlowDown"):
        made.get("k")
    assert len(wire.requests) == 3


def test_a_bad_request_is_not_tried_again() -> None:
    made, wire = store(refused(400, "EntityTooSmall"))
    with pytest.raises(Permanent):
        made.complete_multipart("k", "u", [Part(1, 1, "0" * 32)])
    assert len(wire.requests) == 1


def test_a_conditional_put_whose_answer_was_lost_is_recognised() -> None:
    etag = hashlib.md5(b"x").hexdigest()  # noqa: S324
    head = {"ETag": f'"{etag}"', "Content-Length": "1", "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    made, _ = store(refused(503, "InternalError"), refused(412, "PreconditionFailed"), (200, head, b""))
    assert made.put("k", b"x", content_type="text/plain", if_none_match=True) == etag
    made, _ = store(refused(412, "PreconditionFailed"))
    with pytest.raises(PreconditionFailed):
        made.put("k", b"x", content_type="text/plain", if_none_match=True)


def test_a_completed_upload_whose_answer_was_lost_is_recognised() -> None:
    parts = [Part(1, 1, hashlib.md5(b"x").hexdigest())]  # noqa: S324
    head = {"ETag": multipart_etag(parts), "Content-Length": "1", "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    made, _ = store(refused(500, "InternalError"), refused(404, "NoSuchUpload"), (200, head, b""))
    assert made.complete_multipart("k", "u", parts) == multipart_etag(parts)


def test_an_object_that_could_not_be_deleted_is_an_error() -> None:
    made, _ = store((200, {}, b"<DeleteResult><Error><Key>a</Key><Code>InternalError</Code></Error></DeleteResult>"))
    with pytest.raises(StoreUnavailable, match="InternalError"):
        made.delete_many(["a"])


def test_an_upload_that_cannot_be_aborted_still_raises_the_first_error() -> None:
    made, _ = store(
        (200, {}, b"<R><UploadId>u</UploadId></R>"), refused(400, "EntityTooLarge"), refused(503, "SlowDown")
    )
    with pytest.raises((Permanent, StoreUnavailable)) as caught:
        made.put_stream("k", [b"12345678"], content_type="text/plain")
    assert "could not be aborted" in " ".join(caught.value.__notes__)


@given(st.lists(st.binary(max_size=20)), st.integers(1, 9))
def test_parts_are_equal_but_the_last_and_join_to_the_stream(chunks: list[bytes], size: int) -> None:
    parts = list(parts_of(chunks, size))
    assert b"".join(parts) == b"".join(chunks)
    assert all(len(part) == size for part in parts[:-1])
    assert len(parts[-1]) <= size


def test_a_server_whose_certificate_nobody_vouches_for_gets_no_request() -> None:
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        made = R2Store(settings(R2_ENDPOINT=f"https://localhost:{server.server_address[1]}"), "academy-video")
        try:
            with pytest.raises(StoreUnavailable, match="SSLError"):
                made.get("a")
            assert not asked
        finally:
            server.shutdown()
            thread.join(10)
