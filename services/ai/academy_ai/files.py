"""Files of a task between the object store and a local folder: sources down, artefacts up. Called by the worker.

A media playlist comes as the one file it describes: its init section and segments, one after the other. Names that a
child gave are not trusted: only plain files below the task's own folder are uploaded.
"""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from academy_core.errors import NotFound, Permanent, Reason, Retryable
from academy_core.store import ObjectStore

PLAYLIST = ".m3u8"
MAX_BYTES = 16 * 1024**3
"""Of all sources of one task."""
_PIECE_BYTES = 16 * 1024**2
_AT_ONCE = 8
_MAP = re.compile(r'#EXT-X-MAP:.*URI="([^"]+)"')
CONTENT_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".flac": "audio/flac",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".png": "image/png",
    ".vtt": "text/vtt; charset=utf-8",
}

GONE = Reason(
    "source-gone",
    "분석할 파일을 찾을 수 없습니다. 파일을 다시 올려 주세요.",
    "The file to be analysed cannot be found any more. Please upload it again.",
)
TOO_LARGE = Reason(
    "source-too-large",
    "파일이 너무 커서 분석할 수 없습니다. 16GB 이하로 나누어 올려 주세요.",
    "The file is too large to be analysed. Upload it in parts of at most 16 GB.",
)


def fetch(store: ObjectStore, keys: Iterable[str], folder: Path, check: Callable[[], None]) -> dict[str, Path]:
    """Every key as a file in `folder`; `check` is called between pieces and may raise. Permanent when one is gone."""
    found: dict[str, Path] = {}
    left = MAX_BYTES
    for number, key in enumerate(keys):
        path = folder / f"{number:04}{PurePosixPath(key).suffix[:10]}"
        try:
            pieces = _playlist(store, key) if key.endswith(PLAYLIST) else _object(store, key)
            if key.endswith(PLAYLIST):
                path = path.with_suffix(".mp4")
            left = _write(pieces, path, left, check)
        except NotFound as error:
            raise Permanent(f"no object {key}", reason=GONE) from error
        found[key] = path
    return found


def _write(pieces: Iterator[bytes], path: Path, left: int, check: Callable[[], None]) -> int:
    with path.open("wb") as file:
        for piece in pieces:
            check()
            left -= len(piece)
            if left < 0:
                raise Permanent("sources are too large", reason=TOO_LARGE)
            file.write(piece)
    return left


def _object(store: ObjectStore, key: str) -> Iterator[bytes]:
    size = store.head(key).size
    for start in range(0, size, _PIECE_BYTES):
        yield store.get_range(key, start, min(size, start + _PIECE_BYTES))


def _playlist(store: ObjectStore, key: str) -> Iterator[bytes]:
    prefix = key[: key.rfind("/") + 1]
    names = playlist_names(store.get(key).decode())
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch") as pool:
        # In order, and never more in memory than are fetched at a time.
        for start in range(0, len(names), _AT_ONCE):
            yield from pool.map(lambda name: store.get(prefix + name), names[start : start + _AT_ONCE])


def playlist_names(text: str) -> list[str]:
    """The files of a media playlist in order: each init section before its segments."""
    names = []
    for line in text.splitlines():
        found = _MAP.match(line)
        if found is not None:
            names.append(found[1])
        elif line and not line.startswith("#"):
            names.append(line)
    return names


def upload(store: ObjectStore, names: Iterable[str], folder: Path, prefix: str, check: Callable[[], None]) -> None:
    """Every named file of `folder` under `prefix`. Retryable when the child named what is no file of its own."""
    for name in names:
        check()
        path = inside(folder, name)
        kind = CONTENT_TYPES.get(path.suffix, "application/octet-stream")
        store.put_file(prefix + name, path, content_type=kind)


def inside(folder: Path, name: str) -> Path:
    """The plain file `name` of `folder`, reached through no link. Retryable otherwise."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or name != "/".join(parts):
        raise Retryable(f"artefact {name!r} has no plain name")
    path = folder
    for part in parts:
        path /= part
        if path.is_symlink():
            raise Retryable(f"artefact {name!r} is a link")
    if not stat.S_ISREG(os.lstat(path).st_mode if path.exists() else 0):
        raise Retryable(f"artefact {name!r} is no file")
    return path
