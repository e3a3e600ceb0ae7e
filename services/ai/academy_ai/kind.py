"""What every AI kind is made of, and how they are found: the seam between worker, command line and `kinds/`.

A kind is a folder `kinds/<kind>/` with `spec.py` (light: payload models and `KIND`; the API may import it) and
`run.py` (heavy; imported only when a task of that kind comes). Nothing else needs to know of a new kind.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from academy_ai import kinds
from academy_core.kinds import Payload, TaskKind


class KindInput(Payload):
    """Base of every AI kind's input."""

    def sources(self) -> Iterable[str]:
        """Keys in the AI bucket that the task reads; whoever runs the kind has them as local files."""
        return ()


Report = Callable[[float], None]
"""Called with the share done, 0 to 1; may raise to stop the work."""


class Run(Protocol):
    """`run` of a kind: files in, result and files out. No network, no credentials, no environment."""

    def __call__(self, task: KindInput, files: Mapping[str, Path], out: Path, report: Report) -> Payload:
        """Do the task.

        `files`: every key of `task.sources()` as a local file. `out`: an empty folder for artefacts; the result's
        `keys()` are paths in it. Raises Permanent with a reason for input that cannot be used.
        """
        ...


@dataclass(frozen=True, slots=True)
class AiKind:
    """A task kind with the place of its code."""

    task: TaskKind
    package: str

    def load(self) -> Run:
        """Import the kind's `run`, and with it the libraries it needs."""
        module = importlib.import_module(f"{self.package}.run")
        run: Run = module.run
        return run


def discover() -> dict[str, AiKind]:
    """Every kind by name."""
    found = {}
    for module in pkgutil.iter_modules(kinds.__path__):
        package = f"{kinds.__name__}.{module.name}"
        task: TaskKind = importlib.import_module(f"{package}.spec").KIND
        found[task.name] = AiKind(task, package)
    return dict(sorted(found.items()))
