"""The Bucket kind: pure part, ownership without tags, deletion."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from operator_support import CLUSTER_ID, World, body_of, schema_of, with_defaults

from academy_operator.model import Owner
from academy_operator.providers.buckets import LifecycleRule
from academy_operator.reconciler import Wait
from academy_operator.resources.bucket import desired

CORS = {
    "allowedOrigins": ["https://b.example", "https://a.example"],
    "allowedMethods": ["PUT"],
    "exposeHeaders": ["ETag"],
}

specs: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "cors": st.sampled_from([[], [CORS], [CORS, {"allowedOrigins": ["*"], "allowedMethods": ["GET", "HEAD"]}]]),
        "lifecycle": st.lists(
            st.fixed_dictionaries(
                {"id": st.text("abc", min_size=1, max_size=3), "expireAfterDays": st.integers(1, 400)},
                optional={"prefix": st.sampled_from(["", "tmp/"])},
            ),
            max_size=4,
            unique_by=lambda rule: rule["id"],
        ),
        "abortIncompleteMultipartAfterDays": st.integers(1, 365),
        "publicBaseURL": st.just("https://cdn.example"),
        "tags": st.just({"a": "b"}),
    },
)


class Crash(BaseException):
    """The process dies."""


def crash_at(world: World, moment: str) -> None:
    def fault(now: str) -> None:
        if now == moment:
            raise Crash

    world.buckets.fault = fault


@settings(deadline=None, max_examples=60)
@given(before=specs, after=specs)
def test_any_spec_settles_and_a_second_pass_writes_nothing(before: dict[str, Any], after: dict[str, Any]) -> None:
    world = World()
    uid = world.bucket("academy-video", **before)
    world.reconciler.reconcile(uid)
    assert world.condition(uid, "Ready") == ("True", "Available")
    world.cluster.bodies[uid]["spec"] = body_of("Bucket", "buckets", "academy-video", after)["spec"]
    world.edit(uid)
    world.reconciler.reconcile(uid)
    written = (len(world.buckets.writes()), len(world.cluster.patches))
    world.reconciler.reconcile(uid)
    assert (len(world.buckets.writes()), len(world.cluster.patches)) == written


def test_defaults_of_the_model_are_those_of_the_schema() -> None:
    filled = with_defaults(schema_of("bucket")["properties"]["spec"], {})
    assert desired.BucketSpec.model_validate(filled) == desired.BucketSpec()


def test_the_intent_is_written_before_the_bucket_and_the_marker_after_it() -> None:
    world = World()
    uid = world.bucket("academy-video")
    world.reconciler.reconcile(uid)
    assert world.cluster.patches[0] == {"intent": "academy-video"}
    assert world.buckets.writes()[:2] == ["CreateBucket", "PutObject"]
    assert world.buckets.buckets["academy-video"].owner == Owner(CLUSTER_ID, "academy", "academy-video")
    status = world.status(uid)
    assert (status["bucket"], status["owned"]) == ("academy-video", True)
    assert "intent" not in status


def test_killed_between_bucket_and_marker_it_is_still_ours() -> None:
    world = World()
    uid = world.bucket("academy-video")
    crash_at(world, "after CreateBucket")
    with pytest.raises(Crash):
        world.reconciler.reconcile(uid)
    crash_at(world, "never")
    world.restart()
    world.reconciler.reconcile(uid)
    assert world.condition(uid, "Ready") == ("True", "Available")
    assert world.buckets.calls.count("CreateBucket") == 1


def test_a_foreign_bucket_is_refused_and_not_touched() -> None:
    world = World()
    world.buckets.create("academy-video", None)
    uid = world.bucket("academy-video")
    world.reconciler.reconcile(uid)
    assert world.condition(uid, "Ready") == ("False", "NotOurs")
    assert world.buckets.writes() == ["CreateBucket"]


def test_a_bucket_that_appears_at_the_last_moment_is_not_taken() -> None:
    world = World()
    uid = world.bucket("academy-video")
    made = False

    def somebody_is_quicker(moment: str) -> None:
        nonlocal made
        if moment == "before CreateBucket" and not made:
            made = True
            world.buckets.create("academy-video", None)

    world.buckets.fault = somebody_is_quicker
    world.reconciler.reconcile(uid)
    assert "intent" not in world.status(uid)
    world.sweep(60)
    assert world.condition(uid, "Ready") == ("False", "NotOurs")
    assert world.buckets.buckets["academy-video"].owner is None


def test_adopt_takes_over_and_observe_only_looks() -> None:
    world = World()
    world.buckets.create("academy-video", None)
    world.buckets.create("academy-ai", None)
    world.buckets.calls.clear()
    watched = world.bucket("academy-ai", adoption="Observe", cors=[CORS])
    world.reconciler.reconcile(watched)
    assert world.buckets.writes() == []
    assert world.condition(watched, "Synced") == ("False", "Drift")
    taken = world.bucket("academy-video", adoption="Adopt")
    world.reconciler.reconcile(taken)
    assert world.buckets.buckets["academy-video"].owner == Owner(CLUSTER_ID, "academy", "academy-video")


def test_a_reinstalled_operator_takes_its_bucket_back_by_the_marker() -> None:
    world = World()
    world.reconciler.reconcile(world.bucket("academy-video"))
    again = World(buckets=world.buckets)
    again.buckets.calls.clear()
    uid = again.bucket("academy-video")
    again.reconciler.reconcile(uid)
    assert again.condition(uid, "Ready") == ("True", "Available")
    assert again.buckets.writes() == []


def test_drift_is_repaired_the_marker_included() -> None:
    world = World()
    uid = world.bucket("academy-video", cors=[CORS])
    world.reconciler.reconcile(uid)
    bucket = world.buckets.buckets["academy-video"]
    bucket.owner, bucket.cors, bucket.lifecycle = None, (), (LifecycleRule("somebody-s", expire_days=1),)
    world.sweep(305)
    assert bucket.owner == Owner(CLUSTER_ID, "academy", "academy-video")
    assert len(bucket.cors) == 1
    assert [rule.id for rule in bucket.lifecycle] == [desired.ABORT_RULE]


def test_what_r2_does_not_have_is_named() -> None:
    world = World()
    uid = world.bucket("academy-video", versioning=True, tags={"a": "b"}, policy="{}")
    world.reconciler.reconcile(uid)
    assert world.condition(uid, "NotSupported") == ("True", "ProviderLacksIt")
    found = next(one for one in world.status(uid)["conditions"] if one["type"] == "NotSupported")
    assert all(f"spec.{field}" in found["message"] for field in ("versioning", "tags", "policy"))
    assert world.condition(uid, "Ready") == ("True", "Available")


def deletable(world: World, **spec: Any) -> str:
    uid = world.bucket("academy-video", deletionPolicy="Delete", **spec)
    world.reconciler.reconcile(uid)
    return uid


def test_delete_refuses_objects_and_ignores_the_marker() -> None:
    world = World()
    uid = deletable(world)
    world.buckets.buckets["academy-video"].keys = ["lecture.mp4"]
    world.mark_deleted(uid)
    assert isinstance(world.reconciler.delete(uid), Wait)
    world.buckets.buckets["academy-video"].keys = []
    assert world.reconciler.delete(uid) is None
    assert world.buckets.buckets == {}


def test_force_destroy_goes_on_where_it_was_killed() -> None:
    world = World()
    uid = deletable(world, forceDestroy=True)
    world.buckets.buckets["academy-video"].keys = [f"{number}.m4s" for number in range(45_000)]
    world.mark_deleted(uid)
    crash_at(world, "after DeleteObjects")
    with pytest.raises(Crash):
        world.reconciler.delete(uid)
    crash_at(world, "never")
    world.restart()
    calls = 1
    while isinstance(world.reconciler.delete(uid), Wait):
        calls += 1
    assert calls == 3, "20 batches of 1,000 in one go"
    assert world.buckets.buckets == {}


def test_a_bucket_without_its_marker_is_not_destroyed_with_its_content() -> None:
    world = World()
    uid = deletable(world, forceDestroy=True)
    bucket = world.buckets.buckets["academy-video"]
    bucket.owner, bucket.keys = None, ["lecture.mp4"]
    world.mark_deleted(uid)
    assert isinstance(world.reconciler.delete(uid), Wait)
    assert bucket.keys == ["lecture.mp4"]


def test_delete_leaves_a_bucket_that_is_not_ours() -> None:
    world = World()
    world.buckets.create("academy-video", None)
    uid = deletable(world, forceDestroy=True)
    world.mark_deleted(uid)
    assert world.reconciler.delete(uid) is None
    assert "academy-video" in world.buckets.buckets
