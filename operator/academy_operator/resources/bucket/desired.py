"""Pure: from a Bucket's spec and what was observed to the writes that are left to do."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from academy_operator.errors import Refused
from academy_operator.model import Json, Owner, Resource
from academy_operator.providers.buckets import CorsRule, LifecycleRule

ABORT_RULE = "academy-abort-multipart"
"""Id of the rule that spec.abortIncompleteMultipartAfterDays becomes."""
NOT_IN_R2 = ("policy", "acl", "tags", "versioning", "objectLock", "notifications")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Cors(_Model):
    """One of spec.cors."""

    allowedOrigins: tuple[str, ...]  # noqa: N815
    allowedMethods: tuple[str, ...]  # noqa: N815
    allowedHeaders: tuple[str, ...] = ()  # noqa: N815
    exposeHeaders: tuple[str, ...] = ()  # noqa: N815
    maxAgeSeconds: int = 3600  # noqa: N815


class Lifecycle(_Model):
    """One of spec.lifecycle."""

    id: str
    prefix: str = ""
    expireAfterDays: int  # noqa: N815


class Credentials(_Model):
    """spec.credentials."""

    secretName: str  # noqa: N815


class BucketSpec(_Model):
    """The typed spec; the API server has applied crd.yaml's defaults, a test holds these equal to them."""

    name: str | None = None
    locationHint: str | None = None  # noqa: N815
    cors: tuple[Cors, ...] = ()
    lifecycle: tuple[Lifecycle, ...] = ()
    abortIncompleteMultipartAfterDays: int = 7  # noqa: N815
    publicBaseURL: str | None = None  # noqa: N815
    credentials: Credentials | None = None
    deletionPolicy: Literal["Retain", "Delete"] = "Retain"  # noqa: N815
    forceDestroy: bool = False  # noqa: N815
    adoption: Literal["Refuse", "Adopt", "Observe"] = "Refuse"
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Create:
    """CreateBucket, announced in status before it."""

    location_hint: str | None


@dataclass(frozen=True, slots=True)
class PutOwner:
    """Write the ownership marker."""

    owner: Owner


@dataclass(frozen=True, slots=True)
class PutCors:
    """PutBucketCors, or DeleteBucketCors when there are none."""

    rules: tuple[CorsRule, ...]


@dataclass(frozen=True, slots=True)
class PutLifecycle:
    """PutBucketLifecycleConfiguration: the whole set."""

    rules: tuple[LifecycleRule, ...]


Action = Create | PutOwner | PutCors | PutLifecycle


@dataclass(frozen=True, slots=True)
class Desired:
    """What the provider should have."""

    location_hint: str | None
    owner: Owner
    cors: tuple[CorsRule, ...]
    lifecycle: tuple[LifecycleRule, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """What the provider has; the rest of it means nothing unless `exists`."""

    exists: bool
    owner: Owner | None = None
    cors: tuple[CorsRule, ...] = ()
    lifecycle: tuple[LifecycleRule, ...] = ()


def bucket_name(resource: Resource) -> str:
    """spec.name, or the resource's own."""
    return str(resource.spec.get("name") or resource.name)


def claims(resource: Resource) -> frozenset[str]:
    """The provider-side name this resource speaks for."""
    return frozenset({f"bucket/{bucket_name(resource)}"})


def spec_of(resource: Resource) -> BucketSpec:
    """The typed spec of a resource."""
    return BucketSpec.model_validate(resource.spec)


def desired(spec: BucketSpec, owner: Owner) -> Desired:
    """What the provider should have for this spec."""
    rules = [LifecycleRule(one.id, one.prefix, expire_days=one.expireAfterDays) for one in spec.lifecycle]
    rules.append(LifecycleRule(ABORT_RULE, abort_days=spec.abortIncompleteMultipartAfterDays))
    return Desired(
        location_hint=spec.locationHint,
        owner=owner,
        cors=tuple(
            CorsRule(
                tuple(sorted(one.allowedOrigins)),
                tuple(sorted(one.allowedMethods)),
                tuple(sorted(one.allowedHeaders)),
                tuple(sorted(one.exposeHeaders)),
                one.maxAgeSeconds,
            )
            for one in spec.cors
        ),
        lifecycle=tuple(sorted(rules)),
    )


def is_ours(observed: Observed, owner: Owner, name: str, status: Json) -> bool:
    """By the marker; or, without any marker, because status says that it was made (or was being made) by us."""
    if observed.owner is not None:
        return observed.owner == owner
    return status.get("intent") == name or (bool(status.get("owned")) and status.get("bucket") == name)


def check_ownership(observed: Observed, owner: Owner, name: str, status: Json, adoption: str) -> None:
    """Refuse to touch a bucket that exists and is not ours, unless it is to be adopted."""
    if observed.exists and adoption != "Adopt" and not is_ours(observed, owner, name, status):
        holder = f" (marked as {observed.owner.namespace}/{observed.owner.name}'s)" if observed.owner else ""
        raise Refused(
            "NotOurs",
            f"bucket {name} exists{holder} and does not carry this resource's marker: set adoption to Adopt to take it"
            " over, to Observe to only report on it, or choose another name",
        )


def plan(wanted: Desired, observed: Observed) -> tuple[Action, ...]:
    """The writes that can be done now; empty when the provider has what is wanted."""
    if not observed.exists:
        return (Create(wanted.location_hint),)
    actions: list[Action] = []
    if observed.owner != wanted.owner:
        actions.append(PutOwner(wanted.owner))
    if observed.cors != wanted.cors:
        actions.append(PutCors(wanted.cors))
    if observed.lifecycle != wanted.lifecycle:
        actions.append(PutLifecycle(wanted.lifecycle))
    return tuple(actions)


def differences(wanted: Desired, observed: Observed) -> tuple[str, ...]:
    """What Observe reports."""
    names = {PutCors: "cors", PutLifecycle: "lifecycle"}
    return tuple(names[type(action)] for action in plan(wanted, observed) if type(action) in names)


def not_supported(spec: Json) -> tuple[str, ...]:
    """The fields that R2 has nothing for and that ask for something."""
    asked: list[Any] = [field for field in NOT_IN_R2 if spec.get(field)]
    return tuple(f"spec.{field}: R2 has no such thing" for field in asked)
