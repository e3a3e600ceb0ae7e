"""The border to kopf: it takes unknown settings in silence, so every name is held against its own dataclasses."""

import dataclasses
from typing import Any

import kopf
import pytest

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


def test_progress_and_diff_base_go_to_annotations_only() -> None:
    seen = recorded()
    assert type(seen["persistence.progress_storage"]) is kopf.AnnotationsProgressStorage
    assert type(seen["persistence.diffbase_storage"]) is kopf.AnnotationsDiffBaseStorage


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
