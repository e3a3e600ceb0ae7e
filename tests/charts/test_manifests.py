"""Every preset and every switch renders what Kubernetes, KEDA and our CRDs accept; the same values render the same."""

import json

import kubernetes_schemas
import pytest
from charts_support import RENDERINGS, STAGES, Manifest, Refused, render, rendering

OLDEST, NEWEST = "1.34", "1.36"
"""Of EKS's standard support; docs/services/charts.md has the table."""


def distinct() -> list[Manifest]:
    """Every manifest of every rendering, each once."""
    return list({json.dumps(manifest): manifest for name in RENDERINGS for manifest in rendering(name).all}.values())


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_keda_and_our_crds_accept_every_manifest(version: str) -> None:
    try:
        found = [fault for manifest in distinct() for fault in kubernetes_schemas.faults(manifest, version)]
    except kubernetes_schemas.NoKeda as why:
        pytest.skip(str(why))
    assert found == []


@pytest.mark.parametrize("chart", ["academy-operator", "academy-dev"])
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_other_charts_too(chart: str, version: str) -> None:
    files = ["values-dev.yaml"] if chart == "academy-operator" else []
    release = render(*files, chart=chart, name=chart)
    assert [fault for manifest in release.all for fault in kubernetes_schemas.faults(manifest, version)] == []


def test_a_wrong_field_is_found_in_each_source_of_schemas() -> None:
    release = rendering("stage-1")
    for kind in ("Deployment", "Queue"):
        manifest = next(iter(release.of(kind).values()))
        wrong = {**manifest, "spec": {**manifest["spec"], "replicaz": 1}}
        assert kubernetes_schemas.faults(wrong, NEWEST)
    scaled = next(iter(release.of("ScaledObject").values()))
    try:
        assert kubernetes_schemas.faults({**scaled, "spec": {**scaled["spec"], "replicaz": 1}}, NEWEST)
    except kubernetes_schemas.NoKeda as why:
        pytest.skip(str(why))


@pytest.mark.parametrize("name", RENDERINGS)
def test_no_two_manifests_are_the_same_thing_and_each_is_labelled(name: str) -> None:
    release = rendering(name)
    keys = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in release.all]
    assert len(keys) == len(set(keys))
    for manifest in release.all:
        labels = manifest["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "academy", manifest["metadata"]
        assert labels["app.kubernetes.io/component"], manifest["metadata"]


def test_the_same_values_twice_change_nothing() -> None:
    once, again = (render(STAGES[2], "../../tests/charts/site.yaml", options=options) for options in ((), ("--debug",)))
    assert once.text == again.text


def test_installing_and_upgrading_render_the_same() -> None:
    """Nothing depends on .Release.IsUpgrade or .Release.Revision: Argo CD knows neither."""
    fresh = rendering("stage-2")
    upgraded = render(STAGES[1], "../../tests/charts/site.yaml", options=("--is-upgrade",))
    assert fresh.text == upgraded.text


def test_two_releases_share_no_cluster_wide_name() -> None:
    cluster_wide = {"PriorityClass", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    names = [
        {manifest["metadata"]["name"] for manifest in release.all if manifest["kind"] in cluster_wide}
        for release in (rendering("dev"), render("values-dev.yaml", name="second"))
    ]
    assert names[0]
    assert not names[0] & names[1]


def test_an_older_kubernetes_is_refused() -> None:
    with pytest.raises(Refused, match="kubeVersion"):
        render("values-dev.yaml", options=("--kube-version", "1.33.0"))
