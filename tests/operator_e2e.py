"""What the operator's end-to-end tests share: a cluster's administrator, and the operator as a process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import yaml
from cluster import apiserver
from kubernetes import client

from academy_local import ports
from academy_operator.model import GROUP, VERSION

ROOT = Path(__file__).parents[1]
WAIT_SECONDS = 120.0
"""A deletion that was refused is tried again after 30 s, whatever the machine; the rest is its pace."""
KINDS = {"queues": "Queue", "buckets": "Bucket"}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def eventually(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS, step: float = 0.1) -> Any:
    """Await a condition, looking every `step` seconds; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} within {seconds:g} s"
        time.sleep(step)
    return value


def _documents(name: str) -> list[dict[str, Any]]:
    """The manifests of operator/deploy/`name`."""
    return list(yaml.safe_load_all((ROOT / "operator" / "deploy" / name).read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Kube:
    """The cluster as its administrator sees it."""

    api: client.ApiClient

    @property
    def core(self) -> Any:
        return client.CoreV1Api(self.api)

    @property
    def custom(self) -> client.CustomObjectsApi:
        return client.CustomObjectsApi(self.api)

    def impersonating(self, user: str) -> client.ApiClient:
        """The cluster as another user."""
        api = client.ApiClient(self.api.configuration)
        api.default_headers["Impersonate-User"] = user
        return api

    def apply_crd(self, definition: dict[str, Any]) -> None:
        """Create or replace a CustomResourceDefinition; wait until it is served."""
        extensions: Any = client.ApiextensionsV1Api(self.api)
        name = definition["metadata"]["name"]
        try:
            extensions.create_custom_resource_definition(definition)
        except client.ApiException as error:
            if error.status != 409:
                raise
            extensions.patch_custom_resource_definition(name, {"spec": definition["spec"]})

        def served() -> bool:
            conditions = extensions.read_custom_resource_definition(name).status.conditions or []
            return any(one.type == "Established" and one.status == "True" for one in conditions)

        eventually(served, f"{name} is served")
        plural = definition["spec"]["names"]["plural"]
        eventually(lambda: self._lists(plural), f"{plural} can be listed")

    def _lists(self, plural: str) -> bool:
        try:
            self.custom.list_cluster_custom_object(GROUP, VERSION, plural)
        except client.ApiException:
            return False
        return True

    def namespace(self) -> str:
        """A fresh namespace that the operator may serve."""
        name = f"e2e-{uuid4().hex[:10]}"
        self.core.create_namespace({"metadata": {"name": name}})
        rbac: Any = client.RbacAuthorizationV1Api(self.api)
        role, binding = _documents("rbac.yaml")
        cluster_role, cluster_binding = _documents("rbac-cluster.yaml")
        for create, body in (
            (rbac.create_cluster_role, role),
            (rbac.create_cluster_role, cluster_role),
            (rbac.create_cluster_role_binding, cluster_binding),
        ):
            try:
                create(body)
            except client.ApiException as error:
                if error.status != 409:
                    raise
        rbac.create_namespaced_role_binding(name, binding)
        return name

    def create(self, namespace: str, plural: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Create a custom resource."""
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KINDS[plural],
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        created: Any = self.custom.create_namespaced_custom_object(GROUP, VERSION, namespace, plural, body)
        return dict(created)

    def get(self, namespace: str, plural: str, name: str) -> dict[str, Any] | None:
        """Read one, None when there is none."""
        try:
            found: Any = self.custom.get_namespaced_custom_object(GROUP, VERSION, namespace, plural, name)
        except client.ApiException as error:
            if error.status == 404:
                return None
            raise
        return dict(found)

    def patch(self, namespace: str, plural: str, name: str, spec: dict[str, Any]) -> None:
        """Change a spec."""
        self.custom.patch_namespaced_custom_object(
            GROUP, VERSION, namespace, plural, name, {"spec": spec}, _content_type="application/merge-patch+json"
        )

    def delete(self, namespace: str, plural: str, name: str) -> None:
        """Ask for its deletion."""
        self.custom.delete_namespaced_custom_object(GROUP, VERSION, namespace, plural, name)

    def status(self, namespace: str, plural: str, name: str) -> dict[str, Any]:
        """Its status, empty when there is none."""
        found = self.get(namespace, plural, name) or {}
        status: dict[str, Any] = found.get("status", {})
        return status

    def ready(self, namespace: str, plural: str) -> int:
        """How many of a namespace are Ready."""
        listed: Any = self.custom.list_namespaced_custom_object(GROUP, VERSION, namespace, plural)
        ready = {"type": "Ready", "status": "True"}
        return sum(
            any(ready.items() <= one.items() for one in item.get("status", {}).get("conditions", []))
            for item in listed["items"]
        )

    def condition(self, namespace: str, plural: str, name: str, kind: str) -> tuple[str, str]:
        """Status and reason of a condition; two empty strings when there is none."""
        for one in self.status(namespace, plural, name).get("conditions", []):
            if one["type"] == kind:
                return one["status"], one["reason"]
        return "", ""

    def await_condition(self, namespace: str, plural: str, name: str, kind: str, expected: tuple[str, str]) -> None:
        """Wait for it."""
        eventually(
            lambda: self.condition(namespace, plural, name, kind) == expected,
            f"{plural}/{name} is {kind}={expected}; it is {self.condition(namespace, plural, name, kind)}",
        )

    def await_gone(self, namespace: str, plural: str, name: str) -> None:
        """Wait until it is deleted."""
        eventually(lambda: self.get(namespace, plural, name) is None, f"{plural}/{name} is gone")

    def patches(self) -> int:
        """PATCHes of our resources and their status that the server has answered so far."""
        answer = httpx.get(
            f"{self.api.configuration.host}/metrics",
            headers={"Authorization": f"Bearer {apiserver.ADMIN_TOKEN}"},
            verify=False,  # noqa: S501  (a throw-away server on loopback)
            timeout=20,
        )
        answer.raise_for_status()
        total = 0.0
        for line in answer.text.splitlines():
            if line.startswith("apiserver_request_total{") and f'group="{GROUP}"' in line and 'verb="PATCH"' in line:
                total += float(line.rsplit(" ", 1)[1])
        return int(total)


@dataclass
class Operator:
    """`kopf run -m academy_operator`, as a process."""

    kubeconfig: Path
    namespace: str
    endpoint: str
    r2_endpoint: str
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    """More namespaces that it serves."""
    process: "subprocess.Popen[bytes] | None" = None
    port: int = 0
    metrics_port: int = 0

    def start(self, *, ready: bool = True) -> None:
        """Start it; wait until its probe answers."""
        self.port, self.metrics_port = ports.free(2)
        command = [sys.executable, "-m", "kopf", "run", "-m", "academy_operator", "--standalone"]
        command += [f"--namespace={name}" for name in (self.namespace, *self.also)]
        command += [f"--liveness=http://127.0.0.1:{self.port}/healthz"]
        environment = {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(self.kubeconfig),
            "OPERATOR_CLUSTER_ID": "e2e",
            "OPERATOR_METRICS_PORT": str(self.metrics_port),
            "OPERATOR_COUNT_SECONDS": "1",
            "OPERATOR_DRIFT_SECONDS": "3",
            "OPERATOR_RELEASE_SECONDS": "5",
            "AWS_REGION": "ap-northeast-2",
            "AWS_ENDPOINT_URL_SQS": self.endpoint,
            "AWS_ENDPOINT_URL_CLOUDWATCH": self.endpoint,
            "R2_ENDPOINT": self.r2_endpoint,
            "R2_ACCESS_KEY": "test",
            "R2_SECRET_KEY": "test",
            **CREDENTIALS,
            **self.environment,
        }
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=ROOT)
        if ready:
            eventually(self.healthy, f"the operator answers its probe; see {self.log}")

    def resume(self, queues: int) -> float:
        """Start it over so many Queues; seconds until it knows them all."""
        began = time.monotonic()
        self.start(ready=False)
        eventually(lambda: self._knows() >= queues, "all are known", step=0.02)
        return time.monotonic() - began

    def _knows(self) -> float:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
        try:
            return self.sample('academy_operator_resources{kind="Queue"}')
        except httpx.HTTPError:
            return -1.0

    def await_death(self, at_rest: Callable[[], bool]) -> bool:
        """Wait until something killed it, or kill it when it has nothing left to do; whether it was the former."""
        assert self.process is not None
        process = self.process
        eventually(lambda: process.poll() is not None or at_rest(), "it is killed, or at rest")
        died = process.poll() is not None
        process.kill()
        process.wait()
        self.process = None
        return died

    def healthy(self) -> bool:
        """Whether the probe answers."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def metrics(self) -> str:
        """What Prometheus reads."""
        return httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=20).text

    def sample(self, name: str) -> float:
        """One sample by its name and labels, 0 when it is not there yet: only counters are asked for."""
        for line in self.metrics().splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def resident_mb(self) -> float:
        """Its resident memory."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return float(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, by default in an orderly way."""
        if self.process is not None:
            self.process.send_signal(number)
            try:
                self.process.wait(30)
            finally:
                self.process.kill()
                self.process.wait()
            self.process = None
