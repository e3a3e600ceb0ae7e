"""What `academy status` shows: processes, queues and lectures under way, read anew each time."""

import time
from types import TracebackType
from typing import Self

import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from rich import console, progress_bar, table, text

from academy_local import client, environment, home
from academy_local.servers import sqs

COLOURS = {"up": "green", "starting": "yellow", "waiting": "red", "stopped": "red"}
UNKNOWN = "?"
"""What could not be read: unknown is not zero."""


class Reader:
    """Reads one running platform."""

    def __init__(self, place: home.Home) -> None:
        self._place = place
        identity = place.identity()
        self._api = client.Client(environment.url(identity.addresses.api))
        self._password = identity.secrets.director
        self._signed_in = False
        self._sqs = sqs.Sqs(identity.addresses.sqs).client(
            Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1})
        )

    def __enter__(self) -> Self:
        """Use it as a context manager: the connections are closed at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.close()

    def render(self) -> console.Group:
        """Everything, as it is now."""
        return console.Group(self._processes(), self._queues(), self._lectures())

    def _processes(self) -> table.Table:
        grid = table.Table("Process", "State", "PID", "Up", "Restarts", title_justify="left")
        state = self._place.state()
        for name, seen in (state.processes if state else {}).items():
            up = f"{time.time() - seen.started_at:.0f} s" if seen.started_at else "-"
            colour = COLOURS.get(seen.state, "")
            grid.add_row(name, text.Text(seen.state, colour), str(seen.pid or "-"), up, str(seen.restarts))
        return grid

    def _queues(self) -> table.Table:
        grid = table.Table("Queue", "Waiting", "In flight", "Dead letters")
        for name in environment.QUEUES:
            waiting, in_flight = self._depth(name)
            dead, _ = self._depth(f"{name}-dlq")
            grid.add_row(name, waiting, in_flight, dead)
        return grid

    def _depth(self, queue: str) -> tuple[str, str]:
        try:
            url = self._sqs.get_queue_url(QueueName=queue)["QueueUrl"]
            found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        except (BotoCoreError, ClientError):
            return UNKNOWN, UNKNOWN
        counts = {str(name): count for name, count in found.items()}
        waiting, in_flight = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
        return counts.get(waiting, UNKNOWN), counts.get(in_flight, UNKNOWN)

    def _lectures(self) -> console.RenderableType:
        try:
            if not self._signed_in:
                self._api.sign_in(home.DIRECTOR_EMAIL, self._password)
                self._signed_in = True
            under_way = self._api.under_way()
        except (client.Refused, httpx.TransportError):
            return text.Text("Lectures: the API does not answer.", "red")
        grid = table.Table("Lecture", "State", "Playable", "Encoded")
        for title, step in under_way:
            bar = progress_bar.ProgressBar(total=100, completed=step.percent or 0, width=30)
            grid.add_row(title, step.state, f"{step.playable_seconds:.0f} s", bar)
        return grid if under_way else text.Text("No lecture is being encoded.")
