"""Made kinds at work."""

import ctypes
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from academy_ai.kind import KindInput, Report
from academy_core.errors import Permanent, Reason
from academy_core.kinds import Payload
from academy_core.ledger import NewTask
from academy_core.tasks import Outcome
from ai_made.spec import JOIN, PIECE, Grow, Join, Peek, Piece, Pieces, Said, Seen, Split, Text, Trouble

kept: list[bytearray] = []


def run(task: KindInput, files: Mapping[str, Path], out: Path, report: Report) -> Payload | Outcome:
    match task:
        case Text():
            return text(task, files, out, report)
        case Trouble():
            return troubles[task.how](out)
        case Grow():
            kept.append(bytearray(os.urandom(1024) * 1024 * task.mib))
            return said("grown")
        case Peek():
            return peek(task.port)
        case Split():
            return split(task.words, out)
        case _:
            return joined(task, files)


def split(words: tuple[str, ...], out: Path) -> Outcome:
    names = [f"{number}.txt" for number in range(len(words))]
    for name, word in zip(names, words, strict=True):
        (out / name).write_text(word)
    children = tuple(NewTask.of(PIECE, Piece(name=name)) for name in names)
    return Outcome(Pieces(names=tuple(names)), children, NewTask.of(JOIN, Join()))


def joined(task: KindInput, files: Mapping[str, Path]) -> Said:
    if isinstance(task, Piece):
        return said(files[task.name].read_text())
    assert isinstance(task, Join)
    return said("".join(piece.text for piece in task.pieces))


def said(words: str, artefact: str | None = None) -> Said:
    return Said(text=words, pid=os.getpid(), artefact=artefact)


def text(task: Text, files: Mapping[str, Path], out: Path, report: Report) -> Said:
    report(0.5)
    until = time.monotonic() + task.seconds
    while time.monotonic() < until:
        time.sleep(0.01)
    words = "".join(path.read_text() for path in files.values())
    (out / "said.txt").write_text(words)
    return said(words, "said.txt")


def fails(error: Exception) -> Said:
    raise error


def hangs() -> Said:
    ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock: no thread of the child can end it
    return said("")


def linked(out: Path) -> Said:
    (out / "said.txt").symlink_to("/etc/passwd")
    return said("", "said.txt")


NO_PAGE = Reason("no-page", "쪽이 없습니다.", "There is no page.")
troubles: Mapping[str, Callable[[Path], Any]] = {
    "abort": lambda _: os.abort(),
    "segfault": lambda _: ctypes.string_at(0),
    "hang": lambda _: hangs(),
    "exit": lambda _: os._exit(0),
    "raise": lambda _: fails(RuntimeError("a fault of the kind")),
    "refuse": lambda _: fails(Permanent("no page", reason=NO_PAGE)),
    "greedy": lambda _: said(str(len(bytearray(1 << 34)))),
    "link": linked,
    "escape": lambda _: said("", "../../../etc/passwd"),
    "absent": lambda _: said("", "said.txt"),
    "lie": lambda _: Said.model_construct(text="", pid="none"),  # type: ignore[arg-type]
}


def peek(port: int) -> Seen:
    parent = network = ""
    try:
        Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError as error:
        parent = type(error).__name__
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError as error:
        network = type(error).__name__
    status = Path("/proc/self/status").read_text().splitlines()
    capabilities = next(line.split()[1] for line in status if line.startswith("CapEff"))
    return Seen(
        environment=tuple(sorted(os.environ)),
        parent=parent,
        network=network,
        capabilities=capabilities,
        modules=tuple(sorted(sys.modules)),
    )
