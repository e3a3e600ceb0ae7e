"""The object store: everything the platform keeps outside Postgres lies in Cloudflare R2 (S-1).

`ObjectStore` is one bucket. `R2Store` talks to R2 (or the emulator) with boto3; `academy_core.store_fake` has the one
for tests. Provider errors are wrapped here: NotFound, PreconditionFailed, Permanent, StoreUnavailable.

`r2_client` is the one place where an S3 client is made. It never reaches an AWS S3 address, whatever the
environment says: endpoint and credentials come from settings alone, AWS configuration files and endpoint variables
are not read, and every request and presigned URL is checked against the endpoint before it leaves.
"""

import base64
import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from academy_core.errors import AcademyError, NotFound, Permanent, PreconditionFailed, StoreUnavailable
from academy_core.settings import StoreSettings, refuse_aws

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

PART_BYTES = 8 * 1024 * 1024
"""Part size of our own multipart uploads. R2 wants all parts equal but the last, and at least 5 MiB."""
_DELETE_BATCH = 1000
_PATIENT_SECONDS, _IMPATIENT_SECONDS = 60.0, 5.0
"""How long a call waits for the next piece of its answer."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store knows of one object. `etag` is without quotes."""

    key: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class Part:
    """One uploaded part of a multipart upload. `etag` is without quotes."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Level:
    """What lies directly below a prefix: objects, and the prefixes (ending with '/') of the folders."""

    objects: tuple[ObjectInfo, ...]
    folders: tuple[str, ...]


class ObjectStore(Protocol):
    """One bucket. Calls raise NotFound, PreconditionFailed, Permanent (bad request) or StoreUnavailable."""

    def put(  # noqa: PLR0913 - all but two are keyword-only
        self,
        key: str,
        data: bytes,
        *,
        content_type: str,
        cache_control: str | None = None,
        if_match: str | None = None,
        if_none_match: bool = False,
    ) -> str:
        """Write a whole object, return its ETag.

        `if_match`: only over the object with that ETag (NotFound when there is none). `if_none_match`: only when
        there is none. Else PreconditionFailed.
        """
        ...

    def put_stream(
        self, key: str, chunks: Iterable[bytes], *, content_type: str, cache_control: str | None = None
    ) -> str:
        """Write an object of unknown size while it is made, return its ETag. It appears whole or not at all."""
        ...

    def put_file(self, key: str, path: Path, *, content_type: str, cache_control: str | None = None) -> str:
        """Write a file as one object, return its ETag."""
        ...

    def get(self, key: str) -> bytes:
        """The whole object."""
        ...

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """Bytes [start, end), fewer at the object's end; Permanent when `start` lies behind it."""
        ...

    def head(self, key: str) -> ObjectInfo:
        """What is known of the object, without its bytes."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object under the prefix, in key order, fetched page by page."""
        ...

    def level(self, prefix: str) -> Level:
        """What lies directly below the prefix, in key order, without what lies deeper."""
        ...

    def delete(self, key: str) -> None:
        """Delete one object; one that is not there is fine."""
        ...

    def delete_many(self, keys: Iterable[str]) -> None:
        """Delete many objects; StoreUnavailable when one could not be deleted."""
        ...

    def delete_prefix(self, prefix: str) -> int:
        """Delete every object under a prefix, which must end with '/'; returns how many there were."""
        ...

    def presign_get(self, key: str, expires_seconds: int) -> str:
        """URL that reads the object (ranges too)."""
        ...

    def presign_put(self, key: str, expires_seconds: int, *, content_type: str) -> str:
        """URL that writes the object; the request must carry that Content-Type."""
        ...

    def create_multipart(self, key: str, *, content_type: str, cache_control: str | None = None) -> str:
        """Begin a multipart upload, return its id."""
        ...

    def presign_part(self, key: str, upload: str, number: int, expires_seconds: int) -> str:
        """URL that uploads part `number` (1…10,000) by PUT."""
        ...

    def put_part(self, key: str, upload: str, number: int, data: bytes) -> Part:
        """Upload one part."""
        ...

    def list_parts(self, key: str, upload: str) -> tuple[Part, ...]:
        """The parts uploaded so far, in order; NotFound when the upload ended or was aborted."""
        ...

    def complete_multipart(self, key: str, upload: str, parts: Sequence[Part]) -> str:
        """Join the parts to the object, return its ETag; Permanent when they do not fit together."""
        ...

    def abort_multipart(self, key: str, upload: str) -> None:
        """Drop an upload and its parts; one that is not there is fine."""
        ...


def parts_of(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Cut a stream into parts of exactly `size` bytes; the last may be shorter, an empty stream is one empty part."""
    buffer = bytearray()
    cut = False
    for chunk in chunks:
        buffer += chunk
        while len(buffer) > size:
            yield bytes(buffer[:size])
            cut = True
            del buffer[:size]
    if buffer or not cut:
        yield bytes(buffer)


def multipart_etag(parts: Sequence[Part]) -> str:
    """The ETag S3 and R2 give an object joined from `parts`: MD5 over the parts' MD5s, and how many they are."""
    digests = b"".join(bytes.fromhex(part.etag) for part in parts)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


def check_prefix(prefix: str) -> None:
    """ValueError unless `prefix` names a folder: a sweep of '' or of 'a' that also takes 'ab/' must not happen."""
    if len(prefix) < 2 or not prefix.endswith("/"):  # noqa: PLR2004 - a name and its slash
        raise ValueError("a prefix to delete must name a folder and end with '/'")


_ERRORS: dict[str, type[AcademyError]] = {
    "404": NotFound,
    "NoSuchKey": NotFound,
    "NoSuchUpload": NotFound,
    "412": PreconditionFailed,
    "PreconditionFailed": PreconditionFailed,
    "416": Permanent,
    "InvalidRange": Permanent,
    "InvalidPart": Permanent,
    "InvalidPartOrder": Permanent,
    "EntityTooSmall": Permanent,
    "EntityTooLarge": Permanent,
    "MalformedXML": Permanent,
    "KeyTooLongError": Permanent,
}


def _wrapped(error: BotoCoreError | ClientError | OSError, what: str) -> AcademyError:
    """The error tree's error for one of the provider's. Refused credentials are ours to mend, so retryable."""
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", "?"))
        return _ERRORS.get(code, StoreUnavailable)(f"{what}: {code}")
    return StoreUnavailable(f"{what}: {type(error).__name__}")


def _without_refused_checksums(request: AWSRequest, **_: Any) -> None:
    """Drop the checksum headers R2 refuses, before signing; an operation that needs one gets Content-MD5.

    boto3 sends them even with `when_required` where the S3 model requires a checksum (DeleteObjects, PutBucketCors).
    """
    refused = [name for name in request.headers if name.lower().startswith(("x-amz-checksum-", "x-amz-sdk-checksum-"))]
    for name in refused:
        del request.headers[name]
    if refused and "Content-MD5" not in request.headers:
        body = request.data if isinstance(request.data, bytes) else str(request.data).encode()
        request.headers["Content-MD5"] = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _guard(endpoint: str) -> Callable[..., None]:
    """A check that a request goes to `endpoint` and nowhere else."""
    allowed = urlsplit(endpoint)[:2]

    def check(request: AWSPreparedRequest, **_: Any) -> None:
        if urlsplit(request.url)[:2] != allowed:
            raise StoreUnavailable("refused a request that would have left R2_ENDPOINT")

    return check


def r2_client(settings: StoreSettings, *, pool: int = 10, read_seconds: float = _PATIENT_SECONDS) -> "S3Client":
    """An S3 client for R2_ENDPOINT alone: signature v4, region auto, path style, no retries of its own.

    `read_seconds`: how long an answer, or the next piece of it, may take.
    Public for the operator, which manages buckets; everything else uses R2Store. Thread-safe.
    """
    endpoint = str(settings.R2_ENDPOINT).rstrip("/")
    refuse_aws(endpoint)
    session = botocore.session.Session(
        session_vars={
            # (configuration file key, environment variable, default, conversion): no file, no variable is read.
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
            "profile": (None, None, None, None),
            "ca_bundle": (None, None, None, None),
        }
    )
    client: S3Client = boto3.Session(botocore_session=session).client(
        "s3",
        region_name="auto",
        endpoint_url=endpoint,
        aws_access_key_id=settings.R2_ACCESS_KEY,
        aws_secret_access_key=settings.R2_SECRET_KEY.get_secret_value(),
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path", "use_accelerate_endpoint": False},
            use_dualstack_endpoint=False,
            use_fips_endpoint=False,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=pool,
            connect_timeout=5,
            read_timeout=read_seconds,
            tcp_keepalive=True,
        ),
    )
    client.meta.events.register("before-sign.s3", _without_refused_checksums)
    client.meta.events.register_last("before-send.s3", _guard(endpoint))
    return client


def _objects(page: Any) -> Iterator[ObjectInfo]:
    """The objects of one page of a listing."""
    for item in page.get("Contents", ()):
        yield ObjectInfo(item["Key"], item["Size"], item["ETag"].strip('"'), item["LastModified"])


class R2Store:
    """An ObjectStore over R2. Thread-safe; retries with RETRY_MAX_ATTEMPTS and BACKOFF_*."""

    def __init__(
        self, settings: StoreSettings, bucket: str, *, part_bytes: int = PART_BYTES, patient: bool = True
    ) -> None:
        """`bucket` is a plain bucket name; ValueError for anything else (an ARN would change the host).

        One that is not `patient` tries each call once, for a few seconds: its caller comes back by itself.
        """
        if not _BUCKET.fullmatch(bucket):
            raise ValueError("not a bucket name")
        self.bucket = bucket
        self._concurrency = settings.UPLOAD_MAX_CONCURRENCY
        self._part_bytes = part_bytes
        read_seconds = _PATIENT_SECONDS if patient else _IMPATIENT_SECONDS
        self._client = r2_client(settings, pool=max(10, 2 * self._concurrency), read_seconds=read_seconds)
        self._endpoint = str(settings.R2_ENDPOINT).rstrip("/")
        self._attempts = settings.RETRY_MAX_ATTEMPTS if patient else 1
        self._wait = wait_random_exponential(multiplier=settings.BACKOFF_BASE_SECONDS, max=settings.BACKOFF_CAP_SECONDS)

    def _call(self, what: str, attempt: Callable[[], T]) -> T:
        """Run one call, its errors wrapped, again with jittered backoff while the store is unavailable."""

        def wrapped() -> T:
            try:
                return attempt()
            except (BotoCoreError, ClientError, OSError) as error:
                raise _wrapped(error, what) from error

        retrying = Retrying(
            stop=stop_after_attempt(self._attempts),
            wait=self._wait,
            retry=retry_if_exception_type(StoreUnavailable),
            reraise=True,
        )
        return retrying(wrapped)

    def put(  # noqa: PLR0913 - all but two are keyword-only
        self,
        key: str,
        data: bytes,
        *,
        content_type: str,
        cache_control: str | None = None,
        if_match: str | None = None,
        if_none_match: bool = False,
    ) -> str:
        """See ObjectStore.put."""
        optional: dict[str, Any] = {}
        if cache_control is not None:
            optional["CacheControl"] = cache_control
        if if_match is not None:
            optional["IfMatch"] = f'"{if_match}"'
        if if_none_match:
            optional["IfNoneMatch"] = "*"
        tries = 0

        def attempt() -> str:
            nonlocal tries
            tries += 1
            answer = self._client.put_object(
                Bucket=self.bucket, Key=key, Body=data, ContentType=content_type, **optional
            )
            return answer["ETag"].strip('"')

        try:
            return self._call(f"put {key}", attempt)
        except PreconditionFailed:
            # After a lost answer the repeat may be refused because of our own first write.
            ours = hashlib.md5(data, usedforsecurity=False).hexdigest()
            if tries > 1 and self.head(key).etag == ours:
                return ours
            raise

    def put_stream(
        self, key: str, chunks: Iterable[bytes], *, content_type: str, cache_control: str | None = None
    ) -> str:
        """See ObjectStore.put_stream. Holds at most UPLOAD_MAX_CONCURRENCY + 1 parts in memory."""
        parts = parts_of(chunks, self._part_bytes)
        first = next(parts)
        if len(first) < self._part_bytes:
            return self.put(key, first, content_type=content_type, cache_control=cache_control)
        upload = self.create_multipart(key, content_type=content_type, cache_control=cache_control)
        try:
            return self.complete_multipart(key, upload, self._put_parts(key, upload, first, parts))
        except BaseException as error:
            try:
                self.abort_multipart(key, upload)
            except StoreUnavailable as second:  # the first error is the one to act on; R2 drops the parts in 7 days
                error.add_note(f"and the upload could not be aborted: {second.detail}")
            raise

    def _put_parts(self, key: str, upload: str, first: bytes, rest: Iterator[bytes]) -> Sequence[Part]:
        done: deque[Part] = deque()
        running: deque[Future[Part]] = deque()
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="upload") as pool:
            running.append(pool.submit(self.put_part, key, upload, 1, first))
            for number, data in enumerate(rest, start=2):
                if len(running) >= self._concurrency:
                    done.append(running.popleft().result())
                running.append(pool.submit(self.put_part, key, upload, number, data))
            done.extend(future.result() for future in running)
        return done

    def put_file(self, key: str, path: Path, *, content_type: str, cache_control: str | None = None) -> str:
        """See ObjectStore.put_file."""
        with path.open("rb") as file:
            chunks = iter(lambda: file.read(self._part_bytes), b"")
            return self.put_stream(key, chunks, content_type=content_type, cache_control=cache_control)

    def get(self, key: str) -> bytes:
        """See ObjectStore.get."""

        def attempt() -> bytes:
            return self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

        return self._call(f"get {key}", attempt)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """See ObjectStore.get_range."""
        if not 0 <= start < end:
            raise ValueError("a range is [start, end) with start < end")
        wanted = f"bytes={start}-{end - 1}"

        def attempt() -> bytes:
            return self._client.get_object(Bucket=self.bucket, Key=key, Range=wanted)["Body"].read()

        return self._call(f"get {key} {wanted}", attempt)

    def head(self, key: str) -> ObjectInfo:
        """See ObjectStore.head."""
        answer = self._call(f"head {key}", lambda: self._client.head_object(Bucket=self.bucket, Key=key))
        return ObjectInfo(key, answer["ContentLength"], answer["ETag"].strip('"'), answer["LastModified"])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See ObjectStore.list."""
        for page in self._pages(prefix, {}):
            yield from _objects(page)

    def level(self, prefix: str) -> Level:
        """See ObjectStore.level."""
        pages = list(self._pages(prefix, {"Delimiter": "/"}))
        return Level(
            objects=tuple(info for page in pages for info in _objects(page)),
            folders=tuple(folder["Prefix"] for page in pages for folder in page.get("CommonPrefixes", ())),
        )

    def _pages(self, prefix: str, optional: dict[str, Any]) -> Iterator[Any]:
        while True:
            page = self._call(
                f"list {prefix}",
                lambda: self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, **optional),
            )
            yield page
            if not page["IsTruncated"]:
                return
            optional["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, key: str) -> None:
        """See ObjectStore.delete."""
        self._call(f"delete {key}", lambda: self._client.delete_object(Bucket=self.bucket, Key=key))

    def delete_many(self, keys: Iterable[str]) -> None:
        """See ObjectStore.delete_many."""
        batch: list[str] = []
        for key in keys:
            batch.append(key)
            if len(batch) == _DELETE_BATCH:
                self._delete_batch(batch)
                batch = []
        if batch:
            self._delete_batch(batch)

    def _delete_batch(self, keys: Sequence[str]) -> None:
        def attempt() -> None:
            answer = self._client.delete_objects(
                Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
            if errors := answer.get("Errors"):
                raise StoreUnavailable(f"delete of {len(errors)} objects: {errors[0].get('Code', '?')}")

        self._call(f"delete {len(keys)} objects", attempt)

    def delete_prefix(self, prefix: str) -> int:
        """See ObjectStore.delete_prefix."""
        check_prefix(prefix)
        count = 0

        def keys() -> Iterator[str]:
            nonlocal count
            for info in self.list(prefix):
                count += 1
                yield info.key

        self.delete_many(keys())
        return count

    def _presign(self, operation: str, expires_seconds: int, **params: Any) -> str:
        url = self._client.generate_presigned_url(
            operation, Params={"Bucket": self.bucket, **params}, ExpiresIn=expires_seconds
        )
        if urlsplit(url)[:2] != urlsplit(self._endpoint)[:2]:
            raise StoreUnavailable("refused to sign a URL that leaves R2_ENDPOINT")
        return url

    def presign_get(self, key: str, expires_seconds: int) -> str:
        """See ObjectStore.presign_get."""
        return self._presign("get_object", expires_seconds, Key=key)

    def presign_put(self, key: str, expires_seconds: int, *, content_type: str) -> str:
        """See ObjectStore.presign_put."""
        return self._presign("put_object", expires_seconds, Key=key, ContentType=content_type)

    def presign_part(self, key: str, upload: str, number: int, expires_seconds: int) -> str:
        """See ObjectStore.presign_part."""
        return self._presign("upload_part", expires_seconds, Key=key, UploadId=upload, PartNumber=number)

    def create_multipart(self, key: str, *, content_type: str, cache_control: str | None = None) -> str:
        """See ObjectStore.create_multipart."""
        optional: dict[str, Any] = {} if cache_control is None else {"CacheControl": cache_control}
        answer = self._call(
            f"create multipart {key}",
            lambda: self._client.create_multipart_upload(
                Bucket=self.bucket, Key=key, ContentType=content_type, **optional
            ),
        )
        return answer["UploadId"]

    def put_part(self, key: str, upload: str, number: int, data: bytes) -> Part:
        """See ObjectStore.put_part."""
        answer = self._call(
            f"put part {number} of {key}",
            lambda: self._client.upload_part(
                Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=number, Body=data
            ),
        )
        return Part(number, len(data), answer["ETag"].strip('"'))

    def list_parts(self, key: str, upload: str) -> tuple[Part, ...]:
        """See ObjectStore.list_parts."""
        found: list[Part] = []
        optional: dict[str, Any] = {}
        while True:
            page = self._call(
                f"list parts of {key}",
                lambda: self._client.list_parts(Bucket=self.bucket, Key=key, UploadId=upload, **optional),
            )
            found.extend(
                Part(part["PartNumber"], part["Size"], part["ETag"].strip('"')) for part in page.get("Parts", ())
            )
            if not page.get("IsTruncated"):
                return tuple(found)
            optional["PartNumberMarker"] = page["NextPartNumberMarker"]

    def complete_multipart(self, key: str, upload: str, parts: Sequence[Part]) -> str:
        """See ObjectStore.complete_multipart."""
        tries = 0

        def attempt() -> str:
            nonlocal tries
            tries += 1
            answer = self._client.complete_multipart_upload(
                Bucket=self.bucket,
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": [{"PartNumber": p.number, "ETag": f'"{p.etag}"'} for p in parts]},
            )
            return answer["ETag"].strip('"')

        try:
            return self._call(f"complete multipart {key}", attempt)
        except NotFound:
            # After a lost answer the repeat finds the upload gone because our own first call ended it.
            ours = multipart_etag(parts)
            if tries > 1 and self.head(key).etag == ours:
                return ours
            raise

    def abort_multipart(self, key: str, upload: str) -> None:
        """See ObjectStore.abort_multipart."""
        try:
            self._call(
                f"abort multipart {key}",
                lambda: self._client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload),
            )
        except NotFound:
            return
