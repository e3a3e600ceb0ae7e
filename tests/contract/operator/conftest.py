"""The emulator of the provider contracts: moto over HTTP, SQS + CloudWatch + S3 in this process."""

import logging
from collections.abc import Iterator

import pytest
from cluster import elasticmq_server, s3_server
from moto.server import ThreadedMotoServer


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """Address of a moto server of this test process."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def elasticmq_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an ElasticMQ, where Java and Maven are installed."""
    try:
        elasticmq_server.fetch()
    except elasticmq_server.Unavailable as lacking:
        pytest.skip(str(lacking))
    with elasticmq_server.running(tmp_path_factory.mktemp("elasticmq")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def seaweedfs_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a SeaweedFS."""
    with s3_server.running(tmp_path_factory.mktemp("seaweedfs")) as endpoint:
        yield endpoint
