"""A cluster that somebody else runs: E2E_KUBECONFIG names it, E2E_REGISTRY the registry that its nodes pull from."""

from dataclasses import dataclass
from pathlib import Path

from cluster import images


@dataclass(frozen=True)
class Given:
    """It is neither started nor stopped here, and its KEDA and metrics-server are its own.

    This machine has to reach the addresses of its Services, by a route through one of its nodes for instance.
    """

    kubeconfig: Path
    bare: bool = False
    equipped: bool = True

    def up(self, *, tied: bool = False) -> None:
        """It runs already."""

    def load(self, archive: Path, *, only: str = "") -> None:  # noqa: ARG002 - whichever node needs it pulls it
        """Its nodes pull from a registry."""
        images.push(archive)

    def down(self) -> None:
        """It goes on."""
