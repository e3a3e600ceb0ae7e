"""A cluster that somebody else runs: E2E_KUBECONFIG names it, E2E_REGISTRY the registry that its nodes pull from."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Given:
    """It is neither started nor stopped here, and its KEDA and metrics-server are its own."""

    kubeconfig: Path
    bare: bool = False

    def up(self, *, tied: bool = False) -> None:
        """It runs already."""

    def load(self, archive: Path) -> None:
        """Its nodes pull from a registry."""
        raise NotImplementedError(f"push {archive.name} to a registry of the cluster and set the charts' image values")

    def down(self) -> None:
        """It goes on."""
