"""charts/academy-operator: CRDs and rights are the operator's own files, also after packaging."""

import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml
from charts_support import CHARTS, HELM_SECONDS, ROOT, Refused, Release, render, stage
from cluster import clients

DEPLOY = ROOT / "operator" / "deploy"
RESOURCES = ROOT / "operator" / "academy_operator" / "resources"


def operator(**sets: object) -> Release:
    values = {key.replace("__", "."): value for key, value in sets.items()}
    return render("values-dev.yaml", chart="academy-operator", name="academy-operator", sets=values)


@pytest.mark.parametrize("kind", ["queue", "bucket"])
def test_a_crd_is_the_operators_own_and_survives_an_uninstall(kind: str) -> None:
    own = yaml.safe_load((RESOURCES / kind / "crd.yaml").read_text())
    crd = operator().get("CustomResourceDefinition", own["metadata"]["name"])
    assert crd == own
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_every_resource_kind_of_the_operator_has_its_crd_here() -> None:
    assert len(operator().of("CustomResourceDefinition")) == len(list(RESOURCES.glob("*/crd.yaml")))


def test_the_rights_are_the_operators_own_bound_in_each_namespace_it_serves() -> None:
    own = {name: next(yaml.safe_load_all((DEPLOY / f"{name}.yaml").read_text())) for name in ("rbac", "rbac-cluster")}
    release = operator(namespaces=["academy", "second"])
    rendered = {name: role["rules"] for name, role in release.of("ClusterRole").items()}
    assert rendered == {
        "academy-academy-operator": own["rbac"]["rules"],
        "academy-academy-operator-cluster": own["rbac-cluster"]["rules"],
    }
    (whole,) = release.of("ClusterRoleBinding").values()
    assert whole["roleRef"]["name"] == "academy-academy-operator-cluster"
    assert whole["subjects"] == [{"kind": "ServiceAccount", "name": "academy-operator", "namespace": "academy"}]
    bindings = [manifest for manifest in release.all if manifest["kind"] == "RoleBinding"]
    assert {binding["metadata"]["namespace"] for binding in bindings} == {"academy", "second"}
    for binding in bindings:
        assert binding["roleRef"]["name"] == "academy-academy-operator"
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "academy-operator", "namespace": "academy"}]
    arguments = release.get("Deployment", "academy-operator")["spec"]["template"]["spec"]["containers"][0]["command"]
    assert [word for word in arguments if word.startswith("--namespace=")] == [
        "--namespace=academy",
        "--namespace=second",
    ]


def test_there_is_never_a_second_operator() -> None:
    spec = operator().get("Deployment", "academy-operator")["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_a_package_renders_the_same(tmp_path: Path) -> None:
    """files/ holds links into operator/: helm puts their contents into the package."""
    command = [str(clients.helm()), "package", str(CHARTS / "academy-operator"), "--destination", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=HELM_SECONDS)
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        assert not [member.name for member in archive if member.issym() or member.islnk()]
    packaged = render(CHARTS / "academy-operator" / "values-dev.yaml", chart=str(package), name="academy-operator")
    assert packaged.text == operator().text


def test_a_cluster_without_a_name_is_refused() -> None:
    with pytest.raises(Refused, match="clusterId: needed"):
        operator(clusterId="")


def test_the_first_pods_of_the_workers_wait_for_keda() -> None:
    """Its three bindings know the workers of charts/academy by labels of ReplicaSets and ScaledObjects."""
    release, platform = operator(namespaces=["academy", "second"]), stage(1)
    (policy,) = release.of("ValidatingAdmissionPolicy").values()
    spec = policy["spec"]
    (selected,) = spec["matchConstraints"]["namespaceSelector"]["matchExpressions"]
    assert selected["values"] == ["academy", "second"]
    scaled = {
        found["metadata"]["name"]: found
        for found in platform.of("ScaledObject").values()
        if found["spec"]["minReplicaCount"] == 0
    }
    held = set()
    for binding in release.of("ValidatingAdmissionPolicyBinding").values():
        about = binding["spec"]
        assert (about["policyName"], about["validationActions"]) == (policy["metadata"]["name"], ["Deny"])
        assert about["paramRef"]["parameterNotFoundAction"] == "Deny"
        wanted = about["matchResources"]["objectSelector"]["matchLabels"].items()
        assert about["paramRef"]["selector"]["matchLabels"].items() == wanted
        (name,) = (name for name, found in scaled.items() if wanted <= found["metadata"]["labels"].items())
        assert wanted <= platform.get("Deployment", name)["spec"]["template"]["metadata"]["labels"].items()
        others = [pod for found, pod in platform.pods() if found != name]
        assert not any(wanted <= pod["metadata"]["labels"].items() for pod in others)
        held.add(name)
    assert held == set(scaled)
