"""The relay: the one process that does what nobody waits for. Outbox to SQS, leases, top-up, and the apps' duties.

`python -m academy_api.relay` is its composition root. This module holds only what apps need to register a duty.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

HERE = threading.Event()
"""Set in the relay's process: its one thread waits for nothing long (a duty that failed has its next turn)."""


@dataclass(frozen=True, slots=True)
class Duty:
    """Something the active relay runs again and again.

    `run` is called on the relay's only thread, with Django's default connection being the one that holds the
    relay's lock: short transactions, no network call inside one, and no call that may last longer than a few
    seconds. What it raises is logged and counted; the duty is run again at its next turn.
    """

    name: str
    every_seconds: float
    """From the start of one run to the start of the next; a run that takes longer delays its own next one."""
    run: Callable[[], None]


_duties: dict[str, Duty] = {}


def register_duty(duty: Duty) -> None:
    """Called by apps in `AppConfig.ready()`. Raises ValueError when another duty has this name."""
    if _duties.setdefault(duty.name, duty) != duty:
        raise ValueError(f"relay duty {duty.name} is registered twice, differently")


def registered_duties() -> tuple[Duty, ...]:
    """All duties of the apps, in the order of registration."""
    return tuple(_duties.values())
