"""The process that kinds run in: `python -P -m academy_ai.child REQUESTS ANSWERS`, two inherited pipe descriptors.

Started by academy_ai.host without environment and credentials. It lives for many tasks, so that libraries and models
are loaded once, and loads a kind's code when its first task comes. What it crashes on costs this process alone.
"""

import faulthandler
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from academy_ai import sandbox
from academy_ai.kind import AiKind, KindInput, kinds_of
from academy_ai.wire import Answer, Begin, Done, Refusal, Request
from academy_core.errors import AcademyError, Permanent, SettingsFault
from academy_core.tasks import Outcome

_DETAIL = 2000
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


def main() -> None:
    """Answer requests until the pipe ends."""
    faulthandler.enable()
    with os.fdopen(int(sys.argv[1]), "rb") as requests, os.fdopen(int(sys.argv[2]), "wb") as answers:
        teller = Teller(answers)
        begin = Begin.model_validate_json(requests.readline())
        teller.tell(Answer(refused=tuple(sandbox.enter(begin.parent, begin.address_space))))
        for line in requests:
            teller.tell(_answer(Request.model_validate_json(line), begin.options, teller))


def _answer(request: Request, options: Mapping[str, str], teller: Teller) -> Answer:
    try:
        kinds = {kind.task.name: kind for kind in kinds_of(request.package)}
        if request.kind is None:
            next(iter(kinds.values())).load(options)
            return Answer(loaded=True)
        return Answer(done=_run(kinds[request.kind], request, options, teller))
    except Exception as error:  # noqa: BLE001 - whatever it was, the worker reports it as this task's failure
        return Answer(failed=_refusal(error))


def _run(kind: AiKind, request: Request, options: Mapping[str, str], teller: Teller) -> Done:
    task = kind.task.input.model_validate(request.input)
    assert isinstance(task, KindInput)  # noqa: S101 - every AI kind's input is one; narrows the type
    files = {key: Path(path) for key, path in request.files.items()}
    outcome = kind.load(options)(task, files, Path(request.out), teller.progress)
    if not isinstance(outcome, Outcome):
        outcome = Outcome(outcome)
    return Done(result=outcome.result.model_dump(mode="json"), children=outcome.children, then=outcome.then)


def _refusal(error: Exception) -> Refusal:
    known = error if isinstance(error, AcademyError) else AcademyError(f"{type(error).__name__}: {error}")
    return Refusal(
        permanent=isinstance(error, Permanent),
        settings=isinstance(error, SettingsFault),
        code=known.reason.code,
        ko=known.reason.ko,
        en=known.reason.en,
        detail=known.detail[:_DETAIL],
    )


if __name__ == "__main__":
    main()
