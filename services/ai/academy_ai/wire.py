"""What worker and child say to each other: one JSON object a line, over two pipes (see host, child)."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from academy_core.ledger import NewTask

MAX_LINE = 16 * 1024 * 1024


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Begin(_Line):
    """The first line: how the child is to live. `address_space` in bytes."""

    parent: int
    address_space: int | None
    options: dict[str, str]


class Request(_Line):
    """One task; without a `kind`, the package's code is to be loaded and nothing else."""

    package: str
    kind: str | None = None
    input: dict[str, Any] = {}
    files: dict[str, str] = {}
    """Key -> path."""
    out: str = ""


class Done(_Line):
    """How a task went on: see academy_core.tasks.Outcome."""

    result: dict[str, Any]
    children: tuple[NewTask, ...] = ()
    then: NewTask | None = None


class Refusal(_Line):
    """The error that the kind raised. `settings`: the options are at fault."""

    permanent: bool
    settings: bool
    code: str
    ko: str
    en: str
    detail: str


class Answer(_Line):
    """One line of the child: exactly one field is set."""

    refused: tuple[str, ...] | None = None
    """The answer to Begin: what of the sandbox was not permitted."""
    progress: float | None = None
    done: Done | None = None
    loaded: bool | None = None
    failed: Refusal | None = None
