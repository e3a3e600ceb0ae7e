"""The skaffold binary, compiled from its Go module: once a machine, kept in the user's cache."""

from pathlib import Path

from cluster import binaries, cache

MODULE = "github.com/GoogleContainerTools/skaffold/v2@v2.16.1"


def binary() -> Path:
    """The program; minutes the first time. Raises binaries.Unavailable without Go."""
    with cache.locked(cache.root() / "skaffold" / cache.key(MODULE)) as place:
        program = place / "skaffold"
        if not program.exists():
            binaries.require_go()
            binaries.build(place, "skaffold", binaries.Source("./cmd/skaffold", {}, module=MODULE))
    return program
