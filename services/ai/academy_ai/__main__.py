"""`academy-ai`: any kind on local files, from the command line. JSON on stdout, artefacts in a folder.

academy-ai list
academy-ai run omr.grade template=template.json sheets=a.jpg sheets=b.pdf key=evaluation.json --out graded/
academy-ai run image.quality image=photo.jpg

Fields are those of the kind's input; a value that reads as JSON is taken as JSON, a repeated field makes a list, and
files are named as they lie on disk. Exit codes: 0 done, 1 the input cannot be used (the reason is on stderr, in
Korean and English), 2 the command is wrong.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from academy_ai.kind import AiKind, KindInput, Run, discover
from academy_ai.main import vision_of
from academy_core import settings
from academy_core.errors import AcademyError
from academy_core.kinds import Payload
from academy_core.ledger import NewTask
from academy_core.tasks import Outcome


def fields(pairs: Sequence[str]) -> dict[str, Any]:
    """`name=value` pairs as a JSON object. Raises ValueError for anything else."""
    out: dict[str, Any] = {}
    repeated: set[str] = set()
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"{pair!r} is not name=value")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if name not in out:
            out[name] = value
        elif name in repeated:
            out[name].append(value)
        else:
            repeated.add(name)
            out[name] = [out[name], value]
    return out


def read_input(kind: AiKind, given: dict[str, Any]) -> KindInput:
    """The kind's input; a single value stands for a list of one. Raises ValueError naming the faults."""
    model = kind.task.input
    for name, info in model.model_fields.items():
        if name in given and not isinstance(given[name], list) and "tuple[" in str(info.annotation):
            given[name] = [given[name]]
    try:
        task = model.model_validate_json(json.dumps(given))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors())
        raise ValueError(f"{kind.task.name}: {faults}") from None
    assert isinstance(task, KindInput)  # noqa: S101 - every AI kind's input is one; narrows the type
    return task


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="academy-ai", description="Run an AI kind on local files.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the kinds and their fields")
    run = commands.add_parser("run", help="run one kind; JSON on stdout")
    run.add_argument("kind")
    run.add_argument("field", nargs="*", help="name=value")
    run.add_argument("--out", type=Path, help="folder for artefacts (made if missing; none are kept without it)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run, print; the exit code."""
    given = _parser().parse_args(argv)
    kinds = discover()
    if given.command == "list":
        for name, kind in kinds.items():
            sys.stdout.write(f"{name}: {', '.join(kind.task.input.model_fields)}\n")
        return 0
    if given.kind not in kinds:
        sys.stderr.write(f"unknown kind {given.kind!r}; known: {', '.join(kinds)}\n")
        return 2
    try:
        task = read_input(kinds[given.kind], fields(given.field))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    missing = [key for key in (*task.sources(), *task.media()) if not Path(key).is_file()]
    if missing:
        sys.stderr.write(f"no such file: {', '.join(missing)}\n")
        return 2
    return _run(kinds, given.kind, task, given.out)


def _run(kinds: Mapping[str, AiKind], name: str, task: KindInput, out: Path | None) -> int:
    with tempfile.TemporaryDirectory(prefix="academy-ai-") as scratch:
        folder = out or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            options = settings.load(settings.TranscribeSettings).options()
            reader = vision_of(settings.load(settings.VisionSettings))
            result = follow(kinds, name, task, folder, lambda kind: kind.load(options, reader))
        except AcademyError as error:
            detail = f" ({error.detail})" if error.detail else ""
            sys.stderr.write(f"{error.reason.ko}\n{error.reason.en}{detail}\n")
            return 1
    sys.stdout.write(result.model_dump_json(indent=2) + "\n")
    return 0


def follow(
    kinds: Mapping[str, AiKind], name: str, task: KindInput, out: Path, load: Callable[[AiKind], Run]
) -> Payload:
    """Run a task and all that it goes on with, one after the other, as the ledger would; the last result."""
    files = {key: Path(key) for key in (*task.sources(), *task.media())}
    files |= {key: out / key for key in task.artefacts()}
    outcome = load(kinds[name])(task, files, out, lambda _: None)
    if not isinstance(outcome, Outcome):
        return outcome
    results = [follow(kinds, child.kind, _task(kinds, child), out, load) for child in outcome.children]
    if outcome.then is None:
        return outcome.result
    then = _task(kinds, outcome.then).with_results([result.sent() for result in results])
    return follow(kinds, outcome.then.kind, then, out, load)


def _task(kinds: Mapping[str, AiKind], new: NewTask) -> KindInput:
    task = kinds[new.kind].task.input.model_validate(new.input)
    assert isinstance(task, KindInput)  # noqa: S101 - every AI kind's input is one; narrows the type
    return task


if __name__ == "__main__":
    sys.exit(main())
