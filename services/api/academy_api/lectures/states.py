"""What a lecture's state is, given its publications: the only place that decides and writes it."""

from collections.abc import Iterable

from academy_api.lectures.models import Lecture, Publication, State
from academy_core.errors import Reason


def ready(publications: Iterable[Publication]) -> Publication | None:
    """The publication that is complete and stays until a newer one is."""
    return next((publication for publication in publications if publication.state == State.READY), None)


def newer(publications: Iterable[Publication]) -> Publication | None:
    """The publication under way (or failed, or cancelled): a first one, or a replacement."""
    return next((publication for publication in publications if publication.state != State.READY), None)


def of_lecture(publications: Iterable[Publication]) -> State:
    """A lecture is ready as long as any of its publications is; else it stands where its newest one does."""
    publications = list(publications)
    shown = ready(publications) or newer(publications)
    return State(shown.state) if shown is not None else State.CANCELLED


def playing(publications: Iterable[Publication]) -> Publication | None:
    """What a viewer gets: the ready publication, else the newer one once its first chunks are listed."""
    publications = list(publications)
    shown = ready(publications) or newer(publications)
    return shown if shown is not None and shown.state in {State.READY, State.PLAYABLE} else None


def follow(lecture: Lecture) -> None:
    """Write the lecture's state after its publications changed. The caller holds the lecture's row lock."""
    lecture.state = of_lecture(lecture.publications.all())
    lecture.save(update_fields=["state"])


def fail(publication: Publication, reason: Reason) -> None:
    """Write a publication's failure, with its reason for a person."""
    publication.state = State.FAILED
    publication.reason_code, publication.reason_ko, publication.reason_en = reason.code, reason.ko, reason.en
    publication.save(update_fields=["state", "reason_code", "reason_ko", "reason_en"])
