"""The CustomResourceDefinitions: structural, described, bounded. CEL needs a real API server: see tests/integration."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from operator_support import crd, schema_of

from academy_operator import main

KINDS = sorted(path.parent.name for path in Path(main.__file__).parent.glob("resources/*/crd.yaml"))
FORBIDDEN = ("$ref", "definitions", "deprecated", "discriminator", "readOnly", "writeOnly", "xml", "uniqueItems")
SHORT_NAMES = {"queue": "acq", "bucket": "acb"}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}.*")


def spec_nodes(kind: str) -> list[tuple[str, dict[str, Any]]]:
    return list(nodes(schema_of(kind)["properties"]["spec"], "spec"))


def test_every_kind_that_is_watched_has_a_folder() -> None:
    assert {crd(kind)["spec"]["names"]["plural"]: crd(kind)["spec"]["names"]["kind"] for kind in KINDS} == main.KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_names(kind: str) -> None:
    definition = crd(kind)
    names = definition["spec"]["names"]
    assert definition["metadata"]["name"] == f"{names['plural']}.academy.hakwonplus.com"
    assert definition["spec"]["group"] == "academy.hakwonplus.com"
    assert definition["spec"]["scope"] == "Namespaced"
    assert (names["shortNames"], names["categories"]) == ([SHORT_NAMES[kind]], ["academy"])
    (version,) = definition["spec"]["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
    assert version["subresources"] == {"status": {}}


@pytest.mark.parametrize("kind", KINDS)
def test_schema_is_structural_and_every_field_is_described(kind: str) -> None:
    for path, node in nodes(schema_of(kind)):
        assert node.get("type"), f"{path} has no type"
        assert node.get("description") or path == ".metadata", f"{path} has no description"
        assert not set(FORBIDDEN) & node.keys(), path
        assert not ("properties" in node and "additionalProperties" in node), path


@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_a_person_writes_is_bounded(kind: str) -> None:
    for path, node in spec_nodes(kind):
        match node["type"]:
            case "integer" if "enum" not in node:
                assert {"minimum", "maximum"} <= node.keys(), path
            case "string" if "enum" not in node:
                assert "maxLength" in node, path
            case "array":
                assert "maxItems" in node, path
            case "object" if "additionalProperties" in node:
                assert "maxProperties" in node, path


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_has_a_message(kind: str) -> None:
    rules = [rule for _, node in nodes(schema_of(kind)) for rule in node.get("x-kubernetes-validations", ())]
    assert rules
    assert all(rule["message"] for rule in rules)


@pytest.mark.parametrize("kind", KINDS)
def test_conditions_are_a_list_map_by_type(kind: str) -> None:
    conditions = schema_of(kind)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


@pytest.mark.parametrize("kind", KINDS)
def test_deleting_data_is_never_the_default(kind: str) -> None:
    spec = schema_of(kind)["properties"]["spec"]["properties"]
    assert spec["deletionPolicy"]["default"] == "Retain"
    assert spec["adoption"]["default"] == "Refuse"
    assert spec["forceDestroy"]["default"] is False


def test_queue_columns() -> None:
    columns = crd("queue")["spec"]["versions"][0]["additionalPrinterColumns"]
    shown = [column["name"] for column in columns if not column.get("priority")]
    assert shown == ["READY", "DEPTH", "INFLIGHT", "DLQ", "OLDEST", "AGE"]
