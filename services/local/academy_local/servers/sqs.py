"""The SQS emulator: moto's server, in memory. Queues are lost with it; the ledger rings again (design: bells)."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from academy_local import ports, processes

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

REGION = "ap-northeast-2"


@dataclass(frozen=True)
class Sqs:
    """SQS at http://127.0.0.1:`port`. Any credentials are accepted."""

    port: int
    name: str = "sqs"

    @property
    def endpoint(self) -> str:
        """Value for AWS_ENDPOINT_URL_SQS."""
        return f"http://{ports.HOST}:{self.port}"

    def client(self, config: Config | None = None) -> "SQSClient":
        """A boto3 client of this server."""
        return boto3.client(
            "sqs",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - the emulator takes any
            config=config,
        )

    def prepare(self) -> None:
        """Nothing to prepare."""

    def command(self) -> processes.Command:
        """See Server.command."""
        argv = (sys.executable, "-m", "moto.server", "-H", ports.HOST, "-p", str(self.port))
        # In memory: there is nothing to flush, so nothing to wait for.
        return processes.Command(argv, grace_seconds=1.0)

    def ready(self) -> bool:
        """Whether it accepts connections."""
        return ports.accepts(self.port)

    def tidy(self) -> None:
        """Nothing lies outside its folder."""
