"""The border to kopf: it takes unknown settings in silence, so every name is held against its own dataclasses."""

import asyncio
import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import click
import kopf.cli
import pytest
from operator_support import World, body_of

from academy_core.errors import SettingsFault
from academy_operator import main
from academy_operator.model import FINALIZER, cleans_up


class Recorder:
    """Stands for a settings section, or the whole; remembers what is set."""

    _path: str
    _seen: dict[str, Any]

    def __init__(self, path: str, seen: dict[str, Any]) -> None:
        object.__setattr__(self, "_path", path)
        object.__setattr__(self, "_seen", seen)

    def __getattr__(self, name: str) -> "Recorder":
        return Recorder(f"{self._path}.{name}".lstrip("."), self._seen)

    def __setattr__(self, name: str, value: Any) -> None:
        self._seen[f"{self._path}.{name}"] = value


def recorded() -> dict[str, Any]:
    seen: dict[str, Any] = {}
    main.configure(Recorder("", seen))  # type: ignore[arg-type]
    return seen


def known() -> set[str]:
    settings = kopf.OperatorSettings()
    return {
        f"{section.name}.{one.name}"
        for section in dataclasses.fields(settings)
        for one in dataclasses.fields(getattr(settings, section.name))
    }


def test_every_setting_is_one_that_kopf_has() -> None:
    assert recorded().keys() <= known()


def test_the_values_that_matter() -> None:
    seen = recorded()
    assert seen["posting.enabled"] is False, "kopf's log lines do not become Events"
    assert seen["scanning.disabled"] is True, "explicit namespaces need no cluster-wide watch"
    assert seen["persistence.finalizer"] == FINALIZER
    assert seen["networking.request_timeout"] < seen["watching.server_timeout"] < seen["watching.client_timeout"]


def test_progress_goes_to_annotations_and_no_diff_base_is_kept() -> None:
    seen = recorded()
    assert type(seen["persistence.progress_storage"]) is kopf.AnnotationsProgressStorage
    kept = seen["persistence.diffbase_storage"]
    body, patch = kopf.Body({"metadata": {}, "spec": {"delay": 1}}), kopf.Patch()
    kept.store(body=body, patch=patch, essence=kept.build(body=body))
    assert not patch
    assert kept.build(body=body) == kept.fetch(body=body), "no spec differs from the last one: kopf has nothing to do"


def started_with(*arguments: str) -> tuple[str, ...]:
    """What `served` says under kopf's own command line."""
    run: click.Command = kopf.cli.main.commands["run"]
    with run.make_context("run", ["--standalone", *arguments]):
        return main.served()


def test_the_namespaces_are_those_of_kopf_s_command_line() -> None:
    assert started_with("-n", "academy", "--namespace", "academy-2") == ("academy", "academy-2")


@pytest.mark.parametrize("arguments", [(), ("-A",), ("-n", "academy-*"), ("-n", "a,b"), ("-n", "")])
def test_namespaces_are_named_one_by_one(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SettingsFault, match="--namespace"):
        started_with(*arguments)


def test_without_a_command_line_nothing_is_served() -> None:
    with pytest.raises(SettingsFault):
        main.served()


def event(kind: str | None, world: World, uid: str) -> Any:
    return {"type": kind, "object": world.cluster.bodies[uid]}


def test_what_the_listing_showed_is_no_news() -> None:
    world = World()
    uid = world.queue("video")
    memo: Any = SimpleNamespace(running=SimpleNamespace(reconciler=world.reconciler))
    news: Any = main._is_news
    assert not news(event=event(None, world, uid), uid=uid, memo=memo)
    assert news(event=event("DELETED", world, uid), uid=uid, memo=memo)
    world.cluster.bodies[uid]["metadata"]["resourceVersion"] = "77"
    assert news(event=event("MODIFIED", world, uid), uid=uid, memo=memo)


@dataclasses.dataclass
class Woken:
    """Stands for the sweep."""

    times: int = 0
    listed: threading.Event = dataclasses.field(default_factory=threading.Event)

    def wake(self) -> None:
        self.times += 1


def test_the_watch_tells_of_new_changed_and_gone_resources() -> None:
    world = World()
    body = body_of("Queue", "queues", "video", {})
    uid = body["metadata"]["uid"]
    sweep = Woken()
    memo: Any = SimpleNamespace(running=SimpleNamespace(reconciler=world.reconciler, sweep=sweep))
    seen: Any = main.seen

    def tell(kind: str) -> int:
        event = {"type": kind, "object": body}
        asyncio.run(seen(event=event, uid=uid, resource=SimpleNamespace(plural="queues"), memo=memo))
        return sweep.times

    assert tell("ADDED") == 1
    body = {**body, "metadata": {**body["metadata"], "resourceVersion": "2", "labels": {"a": "b"}}}
    assert tell("MODIFIED") == 1, "nothing that a pass is for"
    body = {**body, "metadata": {**body["metadata"], "resourceVersion": "3", "generation": 2}}
    assert tell("MODIFIED") == 2
    tell("DELETED")
    assert world.reconciler.tracks() == []


def test_a_deletion_waits_until_everything_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before that, an older resource for the same queue may not be known."""
    monkeypatch.setattr(main, "LISTED_SECONDS", 0.01)
    world = World()
    uid = world.queue("video", deletionPolicy="Delete")
    world.reconciler.reconcile(uid)
    world.mark_deleted(uid)
    sweep = Woken()
    with ThreadPoolExecutor(1) as pool:
        running = SimpleNamespace(reconciler=world.reconciler, sweep=sweep, pool=pool)
        deleted: Any = main.deleted
        with pytest.raises(kopf.TemporaryError):
            asyncio.run(deleted(uid=uid, memo=SimpleNamespace(running=running)))
        assert "video" in world.queues.queues
        sweep.listed.set()
        asyncio.run(deleted(uid=uid, memo=SimpleNamespace(running=running)))
    assert world.queues.queues == {}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, False),
        ({"deletionPolicy": "Retain"}, False),
        ({"deletionPolicy": "Delete"}, True),
        ({"deletionPolicy": "Delete", "paused": True}, False),
        ({"deletionPolicy": "Delete", "adoption": "Observe"}, False),
        ({"deletionPolicy": "Delete", "adoption": "Adopt"}, True),
    ],
)
def test_a_finalizer_only_where_deleting_deletes(spec: dict[str, Any], *, expected: bool) -> None:
    assert cleans_up(spec) is expected
