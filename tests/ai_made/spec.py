"""Made kinds: what a worker must survive, declared like any other kind."""

from collections.abc import Iterable
from typing import Literal

from academy_ai.kind import KindInput
from academy_core.kinds import Payload, Queue, TaskKind, Urgency


class Text(KindInput):
    """Reads a file of the AI bucket, leaves an artefact."""

    source: str | None = None
    lecture: str | None = None
    seconds: float = 0.0

    def sources(self) -> Iterable[str]:
        return () if self.source is None else (self.source,)

    def media(self) -> Iterable[str]:
        return () if self.lecture is None else (self.lecture,)


class Said(Payload):
    """What was read, and by which process."""

    text: str
    pid: int
    artefact: str | None = None

    def keys(self) -> Iterable[str]:
        return () if self.artefact is None else (self.artefact,)


class Trouble(KindInput):
    """Something that goes wrong."""

    how: Literal["abort", "segfault", "hang", "exit", "raise", "refuse", "link", "escape", "absent", "lie", "greedy"]


class Grow(KindInput):
    """Keeps memory for good."""

    mib: int


class Peek(KindInput):
    """Looks for what it should not find."""

    port: int = 0


class Seen(Payload):
    """What a kind can see of the worker and the machine."""

    environment: tuple[str, ...]
    parent: str
    """Why the worker's environment could not be read; empty when it could."""
    network: str
    capabilities: str
    modules: tuple[str, ...]


class Split(KindInput):
    """Goes on in children, each with a file that this one made."""

    words: tuple[str, ...]


class Pieces(Payload):
    """The files it made."""

    names: tuple[str, ...]

    def keys(self) -> Iterable[str]:
        return self.names


class Piece(KindInput):
    """One of them."""

    name: str

    def artefacts(self) -> Iterable[str]:
        return (self.name,)


class Join(KindInput):
    """Gets the pieces' results."""

    pieces: tuple[Said, ...] = ()

    def with_results(self, results: Iterable[object]) -> "Join":
        return self.model_copy(update={"pieces": tuple(Said.model_validate(result) for result in results)})


def _kind(name: str, given: type[Payload], result: type[Payload], queue: Queue = Queue.AI_BASIC) -> TaskKind:
    return TaskKind(f"made.{name}", 1, queue, Urgency.BULK, given, result, max_failures=2, max_seconds=60)


KIND = _kind("text", Text, Said)
LITE = _kind("lite", Text, Said, Queue.AI_LITE)
TROUBLE = _kind("trouble", Trouble, Said)
GROW = _kind("grow", Grow, Said)
PEEK = _kind("peek", Peek, Seen)
SPLIT = _kind("split", Split, Pieces)
PIECE = _kind("piece", Piece, Said)
JOIN = _kind("join", Join, Said)
STEPS = (LITE, TROUBLE, GROW, PEEK, SPLIT, PIECE, JOIN)
