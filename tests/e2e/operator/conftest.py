"""The operator as it runs in a cluster: a real kube-apiserver, its RBAC, moto for SQS, SeaweedFS for R2."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from cluster import apiserver, controllers, s3_server
from kubernetes import client, config
from moto.server import ThreadedMotoServer
from operator_e2e import Kube, Operator
from operator_support import crd

from academy_operator.providers import aws, r2


@pytest.fixture(scope="session")
def server() -> apiserver.ApiServer:
    """A kube-apiserver of this test process: a test may take CRDs away."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    folder = Path(os.environ["ACADEMY_TEST_FOLDER"]) / f"apiserver-{worker}"
    try:
        return apiserver.ensure(folder, int(os.environ["ACADEMY_TEST_RUN_PID"]))
    except apiserver.Unavailable as lacking:
        if os.environ.get("ACADEMY_E2E") == "1":
            raise
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
def _controllers(kubeconfigs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Namespaces empty themselves, and what has an owner goes with it."""
    with controllers.running(kubeconfigs["admin"], tmp_path_factory.mktemp("controllers")):
        yield


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

    def make(namespace: str, *also: str, **environment: str) -> Operator:
        log = tmp_path / "operator.log"
        operator = Operator(kubeconfigs["operator"], namespace, endpoint, r2_endpoint, log, environment, also)
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
