"""What the bucket kind needs of a provider: R2 behind an interface (r2.py, fake_buckets.py)."""

from dataclasses import dataclass
from typing import Protocol

from academy_operator.model import Owner

MARKER_KEY = ".academy/owner.json"
"""The ownership marker. Reserved: it does not count as content."""


@dataclass(frozen=True, slots=True)
class CorsRule:
    """A CORS rule; the lists are sets and kept sorted, the order of the rules counts."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    max_age: int | None = None


@dataclass(frozen=True, slots=True, order=True)
class LifecycleRule:
    """A lifecycle rule that is switched on; the order of rules does not count."""

    id: str
    prefix: str = ""
    expire_days: int | None = None
    abort_days: int | None = None
    other: str = ""
    """Anything the provider has in it that this class has no word for; never empty by accident, always a difference."""


class BucketProvider(Protocol):
    """One account's buckets. Every call may raise ProviderFault."""

    def exists(self, name: str) -> bool:
        """Whether there is such a bucket."""

    def create(self, name: str, location_hint: str | None) -> None:
        """Create it. Raises AlreadyExists."""

    def owner(self, name: str) -> Owner | None:
        """Who the marker object names, None when there is none. Raises Gone without the bucket."""

    def put_owner(self, name: str, owner: Owner) -> None:
        """Write the marker object."""

    def cors(self, name: str) -> tuple[CorsRule, ...]:
        """Its CORS rules."""

    def put_cors(self, name: str, rules: tuple[CorsRule, ...]) -> None:
        """Replace its CORS rules; none removes them."""

    def lifecycle(self, name: str) -> tuple[LifecycleRule, ...]:
        """Its lifecycle rules, sorted."""

    def put_lifecycle(self, name: str, rules: tuple[LifecycleRule, ...]) -> None:
        """Replace its lifecycle rules."""

    def holds_content(self, name: str) -> bool:
        """Whether there is any object beside the marker."""

    def empty(self, name: str) -> bool:
        """Delete one batch of objects (not the marker) and uploads by parts; whether nothing is left."""

    def delete(self, name: str) -> None:
        """Delete the marker and the bucket; one that is gone is no error."""
