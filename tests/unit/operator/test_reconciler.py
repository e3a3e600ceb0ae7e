"""The generic reconciler over the Queue kind and fakes: ownership, status, faults, deletion."""

import copy
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from operator_support import World

from academy_operator import metrics
from academy_operator.errors import AccessDenied, Forbidden, ProviderFault, Throttled
from academy_operator.fake_cluster import FakeCluster
from academy_operator.model import FINALIZER, Resource, resource_of
from academy_operator.providers.fake_queues import FakeQueues
from academy_operator.reconciler import AT_ONCE, Wait
from academy_operator.resources.queue import desired


def foreign(world: World, name: str = "video") -> None:
    world.queues.create(name, {"VisibilityTimeout": "30"}, {"owner": "somebody"})
    world.queues.calls.clear()


def test_creates_queue_dead_letter_queue_alarms_config_map_and_reports() -> None:
    world = World()
    uid = world.queue("video")
    world.reconciler.reconcile(uid)
    assert set(world.queues.queues) == {"video", "video-dlq"}
    assert set(world.queues.alarm_store) == {"video-depth", "video-dlq-depth"}
    status = world.status(uid)
    assert world.condition(uid, "Ready") == ("True", "Available")
    assert (status["depth"], status["inFlight"], status["dlqDepth"], status["observedGeneration"]) == (0, 0, 0, 1)
    config_map = world.cluster.config_maps["academy", "video-queue"]
    assert config_map["data"] == {
        "QUEUE_URL": status["url"],
        "QUEUE_ARN": status["arn"],
        "DLQ_URL": status["dlqUrl"],
    }
    assert config_map["metadata"]["ownerReferences"][0]["uid"] == uid


def test_a_new_operator_takes_its_queue_back() -> None:
    world = World()
    world.reconciler.reconcile(world.queue("video"))
    world.queues.calls.clear()
    again = World(hands=world.hands)
    again.queues = world.queues
    again.restart()
    uid = again.queue("video", meta={"uid": "reinstalled"})
    again.reconciler.reconcile(uid)
    assert again.condition(uid, "Ready") == ("True", "Available")
    assert again.queues.writes() == []


class Dropping(FakeQueues):
    """An emulator that takes an attribute and does not keep it, as moto does with RedriveAllowPolicy."""

    def set_attributes(self, url: str, attributes: Mapping[str, str]) -> None:
        super().set_attributes(url, {key: value for key, value in attributes.items() if key != "RedriveAllowPolicy"})


def test_what_an_emulator_drops_is_no_change() -> None:
    """A new process tries it anew, once; whoever counts changes is not told of any."""
    world = World()
    world.queues = Dropping(world.hands.clock(), emulator=True)
    uid = world.queue("video")
    world.reconciler.reconcile(uid)
    world.restart()
    world.queues.calls.clear()
    before = passes()
    world.reconciler.reconcile(uid)
    assert world.queues.writes() == ["SetQueueAttributes"]
    assert passes() == {**before, "unchanged": before["unchanged"] + 1}


def passes() -> dict[str, float]:
    """Passes over Queues so far, by their outcome."""
    return {
        outcome: metrics.RECONCILES.labels("Queue", outcome)._value.get()  # type: ignore[attr-defined]
        for outcome in ("changed", "unchanged")
    }


def due_at_once(world: World) -> list[str]:
    return [track.resource.uid for track in world.reconciler.tracks() if world.reconciler.due_at(track) == AT_ONCE]


def test_a_restart_visits_at_once_only_what_was_not_at_rest() -> None:
    world = World()
    names = ("rest", "changed", "foreign", "paused", "new")
    foreign(world, "foreign")
    uids = {name: world.queue(name, paused=name == "paused") for name in names}
    for name in names[:-1]:
        world.reconciler.reconcile(uids[name])
    world.cluster.bodies[uids["changed"]]["metadata"]["generation"] = 2
    world.restart()
    assert sorted(due_at_once(world)) == sorted(uids[name] for name in names[1:])
    world.queues.calls.clear()
    world.sweep(305)
    assert world.queues.calls.count("DescribeAlarms") >= 1, "the others follow within the drift period"


def test_an_older_picture_changes_nothing() -> None:
    world = World()
    uid = world.queue("video")
    world.reconciler.reconcile(uid)
    old = copy.deepcopy(world.cluster.bodies[uid])
    world.edit(uid, visibilityTimeout=60)
    assert not world.reconciler.remember(resource_of("Queue", "queues", old))
    world.reconciler.reconcile(uid)
    assert world.queues.queues["video"].attributes["VisibilityTimeout"] == "60"


def test_a_deletion_that_the_watch_missed_is_found_and_the_name_is_free_again() -> None:
    world = World()
    ghost = world.queue("video", visibilityTimeout=11)
    world.reconciler.reconcile(ghost)
    del world.cluster.bodies[ghost], world.cluster.statuses[ghost]
    successor = world.queue("video", visibilityTimeout=22, meta={"creationTimestamp": "2026-11-23T11:00:00Z"})
    world.reconciler.reconcile(successor)
    assert world.condition(successor, "Ready") == ("False", "Conflict"), "the ghost still stands for it"
    world.reconciler.refresh()
    assert due_at_once(world) == [successor]
    world.sweep(35)
    assert world.condition(successor, "Ready") == ("True", "Available")
    assert world.queues.queues["video"].attributes["VisibilityTimeout"] == "22"


def test_a_namespace_that_may_not_be_read_keeps_its_resources_and_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.cluster.namespaces = ("away", "academy")
    uid = world.queue("theirs", meta={"namespace": "away"})
    ours = world.queue("ours")

    def listed(_self: FakeCluster, _kind: str, _plural: str, namespace: str) -> list[Resource]:
        if namespace == "away":
            raise Forbidden("403")
        return []

    monkeypatch.setattr(FakeCluster, "list", listed)
    world.reconciler.refresh()
    assert [track.resource.uid for track in world.reconciler.tracks()] == [uid], "unknown is not gone"
    assert ours not in due_at_once(world)


def test_what_is_deleted_while_a_listing_is_read_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    uid = world.queue("video")
    original = FakeCluster.list

    def listed(self: FakeCluster, kind: str, plural: str, namespace: str) -> list[Resource]:
        found = list(original(self, kind, plural, namespace))
        world.reconciler.forget(uid)
        return found

    monkeypatch.setattr(FakeCluster, "list", listed)
    world.reconciler.refresh()
    assert world.reconciler.tracks() == []


def test_nothing_is_made_before_the_finalizer_that_will_unmake_it() -> None:
    world = World()
    uid = world.queue("video")
    body = world.cluster.bodies[uid]
    body["spec"]["deletionPolicy"], body["metadata"]["resourceVersion"] = "Delete", "8"
    world.reconciler.remember(resource_of("Queue", "queues", body))
    world.reconciler.reconcile(uid)
    assert world.queues.queues == {}
    body["metadata"] |= {"finalizers": [FINALIZER], "resourceVersion": "9"}
    assert world.reconciler.remember(resource_of("Queue", "queues", body))
    world.reconciler.reconcile(uid)
    assert "video" in world.queues.queues


def test_one_name_in_two_accounts_is_two_queues() -> None:
    world = World()
    uids = [
        world.queue("one", name="video", credentials={"secretName": "first"}),
        world.queue("two", name="video", credentials={"secretName": "second"}),
    ]
    for uid in uids:
        world.reconciler.reconcile(uid)
    assert world.condition(uids[1], "Ready") == ("False", "NotOurs"), "the fake has one account: not a Conflict"
    world.edit(uids[1], credentials={"secretName": "first"})
    world.reconciler.reconcile(uids[1])
    assert world.condition(uids[1], "Ready") == ("False", "Conflict")


def test_a_foreign_queue_is_refused_and_not_touched() -> None:
    world = World()
    foreign(world)
    uid = world.queue("video")
    world.reconciler.reconcile(uid)
    assert world.condition(uid, "Ready") == ("False", "NotOurs")
    assert world.queues.writes() == []


def test_a_foreign_dead_letter_queue_is_refused_too() -> None:
    world = World()
    foreign(world, "video-dlq")
    uid = world.queue("video")
    world.reconciler.reconcile(uid)
    assert world.condition(uid, "Ready") == ("False", "NotOurs")
    assert set(world.queues.queues) == {"video-dlq"}


def test_a_foreign_queue_is_adopted_when_asked() -> None:
    world = World()
    foreign(world)
    uid = world.queue("video", adoption="Adopt")
    world.reconciler.reconcile(uid)
    assert world.condition(uid, "Ready") == ("True", "Available")
    queue = world.queues.queues["video"]
    assert queue.attributes["VisibilityTimeout"] == "300"
    assert queue.tags["owner"] == "somebody"
    assert queue.tags[desired.TAG_NAME] == "video"


def test_observe_reports_and_never_writes() -> None:
    world = World()
    foreign(world)
    world.queues.send("video", "bell")
    uid = world.queue("video", adoption="Observe")
    world.reconciler.reconcile(uid)
    world.sweep(400)
    assert world.queues.writes() == []
    assert world.status(uid)["depth"] == 1
    assert world.condition(uid, "Ready") == ("True", "Available")
    assert world.condition(uid, "Synced") == ("False", "Drift")


def test_observe_of_nothing_creates_nothing() -> None:
    world = World()
    uid = world.queue("video", adoption="Observe")
    world.reconciler.reconcile(uid)
    assert world.condition(uid, "Ready") == ("False", "NotFound")
    assert world.queues.queues == {}


def test_drift_is_repaired_within_five_minutes() -> None:
    world = World()
    uid = world.queue("video")
    world.reconciler.reconcile(uid)
    world.queues.queues["video"].attributes["VisibilityTimeout"] = "1"
    world.queues.alarm_store.clear()
    world.sweep(305)
    assert world.queues.queues["video"].attributes["VisibilityTimeout"] == "300"
    assert len(world.queues.alarm_store) == 2


def test_deleted_by_hand_is_recreated_after_the_minute_that_sqs_asks_for() -> None:
    world = World()
    uid = world.queue("video")
    world.reconciler.reconcile(uid)
    world.queues.delete(world.status(uid)["url"])
    world.sweep(40)
    assert world.condition(uid, "Degraded") == ("True", "NotFound")
    world.sweep(25)
    assert world.condition(uid, "Degraded") == ("True", "QueueDeletedRecently")
    assert "depth" not in world.status(uid), "unknown is not zero"
    world.sweep(90)
    assert "video" in world.queues.queues
    assert world.condition(uid, "Degraded")[0] == "False"
    assert Counter(world.queues.calls)["CreateQueue"] == 4, "two at first, one refused, one that worked"


def test_an_unchanged_backlog_makes_no_patches_and_a_busy_queue_one_in_thirty_seconds() -> None:
    world = World()
    uid = world.queue("video")
    world.reconciler.reconcile(uid)
    world.queues.send("video", *("bell" for _ in range(40)))
    world.queues.ages["video"] = 120.0
    world.sweep(330)
    assert world.status(uid)["depth"] == 40
    assert world.status(uid)["oldestMessageTime"].endswith(":00Z")
    before = len(world.cluster.patches)
    for _ in range(60):
        world.sweep(5)
        world.queues.ages["video"] += 5
    assert len(world.cluster.patches) == before, "ten counts of an unchanged backlog"
    for _ in range(60):
        world.queues.send("video", "one more")
        world.sweep(5)
    assert 8 <= len(world.cluster.patches) - before <= 10, "five minutes of a queue that changes all the time"


def test_transition_times_move_only_with_the_status() -> None:
    world = World()
    uid = world.queue("video")
    world.reconciler.reconcile(uid)
    first = {one["type"]: one["lastTransitionTime"] for one in world.status(uid)["conditions"]}
    world.hands.pass_by(120)
    world.edit(uid, visibilityTimeout=60)
    world.reconciler.reconcile(uid)
    conditions = world.status(uid)["conditions"]
    assert {one["type"]: one["lastTransitionTime"] for one in conditions} == first
    assert {one["observedGeneration"] for one in conditions} == {2}


@pytest.mark.parametrize("fault", [Throttled("slow down"), ProviderFault("500"), AccessDenied("no")])
def test_a_fault_degrades_keeps_ready_and_is_retried_with_backoff(fault: ProviderFault) -> None:
    world = World()
    uid = world.queue("video")
    world.reconciler.reconcile(uid)
    failing = True

    def inject(moment: str) -> None:
        if failing and moment.startswith("before"):
            raise fault

    world.queues.fault = inject
    world.queues.calls.clear()
    world.edit(uid, visibilityTimeout=77)
    world.reconciler.reconcile(uid)
    world.sweep(60)
    assert world.condition(uid, "Degraded") == ("True", fault.condition)
    assert world.condition(uid, "Ready") == ("True", "Available")
    assert "depth" not in world.status(uid)
    failing = False
    world.sweep(300)
    assert world.condition(uid, "Degraded") == ("False", "ProviderAnswers")
    assert world.queues.queues["video"].attributes["VisibilityTimeout"] == "77"
    assert world.status(uid)["depth"] == 0


def test_the_older_of_two_resources_wins_and_the_other_gets_its_turn() -> None:
    world = World()
    young = world.queue("second", name="video", meta={"creationTimestamp": "2026-11-23T09:30:00Z"})
    old = world.queue("first", name="video")
    for uid in (young, old):
        world.reconciler.reconcile(uid)
    assert world.condition(young, "Ready") == ("False", "Conflict")
    assert world.condition(old, "Ready") == ("True", "Available")
    assert world.queues.queues["video"].tags[desired.TAG_NAME] == "first"
    world.edit(young, adoption="Adopt")
    world.remove(old)
    world.sweep(31)
    assert world.condition(young, "Ready") == ("True", "Available")
    assert world.queues.queues["video"].tags[desired.TAG_NAME] == "second"


def test_a_paused_resource_is_left_alone() -> None:
    world = World()
    uid = world.queue("video")
    world.reconciler.reconcile(uid)
    world.edit(uid, paused=True, visibilityTimeout=60)
    world.queues.calls.clear()
    world.reconciler.reconcile(uid)
    world.sweep(700)
    assert world.queues.calls == []
    assert world.condition(uid, "Synced") == ("Unknown", "Paused")
    world.edit(uid, paused=False)
    world.reconciler.reconcile(uid)
    assert world.queues.queues["video"].attributes["VisibilityTimeout"] == "60"


def test_a_config_map_of_somebody_else_is_a_conflict_and_stays_as_it_is() -> None:
    world = World()
    theirs = {"metadata": {"name": "video-queue"}, "data": {"QUEUE_URL": "theirs"}}
    world.cluster.config_maps["academy", "video-queue"] = theirs
    uid = world.queue("video")
    world.reconciler.reconcile(uid)
    assert world.condition(uid, "Ready") == ("False", "Conflict")
    assert world.cluster.config_maps["academy", "video-queue"] is theirs
    assert world.status(uid)["url"]


def test_without_cloudwatch_alarms_are_not_supported_and_the_rest_works() -> None:
    world = World()
    world.queues.watch = False
    uid = world.queue("video")
    world.reconciler.reconcile(uid)
    assert world.condition(uid, "Ready") == ("True", "Available")
    assert world.condition(uid, "NotSupported") == ("True", "ProviderLacksIt")


def deletable(world: World, **spec: Any) -> str:
    uid = world.queue("video", deletionPolicy="Delete", **spec)
    world.reconciler.reconcile(uid)
    return uid


def test_delete_removes_queue_dead_letter_queue_and_alarms() -> None:
    world = World()
    uid = deletable(world)
    world.mark_deleted(uid)
    assert world.reconciler.delete(uid) is None
    assert world.queues.queues == {}
    assert world.queues.alarm_store == {}


@pytest.mark.parametrize("held", ["video", "video-dlq"])
def test_delete_refuses_messages_unless_forced(held: str) -> None:
    world = World()
    uid = deletable(world)
    world.queues.send(held, "bell")
    world.mark_deleted(uid)
    assert isinstance(world.reconciler.delete(uid), Wait)
    assert set(world.queues.queues) == {"video", "video-dlq"}
    world.sweep(35)
    assert len(world.cluster.events) == 1
    world.edit(uid, forceDestroy=True)
    assert world.reconciler.delete(uid) is None
    assert world.queues.queues == {}


def test_delete_leaves_a_queue_that_is_not_ours() -> None:
    world = World()
    foreign(world)
    uid = deletable(world)
    world.mark_deleted(uid)
    assert world.reconciler.delete(uid) is None
    assert "video" in world.queues.queues


def test_a_namespace_never_hangs_on_a_queue_that_holds_messages() -> None:
    world = World()
    uid = deletable(world)
    world.queues.send("video", "bell")
    world.cluster.terminating.add("academy")
    world.mark_deleted(uid)
    assert world.reconciler.delete(uid) is None
    assert "video" in world.queues.queues, "let go, not destroyed"


def test_a_deletion_is_released_after_ten_minutes_of_provider_failure_even_over_restarts() -> None:
    world = World()
    uid = deletable(world)
    world.mark_deleted(uid)

    def down(_moment: str) -> None:
        raise ProviderFault("down")

    world.queues.fault = down
    assert isinstance(world.reconciler.delete(uid), Wait)
    world.hands.pass_by(599)
    world.restart()
    assert isinstance(world.reconciler.delete(uid), Wait)
    world.hands.pass_by(2)
    assert world.reconciler.delete(uid) is None
    (event,) = world.cluster.events.values()
    assert event["reason"] == "LeftBehind"


def test_long_trouble_before_the_deletion_does_not_shorten_the_ten_minutes() -> None:
    world = World()
    uid = deletable(world)

    def down(_moment: str) -> None:
        raise ProviderFault("down")

    world.queues.fault = down
    world.sweep(3600)
    world.mark_deleted(uid)
    assert isinstance(world.reconciler.delete(uid), Wait)


def test_a_queue_that_does_not_show_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    uid = world.queue("video")
    monkeypatch.setattr(FakeQueues, "find", lambda *_: None)
    world.reconciler.reconcile(uid)
    assert world.condition(uid, "Degraded") == ("True", "ProviderUnavailable")
    monkeypatch.undo()
    world.sweep(60)
    assert world.condition(uid, "Ready") == ("True", "Available")


def test_a_change_that_does_not_show_yet_is_said_and_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    uid = world.queue("video")
    world.reconciler.reconcile(uid)
    monkeypatch.setattr(FakeQueues, "set_attributes", lambda self, *_: self.calls.append("SetQueueAttributes"))
    world.edit(uid, visibilityTimeout=60)
    world.queues.calls.clear()
    world.reconciler.reconcile(uid)
    assert world.condition(uid, "Synced") == ("False", "Propagating")
    assert world.queues.calls.count("SetQueueAttributes") == 2, "one a queue, once"
    monkeypatch.undo()
    world.sweep(95)
    assert world.condition(uid, "Synced") == ("True", "UpToDate")


def test_before_the_first_success_ready_is_unknown() -> None:
    world = World()

    def down(_moment: str) -> None:
        raise ProviderFault("down")

    world.queues.fault = down
    uid = world.queue("video")
    world.reconciler.reconcile(uid)
    assert world.condition(uid, "Ready") == ("Unknown", "NotReconciled")
    world.queues.fault = lambda _moment: None
    world.sweep(60)
    assert world.condition(uid, "Ready") == ("True", "Available")
