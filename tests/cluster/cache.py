"""Where the programs and images of the test cluster are kept: outside the clone, under a key of all they are made of.

A fresh clone on the same machine finds what an earlier one built; a changed input has another key. Nothing is ever
changed in place, so an old folder can be deleted at any time.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

KEY_CHARACTERS = 16


def root() -> Path:
    """The cache of the user, by the XDG rules."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "academy"


def key(*parts: str, files: Iterable[Path] = ()) -> str:
    """A short digest of strings and of the contents of files."""
    digest = hashlib.sha256("\0".join(parts).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:KEY_CHARACTERS]


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """The folder, made when it is missing, held by one process at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
