"""The implementations each contract suite runs over: the fakes, and the real clients on emulators.

moto and the embedded platform's S3 server are the integration tests' (shared by the whole run). ElasticMQ is resolved
by Maven where Java and Maven are there; where they are not, its tests are skipped with the reason.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from integration.conftest import django_db_modify_db_settings, postgres, s3, sqs  # noqa: F401 - fixtures
from pydantic import SecretStr
from support import S3Handle, SqsHandle, wait_until

from academy_core.settings import QueueSettings, StoreSettings
from academy_core.sqs import Sqs, SqsClient
from academy_core.sqs_fake import FakeSqs
from academy_core.store import ObjectStore, R2Store
from academy_core.store_fake import FakeStore
from academy_local import ports

_POM = Path(__file__).parent / "elasticmq" / "pom.xml"


@pytest.fixture(scope="session")
def elasticmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Endpoint of an ElasticMQ server of this test process."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if java is None or maven is None:
        pytest.skip("ElasticMQ needs java and mvn on the PATH")
    folder = tmp_path_factory.mktemp("elasticmq")
    classpath = folder / "classpath"
    goal = ["dependency:build-classpath", f"-Dmdep.outputFile={classpath}"]
    resolved = subprocess.run(
        [maven, "-q", "-B", "-f", str(_POM), *goal], capture_output=True, check=False, timeout=240
    )
    if resolved.returncode:
        pytest.skip("ElasticMQ could not be resolved by Maven")
    (port,) = ports.free(1)
    config = folder / "elasticmq.conf"
    config.write_text(
        'include classpath("application.conf")\n'
        f'rest-sqs {{ bind-hostname = "{ports.HOST}", bind-port = {port} }}\n'
        f'node-address {{ host = "{ports.HOST}", port = {port} }}\n'
        "rest-stats.enabled = false\n"
    )
    command = [java, "-Xmx256m", f"-Dconfig.file={config}", "-cp", classpath.read_text(), "org.elasticmq.server.Main"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        wait_until(lambda: ports.accepts(port), 60, "ElasticMQ did not start", lambda: server.poll() is None)
        yield f"http://{ports.HOST}:{port}"
    finally:
        server.send_signal(signal.SIGKILL)  # in memory: nothing to flush
        server.wait()


@pytest.fixture(params=["fake", "moto", "elasticmq"])
def sqs_under_test(request: pytest.FixtureRequest) -> Iterator[tuple[Sqs, str]]:
    """An Sqs and the name of a fresh queue in it."""
    name = f"test-{uuid4().hex}"
    if request.param == "fake":
        yield FakeSqs(name), name
        return
    handle: SqsHandle | None = request.getfixturevalue("sqs") if request.param == "moto" else None
    endpoint = handle.endpoint if handle else request.getfixturevalue("elasticmq")
    client = boto3.client("sqs", endpoint_url=endpoint, region_name="ap-northeast-2")
    url = client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "300"})["QueueUrl"]
    yield SqsClient(QueueSettings(AWS_ENDPOINT_URL_SQS=endpoint)), name
    client.delete_queue(QueueUrl=url)


def store_settings(endpoint: str, access_key: str, secret_key: str) -> StoreSettings:
    """Settings of an emulator's store, with short backoffs."""
    return StoreSettings(
        R2_ENDPOINT=endpoint,  # type: ignore[arg-type] # pydantic makes it a URL
        R2_ACCESS_KEY=access_key,
        R2_SECRET_KEY=SecretStr(secret_key),
        RETRY_MAX_ATTEMPTS=3,
        BACKOFF_BASE_SECONDS=0.01,
        BACKOFF_CAP_SECONDS=0.05,
    )


@pytest.fixture(params=["fake", "moto", "embedded"])
def store_under_test(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    """An empty bucket."""
    if request.param == "fake":
        yield FakeStore()
        return
    if request.param == "embedded":
        server: S3Handle = request.getfixturevalue("s3")
        name, client = server.new_bucket(), server.client
        settings = store_settings(server.endpoint, server.server.access_key, server.server.secret_key)
    else:
        endpoint = request.getfixturevalue("sqs").endpoint
        name = f"test-{uuid4().hex}"
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket=name)
        settings = store_settings(endpoint, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    store = R2Store(settings, name)
    yield store
    store.delete_many(info.key for info in store.list(""))
    client.delete_bucket(Bucket=name)
