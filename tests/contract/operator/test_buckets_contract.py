"""One suite over every BucketProvider: the fake must be what the real one is."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from academy_operator.errors import AlreadyExists, Gone
from academy_operator.model import Owner
from academy_operator.providers import aws, r2
from academy_operator.providers.buckets import MARKER_KEY, BucketProvider, CorsRule, LifecycleRule
from academy_operator.providers.fake_buckets import FakeBuckets

KEYS = aws.Keys("test", "test")
OWNER = Owner("cluster", "academy", "video")


@pytest.fixture(params=["fake", "moto", "seaweedfs"])
def provider(request: pytest.FixtureRequest) -> BucketProvider:
    """Each provider there is; moto knows no region `auto`."""
    if request.param == "fake":
        return FakeBuckets()
    if request.param == "moto":
        return r2.connect(request.getfixturevalue("moto_endpoint"), KEYS, region="us-east-1")
    return r2.connect(request.getfixturevalue("seaweedfs_endpoint"), KEYS)


@pytest.fixture
def name(provider: BucketProvider) -> Iterator[str]:
    """A fresh bucket name; what stands under it afterwards is removed."""
    fresh = f"academy-{uuid4().hex[:12]}"
    yield fresh
    if provider.exists(fresh):
        while not provider.empty(fresh):
            pass
        provider.delete(fresh)


def put(provider: BucketProvider, name: str, *keys: str) -> None:
    """Objects arrive."""
    if isinstance(provider, FakeBuckets):
        provider.buckets[name].keys += keys
        return
    assert isinstance(provider, r2.R2Buckets)
    for key in keys:
        provider.s3.put_object(Bucket=name, Key=key, Body=b"x")


def test_created_once(provider: BucketProvider, name: str) -> None:
    assert not provider.exists(name)
    provider.create(name, None)
    assert provider.exists(name)


def test_creating_what_exists_is_told(provider: BucketProvider, name: str) -> None:
    provider.create(name, None)
    if isinstance(provider, r2.R2Buckets) and provider.s3.meta.region_name == "us-east-1":
        provider.create(name, None)  # S3's oldest region, which moto plays, answers 200 to the owner
        return
    with pytest.raises(AlreadyExists):
        provider.create(name, None)


def test_the_marker_names_the_owner(provider: BucketProvider, name: str) -> None:
    provider.create(name, None)
    assert provider.owner(name) is None
    provider.put_owner(name, OWNER)
    assert provider.owner(name) == OWNER


def test_a_bucket_that_is_not_there(provider: BucketProvider, name: str) -> None:
    for call in (provider.owner, provider.cors, provider.lifecycle):
        with pytest.raises(Gone):
            call(name)
    provider.delete(name)


def test_cors_comes_back_as_it_was_put_and_can_be_removed(provider: BucketProvider, name: str) -> None:
    provider.create(name, None)
    assert provider.cors(name) == ()
    rules = (
        CorsRule(("https://a.example", "https://b.example"), ("GET", "PUT"), ("*",), ("ETag",), 3600),
        CorsRule(("*",), ("HEAD",)),
    )
    provider.put_cors(name, rules)
    assert provider.cors(name) == rules
    provider.put_cors(name, ())
    assert provider.cors(name) == ()


def test_lifecycle_comes_back_as_it_was_put(provider: BucketProvider, name: str) -> None:
    provider.create(name, None)
    assert provider.lifecycle(name) == ()
    rules = (LifecycleRule("abort", abort_days=7), LifecycleRule("tmp", "tmp/", expire_days=30))
    provider.put_lifecycle(name, rules)
    assert provider.lifecycle(name) == rules


def test_the_marker_is_not_content(provider: BucketProvider, name: str) -> None:
    provider.create(name, None)
    provider.put_owner(name, OWNER)
    assert not provider.holds_content(name)
    put(provider, name, "a.mp4")
    assert provider.holds_content(name)


def test_emptied_in_batches_and_deleted(provider: BucketProvider, name: str) -> None:
    provider.create(name, None)
    provider.put_owner(name, OWNER)
    put(provider, name, "0.mp4", *(f"z/{number}" for number in range(5)))
    rounds = 0
    while not provider.empty(name):
        rounds += 1
        assert rounds < 5
    assert provider.owner(name) == OWNER, f"{MARKER_KEY} stays until the bucket goes"
    provider.delete(name)
    assert not provider.exists(name)
