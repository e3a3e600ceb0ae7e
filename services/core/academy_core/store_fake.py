"""An ObjectStore in memory, for tests: same interface, same errors as R2Store (one contract suite runs over both)."""

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from academy_core.errors import NotFound, Permanent, PreconditionFailed
from academy_core.store import Level, ObjectInfo, Part, check_prefix, multipart_etag


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object with its bytes, for a test to look at."""

    data: bytes
    etag: str
    modified: datetime
    content_type: str
    cache_control: str | None


@dataclass(slots=True)
class _Upload:
    key: str
    content_type: str
    cache_control: str | None
    parts: dict[int, bytes] = field(default_factory=dict)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class FakeStore:
    """One bucket in memory. Presigned URLs name what they would allow and lead nowhere."""

    def __init__(self, bucket: str = "fake", *, min_part_bytes: int = 5 * 1024 * 1024) -> None:
        """`min_part_bytes`: least size of a part that is not the last, as R2's 5 MiB."""
        self.bucket = bucket
        self.objects: dict[str, StoredObject] = {}
        self._min_part_bytes = min_part_bytes
        self._uploads: dict[str, _Upload] = {}
        self._count = 0
        self._lock = threading.RLock()

    def _store(self, key: str, data: bytes, etag: str, content_type: str, cache_control: str | None) -> str:
        self.objects[key] = StoredObject(data, etag, datetime.now(UTC), content_type, cache_control)
        return etag

    def _object(self, key: str) -> StoredObject:
        with self._lock:
            if key not in self.objects:
                raise NotFound(key)
            return self.objects[key]

    def _upload(self, key: str, upload: str) -> _Upload:
        found = self._uploads.get(upload)
        if found is None or found.key != key:
            raise NotFound(f"upload of {key}")
        return found

    def put(  # noqa: PLR0913 - as the interface
        self,
        key: str,
        data: bytes,
        *,
        content_type: str,
        cache_control: str | None = None,
        if_match: str | None = None,
        if_none_match: bool = False,
    ) -> str:
        """See ObjectStore.put."""
        with self._lock:
            present = self.objects.get(key)
            if if_match is not None and present is None:
                raise NotFound(key)
            if (if_none_match and present is not None) or (
                if_match is not None and present is not None and present.etag != if_match
            ):
                raise PreconditionFailed(key)
            return self._store(key, data, _md5(data), content_type, cache_control)

    def put_stream(
        self, key: str, chunks: Iterable[bytes], *, content_type: str, cache_control: str | None = None
    ) -> str:
        """See ObjectStore.put_stream."""
        return self.put(key, b"".join(chunks), content_type=content_type, cache_control=cache_control)

    def put_file(self, key: str, path: Path, *, content_type: str, cache_control: str | None = None) -> str:
        """See ObjectStore.put_file."""
        return self.put(key, path.read_bytes(), content_type=content_type, cache_control=cache_control)

    def get(self, key: str) -> bytes:
        """See ObjectStore.get."""
        return self._object(key).data

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """See ObjectStore.get_range."""
        if not 0 <= start < end:
            raise ValueError("a range is [start, end) with start < end")
        data = self._object(key).data
        if start >= len(data):
            raise Permanent(f"range of {key}")
        return data[start:end]

    def head(self, key: str) -> ObjectInfo:
        """See ObjectStore.head."""
        found = self._object(key)
        return ObjectInfo(key, len(found.data), found.etag, found.modified)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See ObjectStore.list."""
        with self._lock:
            keys = sorted(key for key in self.objects if key.startswith(prefix))
        for key in keys:
            try:
                yield self.head(key)
            except NotFound:  # deleted since the listing began
                continue

    def level(self, prefix: str) -> Level:
        """See ObjectStore.level."""
        found = list(self.list(prefix))
        deeper = [rest for info in found if "/" in (rest := info.key.removeprefix(prefix))]
        return Level(
            objects=tuple(info for info in found if "/" not in info.key.removeprefix(prefix)),
            folders=tuple(sorted({f"{prefix}{rest.partition('/')[0]}/" for rest in deeper})),
        )

    def delete(self, key: str) -> None:
        """See ObjectStore.delete."""
        with self._lock:
            self.objects.pop(key, None)

    def delete_many(self, keys: Iterable[str]) -> None:
        """See ObjectStore.delete_many."""
        for key in tuple(keys):
            self.delete(key)

    def delete_prefix(self, prefix: str) -> int:
        """See ObjectStore.delete_prefix."""
        check_prefix(prefix)
        keys = [info.key for info in self.list(prefix)]
        self.delete_many(keys)
        return len(keys)

    def presign_get(self, key: str, expires_seconds: int) -> str:
        """See ObjectStore.presign_get."""
        return f"fake://{self.bucket}/{key}?method=GET&expires={expires_seconds}"

    def presign_put(self, key: str, expires_seconds: int, *, content_type: str) -> str:
        """See ObjectStore.presign_put."""
        return f"fake://{self.bucket}/{key}?method=PUT&expires={expires_seconds}&type={content_type}"

    def create_multipart(self, key: str, *, content_type: str, cache_control: str | None = None) -> str:
        """See ObjectStore.create_multipart."""
        with self._lock:
            self._count += 1
            upload = f"upload-{self._count}"
            self._uploads[upload] = _Upload(key, content_type, cache_control)
            return upload

    def presign_part(self, key: str, upload: str, number: int, expires_seconds: int) -> str:
        """See ObjectStore.presign_part."""
        return f"fake://{self.bucket}/{key}?method=PUT&upload={upload}&part={number}&expires={expires_seconds}"

    def put_part(self, key: str, upload: str, number: int, data: bytes) -> Part:
        """See ObjectStore.put_part."""
        with self._lock:
            self._upload(key, upload).parts[number] = data
            return Part(number, len(data), _md5(data))

    def list_parts(self, key: str, upload: str) -> tuple[Part, ...]:
        """See ObjectStore.list_parts."""
        with self._lock:
            parts = self._upload(key, upload).parts
            return tuple(Part(number, len(parts[number]), _md5(parts[number])) for number in sorted(parts))

    def complete_multipart(self, key: str, upload: str, parts: Sequence[Part]) -> str:
        """See ObjectStore.complete_multipart."""
        with self._lock:
            found = self._upload(key, upload)
            fits = parts and all(
                part.number in found.parts and _md5(found.parts[part.number]) == part.etag for part in parts
            )
            if not fits or any(one.number >= two.number for one, two in pairwise(parts)):
                raise Permanent(f"parts of {key}")
            data = [found.parts[part.number] for part in parts]
            if any(len(part) < self._min_part_bytes for part in data[:-1]):
                raise Permanent(f"parts of {key}: too small")
            del self._uploads[upload]
            return self._store(key, b"".join(data), multipart_etag(parts), found.content_type, found.cache_control)

    def abort_multipart(self, key: str, upload: str) -> None:
        """See ObjectStore.abort_multipart."""
        with self._lock:
            found = self._uploads.get(upload)
            if found is not None and found.key == key:
                del self._uploads[upload]
