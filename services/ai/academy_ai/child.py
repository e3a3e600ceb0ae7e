"""The process that kinds run in: `python -P -m academy_ai.child REQUESTS ANSWERS`, two inherited pipe descriptors.

Started by academy_ai.host without environment and credentials. It lives for many tasks, so that libraries and models
are loaded once, and loads a kind's code when its first task comes. What it crashes on costs this process alone.
"""

import base64
import faulthandler
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from academy_ai import sandbox
from academy_ai.kind import AiKind, KindInput, kinds_of
from academy_ai.text import Lines
from academy_ai.wire import Answer, Begin, Done, Reply, Request, raised, refusal
from academy_core.tasks import Outcome

if TYPE_CHECKING:
    from academy_ai.paper import Gray

_STEP = 0.005
"""Progress is told when it has grown by this share."""


class Teller:
    """Writes answers."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._told = -1.0

    def tell(self, answer: Answer) -> None:
        """Send one line."""
        self._pipe.write(answer.model_dump_json(exclude_none=True).encode() + b"\n")
        self._pipe.flush()

    def progress(self, share: float) -> None:
        """A kind's Report."""
        if share < self._told or share - self._told >= _STEP:
            self._told = share
            self.tell(Answer(progress=share))


class Asking:
    """A text.Reader that has the worker read: this process has neither network nor credentials."""

    def __init__(self, name: str, teller: Teller, requests: BinaryIO) -> None:
        self.name = name
        self._teller = teller
        self._requests = requests

    def lines(self, picture: "Gray") -> Lines:
        """See text.Reader."""
        from academy_ai import paper  # noqa: PLC0415 - it brings numpy; a kind that reads print has it anyway

        self._teller.tell(Answer(picture=base64.b64encode(paper.png(picture))))
        reply = Reply.model_validate_json(self._requests.readline())
        if reply.failed is not None:
            raise raised(reply.failed)
        return [list(line) for line in reply.lines]


@dataclass(frozen=True, slots=True)
class Tools:
    """What every task of this process works with."""

    options: Mapping[str, str]
    teller: Teller
    reader: Asking | None


def main() -> None:
    """Answer requests until the pipe ends."""
    faulthandler.enable()
    with os.fdopen(int(sys.argv[1]), "rb") as requests, os.fdopen(int(sys.argv[2]), "wb") as answers:
        teller = Teller(answers)
        begin = Begin.model_validate_json(requests.readline())
        teller.tell(Answer(refused=tuple(sandbox.enter(begin.parent, begin.address_space))))
        reader = None if begin.reader is None else Asking(begin.reader, teller, requests)
        tools = Tools(begin.options, teller, reader)
        for line in requests:
            teller.tell(_answer(Request.model_validate_json(line), tools))


def _answer(request: Request, tools: Tools) -> Answer:
    try:
        kinds = {kind.task.name: kind for kind in kinds_of(request.package)}
        if request.kind is None:
            next(iter(kinds.values())).load(tools.options, tools.reader)
            return Answer(loaded=True)
        return Answer(done=_run(kinds[request.kind], request, tools))
    except Exception as error:  # noqa: BLE001 - whatever it was, the worker reports it as this task's failure
        return Answer(failed=refusal(error))


def _run(kind: AiKind, request: Request, tools: Tools) -> Done:
    task = kind.task.input.model_validate(request.input)
    assert isinstance(task, KindInput)  # noqa: S101 - every AI kind's input is one; narrows the type
    files = {key: Path(path) for key, path in request.files.items()}
    outcome = kind.load(tools.options, tools.reader)(task, files, Path(request.out), tools.teller.progress)
    if not isinstance(outcome, Outcome):
        outcome = Outcome(outcome)
    return Done(result=outcome.result.sent(), children=outcome.children, then=outcome.then)


if __name__ == "__main__":
    main()
