"""Values: closed, described, documented; all that is missing in one message; an older release's still render."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import readme
import yaml
from charts_support import CHARTS, SITE, STAGES, Refused, render, stage

NAMES = ("academy", "academy-operator", "academy-dev")


def schema(chart: str) -> dict[str, Any]:
    return dict(json.loads((CHARTS / chart / "values.schema.json").read_text()))


def objects(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of an object, and where it is."""
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield path, node
        for key, value in node.items():
            yield from objects(value, f"{path}/{key}")


@pytest.mark.parametrize("chart", NAMES)
def test_every_object_is_closed_and_every_key_described(chart: str) -> None:
    found = list(objects(schema(chart)))
    assert len(found) > 5
    for path, node in found:
        if path == "/properties/global":
            continue
        free = path.endswith("/tolerations/items")  # Kubernetes' own type
        assert free or "additionalProperties" in node, path
        for key, value in node.get("properties", {}).items():
            assert value.get("description", "").endswith("."), f"{path}/{key}"


@pytest.mark.parametrize("chart", NAMES)
def test_every_default_is_in_the_schema_and_the_other_way_round(chart: str) -> None:
    values = yaml.safe_load((CHARTS / chart / "values.yaml").read_text())
    listed = {row.key for row in readme.rows(schema(chart), values)}
    defaults = {key for key, _ in readme.flat(values, set(listed))}
    assert defaults <= listed
    optional = {key for key in listed if key.startswith("aws.roles.")}
    assert listed - optional <= defaults


@pytest.mark.parametrize("chart", NAMES)
def test_readmes_are_up_to_date(chart: str) -> None:
    assert (CHARTS / chart / "README.md").read_text() == readme.text(CHARTS / chart), "run python charts/readme.py"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("apii", {}),
        ("api.replica", 1),
        ("workers.video.maxReplica", 3),
        ("api.replicas", 0),
        ("workers.video.taskLimitSeconds", 7200),
        ("site.url", "academy.example"),
        ("database.tls.mode", "prefer"),
        ("images.api.digest", "latest"),
        ("networkPolicy.vpcCidrs", ["10.0.0.0"]),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_its_name(key: str, value: object) -> None:
    with pytest.raises(Refused) as caught:
        render(STAGES[0], SITE, sets={key: value})
    assert key.rsplit(".", 1)[-1] in str(caught.value)


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(Refused) as caught:
        render()
    for key in ("site.url", "r2.endpoint", "playback.baseUrl", "database.host", "aws.accountId"):
        assert f"{key}: needed" in str(caught.value)
    for key in ("clusterCidrs", "vpcCidrs", "databaseCidrs", "apiServerCidrs"):
        assert f"networkPolicy.{key}: needed while networkPolicy.enabled" in str(caught.value)


def test_presets_are_the_spec_s_stages() -> None:
    """S-24: API 1, 2, 4 to 8; workers up to 1, 2, 4; PgBouncer; S-12: gunicorn 4 x 1000, 8 x 2000 at the top."""
    first, second, third = (stage(number) for number in (1, 2, 3))
    assert first.get("Deployment", "academy-api")["spec"]["replicas"] == 1
    assert second.get("Deployment", "academy-api")["spec"]["replicas"] == 2
    scaled = third.get("ScaledObject", "academy-api")["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (4, 8)
    for release, most, workers, connections in (
        (first, 1, "4", "1000"),
        (second, 2, "4", "1000"),
        (third, 4, "8", "2000"),
    ):
        for worker in ("academy-video-worker", "academy-ai-worker-cpu"):
            assert release.get("ScaledObject", worker)["spec"]["maxReplicaCount"] == most
        settings = release.get("ConfigMap", "academy-api")["data"]
        assert (settings["GUNICORN_WORKERS"], settings["GUNICORN_WORKER_CONNECTIONS"]) == (workers, connections)
        assert "academy-pgbouncer" in release.of("Deployment")
        assert release.of("Ingress")


LOWERED: dict[tuple[str, str], dict[str, int]] = {
    ("0.1.0", "stage-2"): {"pgbouncer.poolSize": 30},
    ("0.1.0", "stage-3"): {"pgbouncer.poolSize": 75, "pgbouncer.reservePoolSize": 15},
}
"""What an upgrade has to state anew: 0.1.0 counted no PgBouncer that drains, so a rollout took more than there are."""


@pytest.mark.parametrize("version", sorted(folder.name for folder in (SITE.parent / "released").iterdir()))
def test_values_of_an_earlier_release_still_render(version: str) -> None:
    """An upgrade brings the values along. A key that goes must fail with its new name: say so in _checks.tpl."""
    for file in sorted((SITE.parent / "released" / version).glob("*.yaml")):
        lowered = LOWERED.get((version, file.stem), {})
        if lowered:
            with pytest.raises(Refused, match=r"database\.maxConnections: \(2 pgbouncer \+ 2 draining\)"):
                render(file)
        assert render(file, sets=lowered).all, file.name


def test_secrets_are_existing_ones_or_external_secrets_under_the_same_names() -> None:
    assert stage(1).of("Secret") == stage(1).of("ExternalSecret") == {}
    release = render(
        STAGES[0],
        SITE,
        sets={
            "secrets.externalSecrets.enabled": True,
            "secrets.externalSecrets.storeName": "aws",
            "secrets.externalSecrets.prefix": "academy/",
            "secrets.externalSecrets.except": ["bootstrap"],
        },
    )
    made = release.of("ExternalSecret")
    read = set()
    for _, container in release.containers():
        read |= {source["secretRef"]["name"] for source in container.get("envFrom", ()) if "secretRef" in source}
    assert read <= made.keys()
    assert "academy-bootstrap" not in made
    for name, manifest in made.items():
        assert manifest["spec"]["target"]["name"] == name
        assert manifest["spec"]["dataFrom"] == [{"extract": {"key": f"academy/{name}"}}]


def test_roles_are_annotations_with_irsa_and_nothing_with_pod_identity() -> None:
    annotated = stage(1).get("ServiceAccount", "academy-api")["metadata"]["annotations"]
    assert annotated == {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/academy-api"}
    assert "annotations" not in stage(1).get("ServiceAccount", "academy-pgbouncer")["metadata"]
    without = render("values-dev.yaml").get("ServiceAccount", "academy-api")["metadata"]
    assert "annotations" not in without
