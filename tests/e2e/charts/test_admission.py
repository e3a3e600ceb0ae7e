"""A real kube-apiserver takes what the charts render; a worker's token patches its own pod's cost and nothing else."""

import json
import secrets
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from charts_support import RENDERINGS, Manifest, render, rendering
from conftest import CALL_SECONDS, Kubectl
from support import wait_until

from academy_core import deletion_cost
from academy_core.deletion_cost import ANNOTATION, BUSY

BUILT_IN = ("v1", "apps/", "batch/", "networking.k8s.io/", "policy/", "rbac.", "scheduling.", "admissionregistration.")
ACCESS = (
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "PriorityClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)
WORKER = "academy-video-worker"
PODS = "/api/v1/namespaces/academy/pods"
ONLY_ITS_OWN = "a worker may patch only its own pod"


def known(manifest: Manifest) -> bool:
    return manifest["apiVersion"].startswith((*BUILT_IN, "academy.hakwonplus.com/"))


@pytest.fixture(scope="session")
def accounts(admin: Kubectl) -> None:
    """Everybody's accounts, rights and the policy."""
    release = rendering("stage-3")
    admin.apply(*(manifest for manifest in release.all if manifest["kind"] in ACCESS))
    operator = render("values-dev.yaml", chart="academy-operator", name="academy-operator")
    backends = render(chart="academy-dev", name="academy-dev")
    admin.apply(*(found for made in (operator, backends) for found in made.of("ServiceAccount").values()))
    # Pods of a chart without accounts run as `default`, which no controller makes here.
    admin.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}})


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize("name", RENDERINGS)
def test_the_apiserver_takes_every_manifest(admin: Kubectl, name: str) -> None:
    """Strictly: unknown fields, CEL rules of our CRDs, types of admission policies and all."""
    admin.apply(*filter(known, rendering(name).all), dry=True)


@pytest.mark.usefixtures("accounts")
def test_the_apiserver_takes_the_other_charts(admin: Kubectl) -> None:
    for chart, files in (("academy-operator", ["values-dev.yaml"]), ("academy-dev", [])):
        release = render(*files, chart=chart, name=chart)
        admin.apply(*(manifest for manifest in release.all if manifest["kind"] != "CustomResourceDefinition"), dry=True)


@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize("name", ["stage-3", "operator", "backends"])
def test_every_pod_passes_pod_security_restricted(admin: Kubectl, name: str) -> None:
    release = {
        "operator": lambda: render("values-dev.yaml", chart="academy-operator", name="academy-operator"),
        "backends": lambda: render(chart="academy-dev", name="academy-dev"),
    }.get(name, lambda: rendering(name))()
    pods = list(release.pods())
    assert pods
    for owner, template in pods:
        if owner == "academy-dev-postgres":
            template["spec"]["volumes"] = [*template["spec"]["volumes"], {"name": "data", "emptyDir": {}}]
        admin.pod(f"{owner}-{secrets.token_hex(3)}", template)


def test_the_namespace_does_refuse_what_is_not_restricted(admin: Kubectl) -> None:
    spec = {"hostNetwork": True, "containers": [{"name": "c", "image": "i"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "privileged"}, "spec": spec}
    done = admin.try_("create", "-f", "-", given=pod)
    assert 'violates PodSecurity "restricted' in done.stderr


@dataclass(frozen=True)
class Worker:
    """What a worker's pod has: the token that the kubelet mounts, and its name."""

    api: httpx.Client
    pod: str
    other: str

    def patch(self, pod: str, change: Any, kind: str = "merge") -> httpx.Response:
        return self.api.patch(f"{PODS}/{pod}", json=change, headers={"Content-Type": f"application/{kind}-patch+json"})


def client(admin: Kubectl, *bound: str) -> httpx.Client:
    """Speaks with a fresh token of the worker's account."""
    token = admin.run("create", "token", WORKER, *bound).strip()
    trusted = ssl.create_default_context(cafile=admin.server.certificate)
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=admin.server.url, verify=trusted, headers=headers, timeout=CALL_SECONDS)


@pytest.fixture(scope="module")
def worker(admin: Kubectl, accounts: None) -> Iterator[Worker]:
    """A worker with its pod, beside another one's."""
    del accounts
    template = rendering("stage-3").get("Deployment", WORKER)["spec"]["template"]
    mine, other = (admin.pod(f"{WORKER}-{secrets.token_hex(3)}", template)["metadata"] for _ in range(2))
    bound = (
        "--bound-object-kind=Pod",
        f"--bound-object-name={mine['name']}",
        f"--bound-object-uid={mine['uid']}",
    )
    with client(admin, *bound) as api:
        found = Worker(api, mine["name"], other["name"])
        # The apiserver reads a new policy within a second or so.
        # An error alone may be of the rights, which come by another way.
        wait_until(lambda: ONLY_ITS_OWN in found.patch(other["name"], cost("1")).text, 30, "the policy is not in force")
        yield found


def cost(value: str | None) -> Manifest:
    return {"metadata": {"annotations": {ANNOTATION: value}}}


def test_the_workers_own_code_sets_its_pods_cost(
    admin: Kubectl, worker: Worker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(worker.api.headers["Authorization"].removeprefix("Bearer "))
    (tmp_path / "namespace").write_text("academy")
    (tmp_path / "ca.crt").write_text(Path(admin.server.certificate).read_text())
    address = httpx.URL(admin.server.url)
    monkeypatch.setattr(deletion_cost, "ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", address.host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(address.port))

    def annotation() -> str | None:
        pod = json.loads(admin.run("get", "pod", worker.pod, "-o", "json"))
        return str(pod["metadata"]["annotations"].get(ANNOTATION))

    with deletion_cost.reported(worker.pod) as activity:
        activity(True)
        wait_until(lambda: annotation() == BUSY, 30, "busy was not told")


def test_its_own_cost_can_be_set_changed_and_taken_away(worker: Worker) -> None:
    for value in ("1", "2", None, BUSY):
        done = worker.patch(worker.pod, cost(value))
        assert done.is_success, done.text


def test_another_pods_cost_cannot(worker: Worker) -> None:
    done = worker.patch(worker.other, cost(BUSY))
    assert done.status_code == httpx.codes.FORBIDDEN
    assert ONLY_ITS_OWN in done.text


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("strategic-merge", {"spec": {"containers": [{"name": "worker", "image": "evil:1"}]}}),
        ("merge", {"spec": {"activeDeadlineSeconds": 1}}),
        ("merge", {"metadata": {"labels": {"app.kubernetes.io/component": "api"}}}),
        ("merge", {"metadata": {"labels": {"app.kubernetes.io/component": None}}}),
        ("merge", {"metadata": {"labels": None}}),
        ("merge", {"metadata": {"annotations": {"another": "x"}}}),
        ("merge", {"metadata": {"annotations": {"checksum/settings": None}}}),
        ("merge", {"metadata": {"annotations": {"checksum/settings": "0"}}}),
        ("merge", {"metadata": {"finalizers": ["academy.example/keep"]}}),
        ("merge", {"metadata": {"annotations": {ANNOTATION: BUSY, "another": "x"}}}),
    ],
    ids=str,
)
def test_nothing_else_of_its_own_pod_can(worker: Worker, kind: str, change: Manifest) -> None:
    done = worker.patch(worker.pod, change, kind)
    assert done.status_code == httpx.codes.FORBIDDEN, done.text
    assert "a worker may change only its pod's controller.kubernetes.io/pod-deletion-cost" in done.text


def test_it_has_no_other_right(worker: Worker) -> None:
    merge = {"Content-Type": "application/merge-patch+json"}
    asked = [
        worker.api.get(PODS),
        worker.api.get(f"{PODS}/{worker.pod}"),
        worker.api.delete(f"{PODS}/{worker.pod}"),
        worker.api.get("/api/v1/namespaces/academy/secrets"),
        worker.api.patch(f"{PODS}/{worker.pod}/status", json={}, headers=merge),
        worker.api.patch(
            f"{PODS}/{worker.pod}/ephemeralcontainers",
            json={},
            headers={"Content-Type": "application/merge-patch+json"},
        ),
        worker.api.post(f"/api/v1/namespaces/academy/serviceaccounts/{WORKER}/token", json={}),
    ]
    assert [answer.status_code for answer in asked] == [httpx.codes.FORBIDDEN] * len(asked)


def test_a_token_without_a_pod_can_patch_none(admin: Kubectl, worker: Worker) -> None:
    with client(admin) as api:
        done = Worker(api, worker.pod, worker.other).patch(worker.pod, cost(BUSY))
    assert done.status_code == httpx.codes.FORBIDDEN
    assert ONLY_ITS_OWN in done.text
