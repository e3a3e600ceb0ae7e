"""An install starts no worker, and nobody but KEDA changes their number (docs/adr/0145): what sees to it, and why."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts_support import Manifest, render, stage
from cluster import binaries, helm
from conftest import Kubectl, installing
from support import wait_until

WORKERS = ("academy-video-worker", "academy-ai-worker-cpu", "academy-ai-worker-gpu")
REFUSED = "a worker starts with no pod until KEDA sees work for it"
NOT_THERE = "no params found"
"""No ScaledObject, in the words of the apiserver."""
IN_FORCE_SECONDS = 60
SCALED = "scaledobjects.keda.sh"


def first(worker: str, replicas: int = 1, revision: str = "1") -> Manifest:
    """The ReplicaSet that the Deployment's controller makes."""
    template = stage(1).get("Deployment", worker)["spec"]["template"]
    annotations = {"deployment.kubernetes.io/revision": revision}
    labels = template["metadata"]["labels"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": f"{worker}-{secrets.token_hex(3)}", "labels": labels, "annotations": annotations},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


class Cluster:
    """A kube-apiserver with KEDA's kinds and the policy."""

    def __init__(self, admin: Kubectl) -> None:
        self.admin = admin

    def make(self, replica_set: Manifest) -> str:
        """What the apiserver says against it; nothing when it takes it."""
        return self.admin.try_("create", "--dry-run=server", "-f", "-", given=replica_set).stderr

    def scaled(self, worker: str, active: str | None = None, **spec: Any) -> None:
        """The worker's ScaledObject, and what KEDA has written into its status."""
        made = stage(1).get("ScaledObject", worker)
        self.admin.apply({**made, "spec": {**made["spec"], **spec}})
        if active is not None:
            conditions = [{"type": "Ready", "status": "True"}, {"type": "Active", "status": active}]
            patch = json.dumps({"status": {"conditions": conditions}})
            self.admin.run("patch", SCALED, worker, "--subresource=status", "--type=merge", "-p", patch)


@pytest.fixture(scope="module")
def cluster(admin: Kubectl) -> Iterator[Cluster]:
    path = binaries.keda_manifests() / "crd" / "bases" / f"keda.sh_{SCALED.partition('.')[0]}.yaml"
    admin.apply(yaml.safe_load(path.read_text(encoding="utf-8")))
    wait_until(lambda: admin.try_("get", SCALED).returncode == 0, IN_FORCE_SECONDS, "KEDA's kind is served")
    operator = render("values-dev.yaml", chart="academy-operator", name="academy-operator")
    policies = [found for found in operator.all if found["kind"].startswith("ValidatingAdmissionPolicy")]
    admin.apply(*policies)
    found = Cluster(admin)
    for worker in WORKERS:
        becomes(found, first(worker), says=NOT_THERE)
    yield found
    admin.run("delete", SCALED, "--all")
    for policy in policies:
        admin.run("delete", policy["kind"], policy["metadata"]["name"])


@pytest.fixture(params=WORKERS)
def worker(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    """A worker without a ScaledObject."""
    cluster.admin.run("delete", SCALED, "--all")
    return str(request.param)


def becomes(cluster: Cluster, replica_set: Manifest, says: str = "") -> None:
    """What the apiserver says, which reads ScaledObjects by a watch, a moment later; nothing when it takes it."""

    def said() -> bool:
        against = cluster.make(replica_set)
        return says in against if says else not against

    wait_until(said, IN_FORCE_SECONDS, f"the apiserver says {says or 'yes'}")


def test_no_pod_before_keda_has_spoken(cluster: Cluster, worker: str) -> None:
    becomes(cluster, first(worker), says=NOT_THERE)
    cluster.scaled(worker)
    becomes(cluster, first(worker), says=REFUSED)
    for active in ("False", "Unknown"):
        cluster.scaled(worker, active=active)
        becomes(cluster, first(worker), says=REFUSED)


def test_another_workers_work_is_not_its_own(cluster: Cluster, worker: str) -> None:
    for other in set(WORKERS) - {worker}:
        cluster.scaled(other, active="True")
        becomes(cluster, first(other))
    becomes(cluster, first(worker), says=NOT_THERE)


def test_work_that_waits_starts_the_first_pod(cluster: Cluster, worker: str) -> None:
    cluster.scaled(worker, active="True")
    becomes(cluster, first(worker))


def test_who_wants_a_pod_always_gets_it(cluster: Cluster, worker: str) -> None:
    cluster.scaled(worker, minReplicaCount=1)
    becomes(cluster, first(worker))


def test_an_empty_first_one_and_every_later_one_are_taken(cluster: Cluster, worker: str) -> None:
    """Rollouts go past the policy as long as there is a ScaledObject, whatever becomes of KEDA."""
    cluster.scaled(worker, active="Unknown")
    becomes(cluster, first(worker), says=REFUSED)
    assert cluster.make(first(worker, replicas=0)) == ""
    assert cluster.make(first(worker, replicas=30, revision="2")) == ""


@pytest.fixture
def small(admin: Kubectl, tmp_path: Path) -> Iterator[helm.Helm]:
    """helm, with a chart of one Deployment at `chart` in the folder."""
    with installing(admin, tmp_path, "small", SMALL) as found:
        yield found


SMALL = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: small}
spec:
  {{- with .Values.replicas }}
  replicas: {{ . }}
  {{- end }}
  selector: {matchLabels: {app: small}}
  template:
    metadata: {labels: {app: small}}
    spec: {containers: [{name: c, image: i}]}
"""


@pytest.mark.parametrize("server_side", ["true", "false"])
def test_a_count_that_leaves_the_template_falls_back_to_one(
    admin: Kubectl, small: helm.Helm, tmp_path: Path, server_side: str
) -> None:
    """Why the charts state none at install either: the first upgrade would take it back, whichever way helm applies."""
    chart = str(tmp_path / "chart")
    small("install", "small", chart, f"--server-side={server_side}", "--set-json", "replicas=3")
    assert admin.replicas("small") == 3
    small("upgrade", "small", chart, f"--server-side={server_side}", "--set-json", "replicas=null")
    assert admin.replicas("small") == 1


def test_a_count_in_the_template_is_in_the_way_of_keda(admin: Kubectl, small: helm.Helm, tmp_path: Path) -> None:
    """Why it cannot stay there: applied by the client it undoes KEDA's, applied by the server it ends the upgrade."""
    chart = str(tmp_path / "chart")
    small("install", "small", chart, "--server-side=false", "--set-json", "replicas=3")
    admin.run("scale", "deployment", "small", "--replicas=7")
    small("upgrade", "small", chart, "--server-side=false", "--set-json", "replicas=3")
    assert admin.replicas("small") == 3
    small("uninstall", "small")
    small("install", "small", chart, "--server-side=true", "--set-json", "replicas=3")
    admin.run("scale", "deployment", "small", "--replicas=7")
    with pytest.raises(helm.Failed, match="conflict"):
        small("upgrade", "small", chart, "--server-side=true", "--set-json", "replicas=3")
    with pytest.raises(helm.Failed, match="conflict"):
        small("rollback", "small", "1")


def test_a_count_that_was_never_there_is_never_touched(admin: Kubectl, small: helm.Helm, tmp_path: Path) -> None:
    """What the charts do: upgrades and rollbacks leave what KEDA wants."""
    chart = str(tmp_path / "chart")
    small("install", "small", chart)
    for wanted in (0, 7):
        admin.run("scale", "deployment", "small", f"--replicas={wanted}")
        small("upgrade", "small", chart, "--set", f"else={wanted}")
        assert admin.replicas("small") == wanted
    small("rollback", "small", "1")
    assert admin.replicas("small") == 7
