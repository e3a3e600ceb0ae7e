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
    poster: str | None = Field(description="A picture of the lecture; null until it is ready.")
    thumbnails: str | None = Field(
        description="WebVTT for the seek bar; the images it names open with the same query. Null until it is ready."
    )
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
    prefix, query, expires = _address(publication, request.auth.name)
    ready = publication.published or {}
    return PlaybackOut(
        url=f"{prefix}{playlists.MASTER}{query}",
        poster=f"{prefix}{ready['poster']}{query}" if ready.get("poster") else None,
        thumbnails=f"{prefix}{ready['thumbnails']}{query}" if ready.get("thumbnails") else None,
        state=State(publication.state),
        publication=publication.pk,
        playable_seconds=publication.playable_seconds,
        duration_seconds=publication.duration_seconds,
        expires_at=datetime.fromtimestamp(expires, UTC) if expires is not None else None,
    )


def _address(publication: Publication, viewer: str) -> tuple[str, str, int | None]:
    """What a file's URL starts and ends with, and when that expires (Unix seconds; None: never)."""
    prefix = f"{str(config.CDN_HLS_BASE_URL).rstrip('/')}/{publication.output_prefix}"
    keyring = config.keyring()
    if keyring is None:
        return prefix, "", None
    expires = playback.expiry(time.time(), publication.duration_seconds or 0.0)
    grant = playback.Grant(publication.output_prefix, expires, viewer)
    return prefix, f"?{playback.signed_query(keyring.signing, grant)}", expires
