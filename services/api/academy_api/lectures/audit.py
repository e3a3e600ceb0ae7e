"""Does the object store hold what the database says? A relay duty that walks the whole bucket once a day, slowly.

Files that no publication and no tombstone stands for are reported, never deleted: after the database was restored to
an earlier hour they are the lectures of the time that was lost. And a publication that such a database takes for
alive, but that was hidden since, gets its playlists back (`graves` keeps the rest for a day).
"""

import itertools
from collections.abc import Iterable, Iterator
from uuid import UUID

import structlog
from django.utils import timezone
from prometheus_client import Gauge

from academy_api.lectures import graves
from academy_api.lectures.models import WATCHABLE, Publication, Tombstone
from academy_api.settings import config
from academy_core.errors import PreconditionFailed, Retryable
from academy_core.store import ObjectStore

EVERY_SECONDS = 10.0
PASS_SECONDS = 86_400.0
"""From the start of one walk to the start of the next; a relay that has just started begins at once."""
LOOKS = 5
"""Listings a turn: the relay has other things to do."""
SOURCES = "sources/"

WITHOUT_ROW = Gauge(
    "lecture_files_without_row",
    "Publications with files in the bucket that the database does not know, at the last whole walk.",
    multiprocess_mode="max",
)

_log = structlog.get_logger(__name__)


class Auditor:
    """The walk, where it stands. One a relay process."""

    def __init__(self, bucket: ObjectStore) -> None:
        self._bucket = bucket
        self._walk: Iterator[None] = iter(())
        self._began: float | None = None
        self._unknown = 0

    def run(self) -> None:
        """A few steps further; a new walk when the last one began a day ago or was broken off."""
        now = timezone.now().timestamp()
        if self._began is None or now - self._began >= PASS_SECONDS:
            self._began, self._unknown, self._walk = now, 0, self._whole()
        try:
            for _ in itertools.islice(self._walk, LOOKS):
                pass
        except Retryable:
            self._began = None
            raise

    def _whole(self) -> Iterator[None]:
        """One step a lecture's folder."""
        for root, check in ((f"{config.R2_PREFIX}/", self._publications), (SOURCES, self._sources)):
            level = self._bucket.level(root)
            self._unknown += report(info.key for info in level.objects)
            yield
            for lecture in level.folders:
                self._unknown += check(lecture)
                yield
        WITHOUT_ROW.set(self._unknown)
        _log.info("files_audited", without_row=self._unknown)

    def _publications(self, lecture: str) -> int:
        level = self._bucket.level(lecture)
        known = _known(level.folders)
        for publication in _alive(known):
            self._bring_back(publication)
        return report([info.key for info in level.objects] + [each for each in level.folders if each not in known])

    def _sources(self, lecture: str) -> int:
        keys = [info.key for info in self._bucket.list(lecture)]
        known = _known(keys)
        return report(key for key in keys if key not in known)

    def _bring_back(self, publication: Publication) -> None:
        """The playlists of a publication that was hidden after the moment to which the database was restored.

        What was written since has come further: a lecture that is finished must not lose its end again.
        """
        prefix = publication.output_prefix
        for info in self._bucket.level(f"{prefix}{graves.HIDDEN}").objects:
            to = f"{prefix}{info.key.removeprefix(prefix + graves.HIDDEN)}"
            try:
                graves.move_playlist(self._bucket, info.key, to, over=False)
            except PreconditionFailed:
                self._bucket.delete(info.key)
                continue
            _log.warning("playlist_brought_back", publication=str(publication.pk), key=info.key)


def report(unknown: Iterable[str]) -> int:
    """Log every key or folder without a row; how many there are."""
    count = 0
    for name in unknown:
        count += 1
        _log.warning("files_without_row", key=name)
    return count


def _known(names: Iterable[str]) -> dict[str, UUID]:
    """Those keys or folders whose last part is a publication that has a row or a tombstone."""
    ids = {name: found for name in names if (found := _id(name)) is not None}
    known = {
        *Publication.objects.filter(pk__in=ids.values()).values_list("pk", flat=True),
        *Tombstone.objects.filter(pk__in=ids.values()).values_list("pk", flat=True),
    }
    return {name: publication for name, publication in ids.items() if publication in known}


def _id(name: str) -> UUID | None:
    try:
        return UUID(name.rstrip("/").rpartition("/")[2])
    except ValueError:
        return None


def _alive(known: dict[str, UUID]) -> list[Publication]:
    """Those that can be watched and have no tombstone."""
    buried = Tombstone.objects.filter(pk__in=known.values()).values_list("pk", flat=True)
    return list(Publication.objects.filter(pk__in=known.values(), state__in=WATCHABLE).exclude(pk__in=buried))
