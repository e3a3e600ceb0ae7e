"""What every AI kind is made of, and how they are found: the seam between worker, command line and `kinds/`.

A kind is a folder `kinds/<kind>/` with `spec.py` (light: payload models and `KIND`; the API may import it) and
`run.py` (heavy; imported only when a task of that kind comes). Nothing else needs to know of a new kind. Work that goes
on in further tasks names their kinds in `spec.STEPS`; the folder's `run` tells them apart by the type of its input.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from academy_ai import kinds
from academy_ai.text import Reader
from academy_core.kinds import Payload, TaskKind
from academy_core.tasks import Outcome


class KindInput(Payload):
    """Base of every AI kind's input."""

    def sources(self) -> Iterable[str]:
        """Keys in the AI bucket that the task reads; whoever runs the kind has them as local files."""
        return ()

    def media(self) -> Iterable[str]:
        """The same in the video bucket. A media playlist (`.m3u8`) comes as the one file that it describes."""
        return ()

    def artefacts(self) -> Iterable[str]:
        """Names of files that earlier tasks of the same job left, to be had likewise."""
        return ()

    def with_results(self, results: Sequence[Mapping[str, Any]]) -> Self:  # noqa: ARG002 - for those that override it
        """For a `then`: this input with its children's results, in their order."""
        return self


Report = Callable[[float], None]
"""Called with the share done, 0 to 1; may raise to stop the work."""


class Run(Protocol):
    """`run` of a kind: files in, result and files out. No network, no credentials, no environment."""

    def __call__(self, task: KindInput, files: Mapping[str, Path], out: Path, report: Report) -> Payload | Outcome:
        """Do the task.

        `files`: every key of `task.sources()`, `media()` and `artefacts()` as a local file. `out`: an empty folder
        for artefacts; the result's `keys()` are paths in it, told apart from those of the job's other tasks. An
        Outcome instead of a result goes on in children and a `then`. Raises Permanent with a reason for input that
        cannot be used.
        """
        ...


Options = Mapping[str, str]
"""Settings that a kind may need, by name; no secret is among them."""


@dataclass(frozen=True, slots=True)
class AiKind:
    """A task kind with the place of its code."""

    task: TaskKind
    package: str

    def load(self, options: Options, reader: Reader | None = None) -> Run:
        """Import the kind's `run`, and with it the libraries it needs.

        `configure(options)` in it, if any, comes first, and `use(reader)` where there is a reader of print to use
        instead of the kind's own. SettingsFault when the options do not let it work.
        """
        module = importlib.import_module(f"{self.package}.run")
        if reader is not None and hasattr(module, "use"):
            module.use(reader)
        if hasattr(module, "configure"):
            module.configure(options)
        run: Run = module.run
        return run


def kinds_of(package: str) -> list[AiKind]:
    """The kinds of one folder: `KIND`, then `STEPS`."""
    spec = importlib.import_module(f"{package}.spec")
    return [AiKind(task, package) for task in (spec.KIND, *getattr(spec, "STEPS", ()))]


def discover() -> dict[str, AiKind]:
    """Every kind by name."""
    packages = [f"{kinds.__name__}.{module.name}" for module in pkgutil.iter_modules(kinds.__path__)]
    found = {kind.task.name: kind for package in packages for kind in kinds_of(package)}
    return dict(sorted(found.items()))
