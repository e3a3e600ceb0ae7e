"""One suite over every QueueProvider: the fake must be what the real one is."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from operator_support import Hands

from academy_operator.errors import Gone, Unsupported
from academy_operator.providers import aws
from academy_operator.providers.fake_queues import FakeQueues
from academy_operator.providers.queues import Alarm, QueueProvider

KEYS = aws.Keys("test", "test")
REGION = "ap-northeast-2"


@pytest.fixture(params=["fake", "moto", "elasticmq"])
def provider(request: pytest.FixtureRequest) -> QueueProvider:
    """Each provider there is."""
    match request.param:
        case "fake":
            return FakeQueues(Hands().clock())
        case "moto":
            endpoint = request.getfixturevalue("moto_endpoint")
            return aws.connect(REGION, KEYS, endpoint, endpoint)
        case _:
            return aws.connect(REGION, KEYS, request.getfixturevalue("elasticmq_endpoint"), None)


@pytest.fixture
def name(provider: QueueProvider) -> Iterator[str]:
    """A fresh queue name; what stands under it afterwards is removed."""
    fresh = f"academy-{uuid4().hex[:12]}"
    yield fresh
    for one in (fresh, f"{fresh}-dlq"):
        found = provider.find(one)
        if found:
            provider.delete(found.url)


def send(provider: QueueProvider, name: str, *bodies: str) -> None:
    """Messages arrive."""
    if isinstance(provider, FakeQueues):
        provider.send(name, *bodies)
        return
    assert isinstance(provider, aws.AwsQueues)
    url = provider.sqs.get_queue_url(QueueName=name)["QueueUrl"]
    for body in bodies:
        provider.sqs.send_message(QueueUrl=url, MessageBody=body)


def url_of(provider: QueueProvider, name: str) -> str:
    found = provider.find(name)
    assert found is not None
    return found.url


def test_what_is_not_there_is_none_and_cannot_be_counted(provider: QueueProvider, name: str) -> None:
    assert provider.find(name) is None
    provider.create(name, {}, {})
    url = url_of(provider, name)
    provider.delete(url)
    assert provider.find(name) is None
    with pytest.raises(Gone):
        provider.counts(url)
    provider.delete(url)


def test_created_with_attributes_and_tags_in_one_call(provider: QueueProvider, name: str) -> None:
    provider.create(name, {"VisibilityTimeout": "120"}, {"academy.hakwonplus.com/cluster": "a"})
    found = provider.find(name)
    assert found is not None
    assert found.attributes["VisibilityTimeout"] == "120"
    assert found.tags == {"academy.hakwonplus.com/cluster": "a"}
    assert found.arn.endswith(f":{name}")


def test_creating_again_with_equal_attributes_finds_the_queue(provider: QueueProvider, name: str) -> None:
    provider.create(name, {"VisibilityTimeout": "120"}, {"owner": "one"})
    send(provider, name, "bell")
    provider.create(name, {"VisibilityTimeout": "120"}, {"owner": "one"})
    assert provider.counts(url_of(provider, name)).visible == 1


def test_attributes_and_tags_are_changed(provider: QueueProvider, name: str) -> None:
    provider.create(name, {}, {"a": "1", "b": "2"})
    url = url_of(provider, name)
    provider.set_attributes(url, {"VisibilityTimeout": "5", "DelaySeconds": "0"})
    provider.tag(url, {"a": "9", "c": "3"})
    provider.untag(url, ["b", "never there"])
    found = provider.find(name)
    assert found is not None
    assert found.attributes["VisibilityTimeout"] == "5"
    assert found.tags == {"a": "9", "c": "3"}


def test_a_redrive_policy_is_kept(provider: QueueProvider, name: str) -> None:
    provider.create(f"{name}-dlq", {}, {})
    dead = provider.find(f"{name}-dlq")
    assert dead is not None
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 20})
    provider.create(name, {"RedrivePolicy": policy}, {})
    found = provider.find(name)
    assert found is not None
    kept = json.loads(found.attributes["RedrivePolicy"])
    assert (kept["deadLetterTargetArn"], int(kept["maxReceiveCount"])) == (dead.arn, 20)


def test_counts(provider: QueueProvider, name: str) -> None:
    provider.create(name, {}, {})
    send(provider, name, "one", "two", "three")
    counts = provider.counts(url_of(provider, name))
    assert (counts.visible, counts.in_flight, counts.delayed, counts.total) == (3, 0, 0, 3)


def test_move_by_receiving_and_sending(provider: QueueProvider, name: str) -> None:
    for one in (name, f"{name}-dlq"):
        provider.create(one, {}, {})
    send(provider, f"{name}-dlq", *map(str, range(12)))
    source, destination = url_of(provider, f"{name}-dlq"), url_of(provider, name)
    moved = 0
    for _ in range(20):
        count = provider.move(source, destination, 5)
        assert count <= 5
        moved += count
        if count == 0:
            break
    assert moved == 12
    assert provider.counts(source).total == 0
    assert provider.counts(destination).visible == 12


def test_move_tasks_or_the_word_that_there_are_none(provider: QueueProvider, name: str) -> None:
    for one in (name, f"{name}-dlq"):
        provider.create(one, {}, {})
    dead, live = provider.find(f"{name}-dlq"), provider.find(name)
    assert dead is not None
    assert live is not None
    provider.set_attributes(
        live.url, {"RedrivePolicy": json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 3})}
    )
    send(provider, f"{name}-dlq", "one", "two")
    try:
        assert provider.move_tasks(dead.arn) == []
    except Unsupported:
        with pytest.raises(Unsupported):
            provider.start_move(dead.arn, live.arn, None)
        return
    provider.start_move(dead.arn, live.arn, None)
    (task,) = provider.move_tasks(dead.arn)
    assert task.failure is None


def test_alarms_or_the_word_that_there_are_none(provider: QueueProvider, name: str) -> None:
    alarm = Alarm(f"{name}-depth", name, 1000.0, 300, 2, ("arn:aws:sns:ap-northeast-2:111122223333:academy",))
    names = [f"{name}-depth", f"{name}-dlq-depth"]
    try:
        assert provider.alarms(names) == {}
    except Unsupported:
        with pytest.raises(Unsupported):
            provider.put_alarm(alarm)
        return
    provider.put_alarm(alarm)
    assert provider.alarms(names) == {alarm.name: alarm}
    provider.delete_alarms(names)
    provider.delete_alarms(names)
    assert provider.alarms(names) == {}


def test_no_figure_for_the_oldest_message_is_none_not_now(provider: QueueProvider, name: str) -> None:
    try:
        assert provider.oldest(name, datetime.now(UTC)) is None
    except Unsupported:
        with pytest.raises(Unsupported):
            provider.alarms([name])
