"""The operator as a process, as it runs in a cluster: a real kube-apiserver under its RBAC, moto for SQS and S3."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import httpx
import pytest
import yaml
from cluster import apiserver, s3_server
from kubernetes import client, config
from moto.server import ThreadedMotoServer
from operator_support import crd

from academy_local import ports
from academy_operator.model import GROUP, VERSION
from academy_operator.providers import aws, r2

ROOT = Path(__file__).parents[3]
WAIT_SECONDS = 60.0
KINDS = {"queues": "Queue", "buckets": "Bucket"}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def eventually(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    """Await a condition; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} within {seconds:g} s"
        time.sleep(0.1)
    return value


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
        role, binding = yaml.safe_load_all((ROOT / "operator" / "deploy" / "rbac.yaml").read_text(encoding="utf-8"))
        try:
            rbac.create_cluster_role(role)
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
        created: dict[str, Any] = self.custom.create_namespaced_custom_object(GROUP, VERSION, namespace, plural, body)
        return created

    def get(self, namespace: str, plural: str, name: str) -> dict[str, Any] | None:
        """Read one, None when there is none."""
        try:
            found: dict[str, Any] = self.custom.get_namespaced_custom_object(GROUP, VERSION, namespace, plural, name)
        except client.ApiException as error:
            if error.status == 404:
                return None
            raise
        return found

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
        lines = self.api.call_api(
            "/metrics", "GET", response_type="str", auth_settings=["BearerToken"], _return_http_data_only=True
        )
        total = 0.0
        for line in str(lines).splitlines():
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
    process: "subprocess.Popen[bytes] | None" = None
    port: int = 0

    def start(self, *, ready: bool = True) -> None:
        """Start it; wait until its probe answers."""
        (self.port,) = ports.free(1)
        command = [sys.executable, "-m", "kopf", "run", "-m", "academy_operator", "--standalone"]
        command += ["--namespace", self.namespace, f"--liveness=http://127.0.0.1:{self.port}/healthz"]
        environment = {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(self.kubeconfig),
            "OPERATOR_CLUSTER_ID": "e2e",
            "OPERATOR_METRICS_PORT": "0",
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

    def healthy(self) -> bool:
        """Whether the probe answers."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

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


@pytest.fixture(scope="session")
def server() -> apiserver.ApiServer:
    """A kube-apiserver of this test process: a test may take CRDs away."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    folder = Path(os.environ["ACADEMY_TEST_FOLDER"]) / f"apiserver-{worker}"
    try:
        return apiserver.ensure(folder, int(os.environ["ACADEMY_TEST_RUN_PID"]))
    except apiserver.Unavailable as lacking:
        pytest.skip(str(lacking))


@pytest.fixture(scope="session")
def kubeconfigs(server: apiserver.ApiServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A kubeconfig of the administrator and of the operator."""
    folder = tmp_path_factory.mktemp("kubeconfig")
    return {
        "admin": server.kubeconfig(folder, apiserver.ADMIN_TOKEN, "admin"),
        "operator": server.kubeconfig(folder, apiserver.OPERATOR_TOKEN, "operator"),
    }


@pytest.fixture(scope="session")
def kube(kubeconfigs: dict[str, Path]) -> Kube:
    """The cluster, with the operator's CRDs."""
    api: client.ApiClient = config.new_client_from_config(str(kubeconfigs["admin"]))  # type: ignore[no-untyped-call]
    found = Kube(api)
    for kind in ("queue", "bucket"):
        found.apply_crd(crd(kind))
    return found


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """SQS and CloudWatch in memory."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture(scope="session")
def r2_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """SeaweedFS in the part of R2."""
    with s3_server.running(tmp_path_factory.mktemp("seaweedfs")) as address:
        yield address


@pytest.fixture(scope="session")
def buckets(r2_endpoint: str) -> r2.R2Buckets:
    """R2, as somebody else sees it."""
    return r2.connect(r2_endpoint, aws.Keys(s3_server.KEY, s3_server.KEY))


@pytest.fixture(scope="session")
def sqs(endpoint: str) -> Any:
    """SQS, as somebody else sees it."""
    return boto3.client(
        "sqs", endpoint_url=endpoint, region_name="ap-northeast-2", aws_access_key_id="t", aws_secret_access_key="t"
    )


@pytest.fixture
def namespace(kube: Kube) -> str:
    """A fresh namespace."""
    return kube.namespace()


@pytest.fixture
def make_operator(
    kubeconfigs: dict[str, Path], endpoint: str, r2_endpoint: str, tmp_path: Path
) -> Iterator[Callable[..., Operator]]:
    """Make operators that are stopped when the test ends."""
    made: list[Operator] = []

    def make(namespace: str, **environment: str) -> Operator:
        log = tmp_path / "operator.log"
        operator = Operator(kubeconfigs["operator"], namespace, endpoint, r2_endpoint, log, environment)
        made.append(operator)
        return operator

    yield make
    for operator in made:
        operator.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def shared_namespace(kube: Kube) -> str:
    """The namespace of the module's operator."""
    return kube.namespace()


@pytest.fixture(scope="module")
def operator(
    kubeconfigs: dict[str, Path],
    endpoint: str,
    r2_endpoint: str,
    shared_namespace: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Operator]:
    """One operator for a module's tests."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    running = Operator(kubeconfigs["operator"], shared_namespace, endpoint, r2_endpoint, log)
    running.start()
    yield running
    running.stop()
