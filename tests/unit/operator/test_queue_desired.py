"""The pure part of the Queue kind: spec to desired state, comparison, plan."""

import json
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from operator_support import CLUSTER_ID, PRINCIPAL, Hands, World, body_of, schema_of, with_defaults

from academy_operator.errors import Refused
from academy_operator.model import Owner, resource_of
from academy_operator.providers.fake_queues import FakeQueues
from academy_operator.providers.queues import Alarm, QueueFacts
from academy_operator.resources.queue import desired

OWNER = Owner(CLUSTER_ID, "academy", "video")
TOPIC = "arn:aws:sns:ap-northeast-2:111122223333:academy-alarms"

specs: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "visibilityTimeout": st.integers(0, 43_200),
        "receiveWaitTime": st.integers(0, 20),
        "retention": st.integers(60, 1_209_600),
        "delay": st.integers(0, 900),
        "maximumMessageSize": st.integers(1024, 1_048_576),
        "encryption": st.sampled_from(
            [{"mode": "SSE-SQS"}, {"mode": "None"}, {"mode": "KMS", "kmsKeyId": "alias/academy"}]
        ),
        "deadLetter": st.fixed_dictionaries(
            {"enabled": st.booleans()}, optional={"maxReceiveCount": st.integers(1, 1000)}
        ),
        "tags": st.dictionaries(st.sampled_from(["team", "cost", "stage"]), st.text("ab", max_size=3)),
        "allowedPrincipals": st.sampled_from([[], [PRINCIPAL]]),
        "alarms": st.fixed_dictionaries(
            {"enabled": st.booleans()},
            optional={
                "period": st.sampled_from([60, 300]),
                "depth": st.fixed_dictionaries({"threshold": st.integers(0, 5000), "periods": st.integers(1, 24)}),
                "actions": st.sampled_from([[], [TOPIC]]),
            },
        ),
    },
)


@settings(deadline=None, max_examples=60)
@given(before=specs, after=specs)
def test_any_spec_settles_and_a_second_pass_writes_nothing(before: dict[str, Any], after: dict[str, Any]) -> None:
    world = World()
    uid = world.queue("video", **before)
    world.reconciler.reconcile(uid)
    assert world.condition(uid, "Ready") == ("True", "Available")
    world.cluster.bodies[uid]["spec"] = body_of("Queue", "queues", "video", after)["spec"]
    world.edit(uid)
    world.reconciler.reconcile(uid)
    assert world.condition(uid, "Synced") == ("True", "UpToDate")
    written = (len(world.queues.writes()), len(world.cluster.patches), len(world.cluster.writes))
    world.reconciler.reconcile(uid)
    assert (len(world.queues.writes()), len(world.cluster.patches), len(world.cluster.writes)) == written


def test_defaults_of_the_model_are_those_of_the_schema() -> None:
    filled = with_defaults(schema_of("queue")["properties"]["spec"], {})
    assert desired.QueueSpec.model_validate(filled) == desired.QueueSpec()


def test_first_the_dead_letter_queue_then_the_queue_with_its_redrive_policy_and_tags() -> None:
    wanted = desired.desired(desired.QueueSpec(tags={"team": "video"}), "video", OWNER)
    (first,) = desired.plan(wanted, desired.Observed(None, None), ())
    assert isinstance(first, desired.Create)
    assert first.name == "video-dlq"
    assert first.attributes["MessageRetentionPeriod"] == "1209600"
    assert first.tags == {"team": "video", **desired.ownership_tags(OWNER)}
    dead = QueueFacts("u", "arn:aws:sqs:r:1:video-dlq", first.attributes, first.tags)
    (second,) = desired.plan(wanted, desired.Observed(None, dead), ())
    assert isinstance(second, desired.Create)
    assert second.name == "video"
    assert second.attributes["VisibilityTimeout"] == "300"
    assert second.attributes["ReceiveMessageWaitTimeSeconds"] == "20"
    assert json.loads(second.attributes["RedrivePolicy"]) == {"deadLetterTargetArn": dead.arn, "maxReceiveCount": 20}
    assert second.tags == first.tags


@pytest.mark.parametrize(
    ("attribute", "left", "right"),
    [
        (
            "RedrivePolicy",
            '{"deadLetterTargetArn":"a","maxReceiveCount":5}',
            '{"maxReceiveCount":"5","deadLetterTargetArn":"a"}',
        ),
        ("RedriveAllowPolicy", '{"sourceQueueArns":["a","b"]}', '{"sourceQueueArns": ["b", "a"]}'),
        ("Policy", '{"Principal":{"AWS":"arn:aws:iam::111122223333:root"}}', '{"Principal":{"AWS":["111122223333"]}}'),
        ("Policy", '{"Action":"sqs:SendMessage"}', '{"Action":["sqs:SendMessage"]}'),
        ("SqsManagedSseEnabled", "true", "True"),
        ("KmsMasterKeyId", "", ""),
    ],
)
def test_spellings_of_one_value_are_equal(attribute: str, left: str, right: str) -> None:
    assert desired.canonical(attribute, left) == desired.canonical(attribute, right)


@pytest.mark.parametrize(
    ("attribute", "left", "right"),
    [
        ("RedrivePolicy", '{"maxReceiveCount":5}', '{"maxReceiveCount":6}'),
        ("Policy", '{"Action":["sqs:SendMessage"]}', '{"Action":["sqs:*"]}'),
        ("Policy", "", '{"Action":["sqs:*"]}'),
        ("VisibilityTimeout", "0", ""),
        ("Policy", "not json", "other"),
    ],
)
def test_different_values_differ(attribute: str, left: str, right: str) -> None:
    assert desired.canonical(attribute, left) != desired.canonical(attribute, right)


def test_the_alarms_are_those_of_the_requirement() -> None:
    depth, dead = desired.desired(desired.QueueSpec(), "video", OWNER).alarms
    assert (depth.name, depth.queue, depth.threshold, depth.period, depth.periods) == (
        "video-depth",
        "video",
        1000,
        300,
        2,
    )
    assert (dead.name, dead.queue, dead.threshold, dead.period, dead.periods) == (
        "video-dlq-depth",
        "video-dlq",
        10,
        300,
        1,
    )
    assert {depth.comparison, dead.comparison} == {"GreaterThanThreshold"}
    assert {depth.missing, dead.missing} == {"ignore"}, "an unreadable depth is not 0"


def test_every_changed_field_of_an_alarm_is_repaired() -> None:
    wanted = desired.desired(desired.QueueSpec(), "video", OWNER)
    provider = FakeQueues(Hands().clock())
    for name, attributes in (("video-dlq", wanted.dead_letter_attributes), ("video", wanted.attributes)):
        provider.create(name, {key: value for key, value in attributes.items() if value}, wanted.tags)
    good = wanted.alarms[0]
    changes: list[Alarm] = [
        replace(good, threshold=1.0),
        replace(good, periods=9),
        replace(good, missing="missing"),
        replace(good, enabled=False),
        replace(good, actions=(TOPIC,)),
        replace(good, statistic="Average"),
    ]
    for changed in changes:
        observed = desired.Observed(
            provider.find("video"),
            provider.find("video-dlq"),
            {good.name: changed, wanted.alarms[1].name: wanted.alarms[1]},
        )
        assert desired.PutAlarm(good) in desired.plan(wanted, observed, ())


def test_a_stranger_among_the_principals_is_refused() -> None:
    spec = desired.QueueSpec(allowedPrincipals=("arn:aws:iam::999999999999:root",))
    with pytest.raises(Refused, match="OPERATOR_ALLOWED_PRINCIPALS") as caught:
        desired.check_principals(spec, frozenset({PRINCIPAL}))
    assert caught.value.condition == "PrincipalNotAllowed"


def test_a_queue_and_a_queue_named_like_its_dead_letter_queue_are_in_conflict() -> None:
    one = resource_of("Queue", "queues", body_of("Queue", "queues", "video", {}))
    other = resource_of("Queue", "queues", body_of("Queue", "queues", "other", {"name": "video-dlq"}))
    abroad = resource_of("Queue", "queues", body_of("Queue", "queues", "video", {"region": "us-east-1"}))
    home = "ap-northeast-2"
    assert not desired.claims(one, home).isdisjoint(desired.claims(other, home))
    assert desired.claims(one, home).isdisjoint(desired.claims(abroad, home))


def test_a_tag_that_left_the_spec_is_removed_and_a_stranger_s_tag_stays() -> None:
    world = World()
    uid = world.queue("video", tags={"team": "video", "stage": "one"})
    world.reconciler.reconcile(uid)
    world.queues.queues["video"].tags["aws-backup"] = "yes"
    world.edit(uid, tags={"team": "video"})
    world.reconciler.reconcile(uid)
    tags = world.queues.queues["video"].tags
    assert "stage" not in tags
    assert tags["aws-backup"] == "yes"
    assert "stage" not in world.queues.queues["video-dlq"].tags


def test_an_account_is_its_id_or_its_root() -> None:
    root, account = "arn:aws:iam::999999999999:root", "999999999999"
    for asked, listed in ((root, account), (account, root), (account, account)):
        desired.check_principals(desired.QueueSpec(allowedPrincipals=(asked,)), frozenset({listed}))
