"""What worker and child say to each other: one JSON object a line, over two pipes (see host, child)."""

from typing import Any

from pydantic import Base64Bytes, BaseModel, ConfigDict

from academy_ai.text import Word
from academy_core.errors import AcademyError, Permanent, Reason, Retryable, SettingsFault
from academy_core.ledger import NewTask

MAX_LINE = 16 * 1024 * 1024
_DETAIL = 2000


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Begin(_Line):
    """The first line: how the child is to live. `address_space` in bytes."""

    parent: int
    address_space: int | None
    options: dict[str, str]
    reader: str | None = None
    """Name of the reader of print that the worker asks on the child's behalf; None: the child reads by itself."""


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


def refusal(error: Exception) -> Refusal:
    """An error as it is told to the other side."""
    known = error if isinstance(error, AcademyError) else AcademyError(f"{type(error).__name__}: {error}")
    return Refusal(
        permanent=isinstance(error, Permanent),
        settings=isinstance(error, SettingsFault),
        code=known.reason.code,
        ko=known.reason.ko,
        en=known.reason.en,
        detail=known.detail[:_DETAIL],
    )


def raised(refused: Refusal) -> AcademyError:
    """The error that the other side told of."""
    reason = Reason(refused.code, refused.ko, refused.en)
    if refused.settings:
        return SettingsFault(refused.detail)
    return (Permanent if refused.permanent else Retryable)(refused.detail, reason=reason)


class Reply(_Line):
    """What the worker's reader made of the picture that the child asked about: its lines, or why there are none."""

    lines: tuple[tuple[Word, ...], ...] = ()
    failed: Refusal | None = None


class Answer(_Line):
    """One line of the child: exactly one field is set."""

    refused: tuple[str, ...] | None = None
    """The answer to Begin: what of the sandbox was not permitted."""
    progress: float | None = None
    picture: Base64Bytes | None = None
    """To be read by the worker's reader; the child waits for its Reply."""
    done: Done | None = None
    loaded: bool | None = None
    failed: Refusal | None = None
