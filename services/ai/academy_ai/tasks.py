"""The handlers of the AI kinds: sources from R2, the kind in a child process, artefacts to R2, the outcome.

Called by the worker loop (academy_core.consumer). This process holds the credentials and never looks into a file.
"""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from academy_ai import files
from academy_ai.host import Died, Host
from academy_ai.kind import AiKind, KindInput
from academy_core.store import ObjectStore
from academy_core.tasks import Handler, Outcome, TaskContext


@dataclass(frozen=True, slots=True)
class Tools:
    """What every handler works with."""

    ai: ObjectStore
    """`academy-ai`: sources, artefacts."""
    video: ObjectStore
    """`academy-video`: lectures, only read."""
    host: Host
    folder: Path


def handlers(tools: Tools, kinds: Iterable[AiKind]) -> list[Handler]:
    """One a kind."""
    return [_handler(tools, kind) for kind in kinds]


def _handler(tools: Tools, kind: AiKind) -> Handler:
    def run(context: TaskContext[Any]) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="task-", dir=tools.folder) as scratch:
            return _run(tools, kind, context, Path(scratch))

    return Handler(kind.task, run)


def _run(tools: Tools, kind: AiKind, context: TaskContext[KindInput], scratch: Path) -> Outcome:
    task = context.input.with_results(context.task.results or ())
    found = _fetched(tools, context, task, scratch)
    out = scratch / "out"
    out.mkdir()
    try:
        done = tools.host.run(
            kind,
            task,
            found,
            out,
            progress=lambda share: context.progress(100 * share),
            killable=context.kill_on_cancel,
        )
        result = kind.task.result.model_validate(done.result)
    except ValidationError as error:
        raise Died(f"{error.error_count()} faults in the result of {kind.task.name}") from None
    except Died:
        context.check()  # a child that was killed because the work is to stop did not crash
        raise
    files.upload(tools.ai, result.keys(), out, context.output_prefix, context.check)
    return Outcome(result, done.children, done.then)


def _fetched(tools: Tools, context: TaskContext[KindInput], task: KindInput, scratch: Path) -> dict[str, Path]:
    """Every file the task reads, by the name it has for it."""
    prefix = context.output_prefix
    wanted = (
        ("ai", tools.ai, {key: key for key in task.sources()}),
        ("video", tools.video, {key: key for key in task.media()}),
        ("job", tools.ai, {name: prefix + name for name in task.artefacts()}),
    )
    found: dict[str, Path] = {}
    for name, store, keys in wanted:
        folder = scratch / name
        folder.mkdir()
        paths = files.fetch(store, keys.values(), folder, context.check)
        found |= {named: paths[key] for named, key in keys.items()}
    return found
