"""R2 over boto3. What R2 wants differently from S3 is done here, on the request that is signed.

boto3 sends PutBucketCors, PutBucketLifecycleConfiguration and DeleteObjects with checksum headers of its own whatever
it is told; R2 wants Content-MD5 in their place. So they are taken off before the signature and Content-MD5 is put on.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from academy_operator.errors import Gone, ProviderFault
from academy_operator.model import Owner
from academy_operator.providers.aws import CONFIG, Keys, wrapped
from academy_operator.providers.buckets import MARKER_KEY, CorsRule, LifecycleRule

BATCH = 1000
"""Largest DeleteObjects."""
CHECKED = ("PutBucketCors", "PutBucketLifecycleConfiguration", "DeleteObjects")
S3_CONFIG = CONFIG.merge(
    Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
)


def connect(endpoint: str, keys: Keys, region: str = "auto") -> "R2Buckets":
    """R2, whose region is `auto`; emulators may want another."""
    client = boto3.client(
        "s3",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        config=S3_CONFIG,
    )
    for operation in CHECKED:
        client.meta.events.register(f"before-sign.s3.{operation}", use_md5)
    return R2Buckets(client)


def use_md5(request: Any, **_: Any) -> None:
    """Replace boto3's checksum headers by Content-MD5 (botocore's before-sign hook)."""
    for header in list(request.headers):
        if header.lower().startswith(("x-amz-checksum-", "x-amz-sdk-checksum-", "x-amz-trailer")):
            del request.headers[header]
    body = request.data.encode() if isinstance(request.data, str) else request.data or b""
    del request.headers["Content-MD5"]
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    request.headers["Content-MD5"] = base64.b64encode(digest).decode()


@dataclass(frozen=True, slots=True)
class R2Buckets:
    """BucketProvider over R2; see there for what each call promises."""

    s3: Any

    def exists(self, name: str) -> bool:
        """See BucketProvider."""
        try:
            with wrapped("HeadBucket"):
                self.s3.head_bucket(Bucket=name)
        except Gone:
            return False
        return True

    def create(self, name: str, location_hint: str | None) -> None:
        """See BucketProvider."""
        where = {"CreateBucketConfiguration": {"LocationConstraint": location_hint}} if location_hint else {}
        with wrapped("CreateBucket"):
            self.s3.create_bucket(Bucket=name, **where)

    def owner(self, name: str) -> Owner | None:
        """See BucketProvider. What is not a marker of ours names nobody."""
        try:
            with wrapped("GetObject"):
                body = self.s3.get_object(Bucket=name, Key=MARKER_KEY)["Body"].read(4096)
        except Gone as gone:
            if "NoSuchBucket" in str(gone):
                raise
            return None
        try:
            loaded = json.loads(body)
            return Owner(str(loaded["cluster"]), str(loaded["namespace"]), str(loaded["name"]))
        except (ValueError, KeyError, TypeError):
            return None

    def put_owner(self, name: str, owner: Owner) -> None:
        """See BucketProvider."""
        body = json.dumps({"cluster": owner.cluster, "namespace": owner.namespace, "name": owner.name})
        with wrapped("PutObject"):
            self.s3.put_object(Bucket=name, Key=MARKER_KEY, Body=body.encode(), ContentType="application/json")

    def cors(self, name: str) -> tuple[CorsRule, ...]:
        """See BucketProvider."""
        try:
            with wrapped("GetBucketCors"):
                rules = self.s3.get_bucket_cors(Bucket=name).get("CORSRules", [])
        except Gone as gone:
            if "NoSuchCORS" in str(gone):
                return ()
            raise
        return tuple(_cors_rule(raw) for raw in rules)

    def put_cors(self, name: str, rules: tuple[CorsRule, ...]) -> None:
        """See BucketProvider."""
        if not rules:
            with wrapped("DeleteBucketCors"):
                self.s3.delete_bucket_cors(Bucket=name)
            return
        with wrapped("PutBucketCors"):
            self.s3.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [_cors_json(one) for one in rules]})

    def lifecycle(self, name: str) -> tuple[LifecycleRule, ...]:
        """See BucketProvider."""
        try:
            with wrapped("GetBucketLifecycleConfiguration"):
                rules = self.s3.get_bucket_lifecycle_configuration(Bucket=name).get("Rules", [])
        except Gone as gone:
            if "NoSuchLifecycle" in str(gone):
                return ()
            raise
        return tuple(sorted(_lifecycle_rule(raw) for raw in rules))

    def put_lifecycle(self, name: str, rules: tuple[LifecycleRule, ...]) -> None:
        """See BucketProvider."""
        with wrapped("PutBucketLifecycleConfiguration"):
            self.s3.put_bucket_lifecycle_configuration(
                Bucket=name, LifecycleConfiguration={"Rules": [_lifecycle_json(one) for one in rules]}
            )

    def holds_content(self, name: str) -> bool:
        """See BucketProvider. Two keys tell: one of them may be the marker."""
        with wrapped("ListObjectsV2"):
            listed = self.s3.list_objects_v2(Bucket=name, MaxKeys=2).get("Contents", [])
        return any(entry["Key"] != MARKER_KEY for entry in listed)

    def empty(self, name: str) -> bool:
        """See BucketProvider. Resumable: what is left is what is listed."""
        with wrapped("ListObjectsV2"):
            answer = self.s3.list_objects_v2(Bucket=name, MaxKeys=BATCH)
        keys = [{"Key": entry["Key"]} for entry in answer.get("Contents", []) if entry["Key"] != MARKER_KEY]
        if keys:
            with wrapped("DeleteObjects"):
                answer = self.s3.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True})
            refused = answer.get("Errors", [])
            if refused:
                code, key = refused[0].get("Code"), refused[0].get("Key")
                raise ProviderFault(f"DeleteObjects: {len(refused)} objects are still there; {key}: {code}")
            return False
        with wrapped("ListMultipartUploads"):
            uploads = self.s3.list_multipart_uploads(Bucket=name).get("Uploads", [])
        for upload in uploads:
            with wrapped("AbortMultipartUpload"):
                self.s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
        return not uploads

    def delete(self, name: str) -> None:
        """See BucketProvider. The marker goes first: a crash in between leaves an empty bucket, ours by its status."""
        try:
            with wrapped("DeleteObject"):
                self.s3.delete_object(Bucket=name, Key=MARKER_KEY)
            with wrapped("DeleteBucket"):
                self.s3.delete_bucket(Bucket=name)
        except Gone:
            return


def _sorted(raw: Any) -> tuple[str, ...]:
    return tuple(sorted(raw or ()))


def _cors_rule(raw: Mapping[str, Any]) -> CorsRule:
    return CorsRule(
        origins=_sorted(raw.get("AllowedOrigins")),
        methods=_sorted(raw.get("AllowedMethods")),
        headers=_sorted(raw.get("AllowedHeaders")),
        expose=_sorted(raw.get("ExposeHeaders")),
        max_age=raw.get("MaxAgeSeconds") or None,  # emulators say 0 where there is none
    )


def _cors_json(rule: CorsRule) -> dict[str, Any]:
    raw: dict[str, Any] = {"AllowedOrigins": list(rule.origins), "AllowedMethods": list(rule.methods)}
    if rule.headers:
        raw["AllowedHeaders"] = list(rule.headers)
    if rule.expose:
        raw["ExposeHeaders"] = list(rule.expose)
    if rule.max_age is not None:
        raw["MaxAgeSeconds"] = rule.max_age
    return raw


def _lifecycle_rule(raw: Mapping[str, Any]) -> LifecycleRule:
    """`Filter: {Prefix}`, the old `Prefix` and no filter at all are one thing; anything else is kept in `other`."""
    known = {"ID", "Status", "Filter", "Prefix", "Expiration", "AbortIncompleteMultipartUpload"}
    chosen = dict(raw.get("Filter") or {})
    prefix = chosen.pop("Prefix", None) or raw.get("Prefix") or ""
    expiration = dict(raw.get("Expiration") or {})
    abort = dict(raw.get("AbortIncompleteMultipartUpload") or {})
    days, abort_days = expiration.pop("Days", None), abort.pop("DaysAfterInitiation", None)
    rest: dict[str, Any] = {key: value for key, value in raw.items() if key not in known}
    rest |= {key: value for key, value in (("Filter", chosen), ("Expiration", expiration), ("Abort", abort)) if value}
    if raw.get("Status") != "Enabled":
        rest["Status"] = raw.get("Status")
    other = json.dumps(rest, sort_keys=True, default=str) if rest else ""
    return LifecycleRule(str(raw.get("ID", "")), prefix, days, abort_days, other)


def _lifecycle_json(rule: LifecycleRule) -> dict[str, Any]:
    raw: dict[str, Any] = {"ID": rule.id, "Status": "Enabled", "Filter": {"Prefix": rule.prefix}}
    if rule.expire_days is not None:
        raw["Expiration"] = {"Days": rule.expire_days}
    if rule.abort_days is not None:
        raw["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": rule.abort_days}
    return raw
