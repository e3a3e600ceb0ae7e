"""R2 in memory, beside the real client and under the same contract tests."""

from collections.abc import Callable
from dataclasses import dataclass, field

from academy_operator.errors import AlreadyExists, Gone, ProviderFault
from academy_operator.model import Owner
from academy_operator.providers.buckets import CorsRule, LifecycleRule
from academy_operator.providers.fake_queues import no_fault

BATCH = 1000


@dataclass(slots=True)
class _Bucket:
    owner: Owner | None = None
    cors: tuple[CorsRule, ...] = ()
    lifecycle: tuple[LifecycleRule, ...] = ()
    keys: list[str] = field(default_factory=list)


@dataclass(slots=True)
class FakeBuckets:
    """BucketProvider in memory. `calls` lists every operation in order."""

    fault: Callable[[str], None] = no_fault
    calls: list[str] = field(default_factory=list)
    buckets: dict[str, _Bucket] = field(default_factory=dict)

    def exists(self, name: str) -> bool:
        """See BucketProvider."""
        self._enter("HeadBucket")
        return name in self.buckets

    def create(self, name: str, location_hint: str | None) -> None:  # noqa: ARG002
        """See BucketProvider."""
        self._enter("CreateBucket")
        if name in self.buckets:
            raise AlreadyExists(f"BucketConflict: {name}")
        self.buckets[name] = _Bucket()
        self.fault("after CreateBucket")

    def owner(self, name: str) -> Owner | None:
        """See BucketProvider."""
        self._enter("GetObject")
        return self._at(name).owner

    def put_owner(self, name: str, owner: Owner) -> None:
        """See BucketProvider."""
        self._enter("PutObject")
        self._at(name).owner = owner
        self.fault("after PutObject")

    def cors(self, name: str) -> tuple[CorsRule, ...]:
        """See BucketProvider."""
        self._enter("GetBucketCors")
        return self._at(name).cors

    def put_cors(self, name: str, rules: tuple[CorsRule, ...]) -> None:
        """See BucketProvider."""
        self._enter("PutBucketCors")
        self._at(name).cors = rules
        self.fault("after PutBucketCors")

    def lifecycle(self, name: str) -> tuple[LifecycleRule, ...]:
        """See BucketProvider."""
        self._enter("GetBucketLifecycleConfiguration")
        return self._at(name).lifecycle

    def put_lifecycle(self, name: str, rules: tuple[LifecycleRule, ...]) -> None:
        """See BucketProvider."""
        self._enter("PutBucketLifecycleConfiguration")
        self._at(name).lifecycle = tuple(sorted(rules))
        self.fault("after PutBucketLifecycleConfiguration")

    def holds_content(self, name: str) -> bool:
        """See BucketProvider."""
        self._enter("ListObjectsV2")
        return bool(self._at(name).keys)

    def empty(self, name: str) -> bool:
        """See BucketProvider."""
        self._enter("ListObjectsV2")
        bucket = self._at(name)
        if not bucket.keys:
            return True
        self._enter("DeleteObjects")
        del bucket.keys[:BATCH]
        self.fault("after DeleteObjects")
        return False

    def delete(self, name: str) -> None:
        """See BucketProvider."""
        self._enter("DeleteObject")
        if name not in self.buckets:
            return
        self.buckets[name].owner = None
        self._enter("DeleteBucket")
        if self.buckets[name].keys:
            raise ProviderFault(f"BucketNotEmpty: {name}")
        del self.buckets[name]
        self.fault("after DeleteBucket")

    def writes(self) -> list[str]:
        """The operations that change something, in order."""
        return [call for call in self.calls if call.startswith(("Create", "Put", "Delete"))]

    def _enter(self, operation: str) -> None:
        self.fault(f"before {operation}")
        self.calls.append(operation)

    def _at(self, name: str) -> _Bucket:
        if name not in self.buckets:
            raise Gone(f"NoSuchBucket: {name}")
        return self.buckets[name]
