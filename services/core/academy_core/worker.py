"""The composition root every worker shares: settings and handlers in, a running worker out.

A worker's `main.py` loads its settings, builds its handlers over its own clients and calls `run_worker`.
"""

from collections.abc import Callable, Mapping, Sequence

from academy_core.kinds import Queue
from academy_core.settings import WorkerSettings
from academy_core.tasks import Handler

Activity = Callable[[bool], None]
"""Called with True when the worker's first slot gets busy and with False when its last one is idle again."""


def run_worker(  # noqa: PLR0913 - all but two are keyword-only
    settings: WorkerSettings,
    handlers: Sequence[Handler],
    *,
    worker_id: str,
    weights: Mapping[Queue, int],
    slots: int = 1,
    activity: Activity | None = None,
) -> int:
    """Run until SIGTERM or SIGINT; returns the process's exit code.

    `weights` names the queues this worker polls and their share of its slots, e.g. {AI_BASIC: 3, AI_LITE: 1}.
    """
    raise NotImplementedError
