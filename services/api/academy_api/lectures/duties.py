"""What the relay runs for this app."""

import functools

from academy_api.lectures import audit, graves, publishing, store
from academy_api.relay import Duty


@functools.cache
def _writer() -> publishing.PlaylistWriter:
    """Made at the first turn: only the relay needs it."""
    return publishing.PlaylistWriter(store.video())


def _write_playlists() -> None:
    _writer().run()


@functools.cache
def _auditor() -> audit.Auditor:
    """As the writer."""
    return audit.Auditor(store.video())


def _audit() -> None:
    _auditor().run()


ALL = (
    Duty("lecture-playlists", publishing.EVERY_SECONDS, _write_playlists),
    Duty("lecture-sweeps", graves.SWEEP_SECONDS, graves.sweep),
    Duty("lecture-tidying", graves.TIDY_SECONDS, graves.tidy),
    Duty("lecture-abandoned-uploads", graves.GIVE_UP_SECONDS, graves.give_up_uploads),
    Duty("lecture-audit", audit.EVERY_SECONDS, _audit),
)
