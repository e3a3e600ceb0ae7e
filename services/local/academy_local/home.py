"""The data folder of one embedded platform: its ports, its secrets and where everything lies in it.

Made once and kept, so that after `down` and `up` the same URLs play and the same passwords work.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from academy_local import ports
from academy_local.servers import s3

DEFAULT_FOLDER = ".academy"
DIRECTOR_EMAIL = "director@academy.test"
ACADEMY_NAME = "샘플 학원"


class Addresses(BaseModel):
    """Loopback ports."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    postgres: int
    sqs: int
    s3: tuple[int, ...]
    api: int
    origin: int

    @classmethod
    def choose(cls) -> "Addresses":
        """Ports that are free now."""
        postgres, sqs, api, origin, *others = ports.free(4 + s3.PORTS)
        return cls(postgres=postgres, sqs=sqs, api=api, origin=origin, s3=tuple(others))

    def all(self) -> tuple[int, ...]:
        """Every port."""
        return (self.postgres, self.sqs, self.api, self.origin, *self.s3)


def _drawn() -> Any:
    return Field(default_factory=lambda: secrets.token_hex(32))


class Secrets(BaseModel):
    """Drawn for this folder; nothing outside it knows them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    django: str = _drawn()
    database: str = _drawn()
    store_access: str = _drawn()
    store_secret: str = _drawn()
    video_worker: str = _drawn()
    ai_cpu_worker: str = _drawn()
    ai_gpu_worker: str = _drawn()
    relay: str = _drawn()
    playback: str = _drawn()
    director: str = _drawn()
    """Password of DIRECTOR_EMAIL."""

    def __repr__(self) -> str:
        return "Secrets(...)"


class Identity(BaseModel):
    """What a folder keeps for good."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    addresses: Addresses
    secrets: Secrets


class ProcessState(BaseModel):
    """One process as the supervisor last saw it."""

    pid: int | None
    state: str
    """`starting`, `up`, `waiting` (for its restart), `stopped`."""
    restarts: int
    started_at: float | None
    """Unix seconds."""


class State(BaseModel):
    """What the supervisor tells the commands."""

    supervisor: int
    phase: str
    """`starting`, `up`, `stopping` or `failed`."""
    step: str
    """What it is doing, or why it failed."""
    processes: dict[str, ProcessState]


class Home:
    """One data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    @property
    def logs(self) -> Path:
        """One log file a process."""
        return self.folder / "logs"

    @property
    def scratch(self) -> Path:
        """Temporary files of the workers; emptied at every start."""
        return self.folder / "tmp"

    def identity(self) -> Identity:
        """The folder's ports and secrets; made at the first call."""
        path = self.folder / "identity.json"
        if path.exists():
            stored = path.read_bytes()
            # A folder of an older version lacks what has been added since: that is drawn now.
            identity = Identity.model_validate_json(stored)
        else:
            stored = b""
            self.folder.mkdir(parents=True, exist_ok=True)
            for folder in (self.logs, self.scratch):
                folder.mkdir(exist_ok=True)
            identity = Identity(addresses=Addresses.choose(), secrets=Secrets())
        text = identity.model_dump_json(indent=1)
        if text.encode() != stored:
            _write(path, text)
        return identity

    def write_state(self, state: State) -> None:
        """Replace the state in one step, so that a reader never sees half of it."""
        _write(self.folder / "state.json", state.model_dump_json(indent=1))

    def forget_state(self) -> None:
        """Before a start: what an earlier supervisor wrote must not be read as the new one's."""
        (self.folder / "state.json").unlink(missing_ok=True)

    def state(self) -> State | None:
        """The state as last written; None before the first start. Says nothing about who still runs: see `running`."""
        try:
            written = (self.folder / "state.json").read_bytes()
        except FileNotFoundError:
            return None
        return State.model_validate_json(written)

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Hold the folder, as the supervisor does for its life; False when another process holds it.

        The kernel frees it when its holder ends, however it ends.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def running(self) -> bool:
        """Whether a supervisor holds the folder."""
        if not self.folder.exists():
            return False
        with self.lock() as free:
            return not free


def _write(path: Path, text: str) -> None:
    """Atomic, and readable by the owner alone."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
