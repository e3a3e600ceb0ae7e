"""What goes over the wire to R2: the request that is signed, answered by a stub."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

from academy_operator.errors import AlreadyExists
from academy_operator.providers import aws, r2
from academy_operator.providers.buckets import CorsRule, LifecycleRule

ENDPOINT = "https://account.r2.cloudflarestorage.com"


class Body:
    """What botocore reads an answer from."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: Any) -> Any:
        yield self._content


class Wire:
    """Keeps every request, answers each with one answer."""

    def __init__(self) -> None:
        self.requests: list[AWSPreparedRequest] = []
        self.status = 200
        self.content = b""

    def __call__(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        self.requests.append(request)
        return AWSResponse(request.url, self.status, HTTPHeaders(), Body(self.content))


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def provider(wire: Wire) -> r2.R2Buckets:
    connected = r2.connect(ENDPOINT, aws.Keys("key", "secret"))
    connected.s3.meta.events.register("before-send.s3", wire)
    return connected


CHECKED: list[Callable[[r2.R2Buckets], Any]] = [
    lambda provider: provider.put_cors("academy-video", (CorsRule(("*",), ("GET",)),)),
    lambda provider: provider.put_lifecycle("academy-video", (LifecycleRule("a", abort_days=7),)),
    lambda provider: provider.s3.delete_objects(Bucket="academy-video", Delete={"Objects": [{"Key": "a"}]}),
]


@pytest.mark.parametrize("call", CHECKED, ids=["cors", "lifecycle", "delete-objects"])
def test_content_md5_in_place_of_checksums_and_signed(
    wire: Wire, provider: r2.R2Buckets, call: Callable[[r2.R2Buckets], Any]
) -> None:
    call(provider)
    (request,) = wire.requests
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert not [name for name in headers if "checksum" in name or name == "x-amz-trailer"]
    digest = base64.b64encode(hashlib.md5(_bytes(request.body), usedforsecurity=False).digest()).decode()
    assert _text(headers["content-md5"]) == digest
    signed = _text(headers["authorization"]).split("SignedHeaders=")[1].split(",")[0].split(";")
    assert "content-md5" in signed
    assert not [name for name in signed if "checksum" in name]


def test_the_region_is_auto_and_the_signature_version_4(wire: Wire, provider: r2.R2Buckets) -> None:
    provider.exists("academy-video")
    (request,) = wire.requests
    authorization = _text(request.headers["Authorization"])
    assert authorization.startswith("AWS4-HMAC-SHA256")
    assert "/auto/s3/aws4_request" in authorization
    assert request.url.startswith(f"{ENDPOINT}/academy-video")


def test_a_location_hint_goes_into_the_request_and_none_sends_no_body(wire: Wire, provider: r2.R2Buckets) -> None:
    provider.create("academy-video", "apac")
    provider.create("academy-ai", None)
    hinted, plain = wire.requests
    assert b"<LocationConstraint>apac</LocationConstraint>" in _bytes(hinted.body)
    assert not plain.body


def test_a_conflict_is_told(wire: Wire, provider: r2.R2Buckets) -> None:
    wire.status = 409
    wire.content = b"<Error><Code>BucketConflict</Code><Message>taken</Message></Error>"
    with pytest.raises(AlreadyExists):
        provider.create("academy-video", None)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)
