"""What goes over the wire to R2: the request that is signed, answered by a stub."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

from academy_operator.errors import AlreadyExists, ProviderFault
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
    """Keeps every request, answers each with one answer, or with `answers` in turn."""

    def __init__(self) -> None:
        self.requests: list[AWSPreparedRequest] = []
        self.status = 200
        self.content = b""
        self.answers: list[bytes] = []

    def __call__(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        self.requests.append(request)
        content = self.answers.pop(0) if self.answers else self.content
        return AWSResponse(request.url, self.status, HTTPHeaders(), Body(content))


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


def test_objects_that_cannot_be_deleted_are_a_fault_and_not_an_endless_loop(wire: Wire, provider: r2.R2Buckets) -> None:
    """R2 answers DeleteObjects with 200 whatever became of each key."""
    listing = b"<ListBucketResult><Contents><Key>a.m4s</Key></Contents></ListBucketResult>"
    refusal = b"<DeleteResult><Error><Key>a.m4s</Key><Code>AccessDenied</Code></Error></DeleteResult>"
    wire.answers = [listing, refusal]
    with pytest.raises(ProviderFault, match=r"1 objects are still there; a.m4s: AccessDenied"):
        provider.empty("academy-video")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)
