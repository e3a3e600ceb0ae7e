"""GET /api/v1/lectures/{lecture}/playback: the address that plays a lecture for one viewer, for a while.

Signed over the publication's prefix (academy_core.playback) when a signing secret is set, plain otherwise (S-3).
"""

import time
from datetime import UTC, datetime
from uuid import UUID

from ninja import Router, Schema
from pydantic import Field

from academy_api.accounts.access import Scope
from academy_api.accounts.auth import Request, require
from academy_api.lectures import playlists, states
from academy_api.lectures.api import one
from academy_api.lectures.models import Publication, State
from academy_api.settings import config
from academy_core import playback
from academy_core.errors import Conflict, Reason

router = Router(tags=["playback"])

NOT_PLAYABLE = Reason(
    "not-playable-yet",
    "아직 재생할 수 없습니다. 영상 준비가 시작되면 재생할 수 있습니다.",
    "This cannot be played yet. It can be as soon as its first minutes are prepared.",
)


class PlaybackOut(Schema):
    """Where to play. Everything the playlist names opens with the same query."""

    url: str = Field(description="The HLS master playlist.")
    state: State
    publication: UUID
    playable_seconds: float
    duration_seconds: float | None
    expires_at: datetime | None = Field(description="Ask again before then for a fresh address; null: never expires.")


@router.get("/{uuid:lecture}/playback", response=PlaybackOut, auth=require(Scope.LECTURES_READ))
def get_playback(request: Request, lecture: UUID) -> PlaybackOut:
    """The playback address of a lecture, drawn anew for the caller. Asking again renews it."""
    publication = states.playing(one(request, lecture).publications.all())
    if publication is None:
        raise Conflict(reason=NOT_PLAYABLE)
    url, expires = _address(publication, request.auth.name)
    return PlaybackOut(
        url=url,
        state=State(publication.state),
        publication=publication.pk,
        playable_seconds=publication.playable_seconds,
        duration_seconds=publication.duration_seconds,
        expires_at=datetime.fromtimestamp(expires, UTC) if expires is not None else None,
    )


def _address(publication: Publication, viewer: str) -> tuple[str, int | None]:
    """The master playlist's URL and when it expires (Unix seconds; None: never)."""
    base = str(config.CDN_HLS_BASE_URL).rstrip("/")
    url = f"{base}/{publication.output_prefix}{playlists.MASTER}"
    keyring = config.keyring()
    if keyring is None:
        return url, None
    expires = playback.expiry(time.time(), publication.duration_seconds or 0.0)
    grant = playback.Grant(publication.output_prefix, expires, viewer)
    return f"{url}?{playback.signed_query(keyring.signing, grant)}", expires
