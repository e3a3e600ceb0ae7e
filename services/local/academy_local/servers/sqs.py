"""The SQS emulator: moto's server, in memory. Queues are lost with it; the ledger rings again (design: bells)."""

import sys
from dataclasses import dataclass

from academy_local import ports, processes


@dataclass(frozen=True)
class Sqs:
    """SQS at http://127.0.0.1:`port`. Any credentials are accepted."""

    port: int
    name: str = "sqs"

    @property
    def endpoint(self) -> str:
        """Value for AWS_ENDPOINT_URL_SQS."""
        return f"http://{ports.HOST}:{self.port}"

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
