"""What the charts render, before a real kube-apiserver: its validation, Pod Security, RBAC and admission policies."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from charts_support import Manifest, render
from cluster import apiserver, clients, helm
from support import wait_until

CALL_SECONDS = 60
NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "academy", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
}


class Kubectl:
    """kubectl as the administrator."""

    def __init__(self, server: apiserver.ApiServer, kubeconfig: Path) -> None:
        self.server = server
        self._base = [str(clients.kubectl()), f"--kubeconfig={kubeconfig}", "--namespace=academy"]

    def try_(self, *arguments: str, given: Any = None) -> subprocess.CompletedProcess[str]:
        """Run it, whatever comes of it."""
        return subprocess.run(
            [*self._base, *arguments],
            input=json.dumps(given) if given is not None else None,
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS,
            check=False,
        )

    def run(self, *arguments: str, given: Any = None) -> str:
        """Run it; what it printed."""
        done = self.try_(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, *manifests: Manifest, dry: bool = False) -> None:
        """Server-side, as one list."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.run(
            "apply",
            "--server-side",
            *(["--dry-run=server"] if dry else []),
            "--validate=strict",
            "-f",
            "-",
            given=listed,
        )

    def pod(self, name: str, template: Manifest) -> Mapping[str, Any]:
        """Make a pod of a template, as a Deployment's controller would; the pod."""
        metadata = {**template["metadata"], "name": name, "namespace": "academy"}
        self.run("create", "-f", "-", given={"apiVersion": "v1", "kind": "Pod", **template, "metadata": metadata})
        found: dict[str, Any] = json.loads(self.run("get", "pod", name, "-o", "json"))
        return found

    def replicas(self, deployment: str) -> int:
        """How many pods the Deployment states."""
        return int(self.run("get", "deployment", deployment, "-o", "jsonpath={.spec.replicas}"))


@contextmanager
def installing(admin: Kubectl, folder: Path, name: str, template: str) -> Iterator[helm.Helm]:
    """helm, with a chart of this template at `chart` in the folder; the release is uninstalled afterwards."""
    chart = folder / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: 0.1.0\n", encoding="utf-8")
    (chart / "templates" / "all.yaml").write_text(template, encoding="utf-8")
    kubeconfig = admin.server.kubeconfig(folder, "admin-of-a-throw-away-server", "helm")
    found = helm.Helm(kubeconfig, "academy")
    yield found
    found("uninstall", name)


@pytest.fixture(scope="session")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """The administrator of a kube-apiserver of this process, with the namespace, our CRDs and the accounts in it."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    folder = Path(os.environ["ACADEMY_TEST_FOLDER"]) / f"apiserver-charts-{worker}"
    try:
        server = apiserver.ensure(folder, int(os.environ["ACADEMY_TEST_RUN_PID"]))
    except apiserver.Unavailable as lacking:
        if os.environ.get("ACADEMY_E2E") == "1":
            raise
        pytest.skip(str(lacking))
    kubeconfig = server.kubeconfig(tmp_path_factory.mktemp("kubeconfig"), apiserver.ADMIN_TOKEN, "admin")
    kubectl = Kubectl(server, kubeconfig)
    kubectl.apply(NAMESPACE)
    crds = render("values-dev.yaml", chart="academy-operator", name="academy-operator").of("CustomResourceDefinition")
    kubectl.apply(*crds.values())
    wait_until(lambda: kubectl.try_("get", "queues,buckets").returncode == 0, 30, "the CRDs are not served")
    return kubectl
