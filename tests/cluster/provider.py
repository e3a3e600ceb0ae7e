"""What a test needs of a cluster: a kubeconfig, and a way to put images on its nodes. Chosen once, in `find`."""

import os
from pathlib import Path
from typing import Protocol

from cluster import given, kind, namespaces


class Provider(Protocol):
    """A running cluster."""

    @property
    def kubeconfig(self) -> Path:
        """Of its administrator."""
        ...

    @property
    def bare(self) -> bool:
        """Whether it comes without DNS and storage, which `add_ons` then installs."""
        ...

    @property
    def equipped(self) -> bool:
        """Whether KEDA and metrics-server are its own, which `add_ons` then leaves alone."""
        ...

    def up(self, *, tied: bool = False) -> None:
        """Start it; with `tied`, where that can be, so that it ends with this process. Raises Unavailable."""
        ...

    def load(self, archive: Path, *, only: str = "") -> None:
        """Put an image (an archive as `docker save` writes it) on every node, or on the one that is named."""
        ...

    def down(self) -> None:
        """Stop it and remove what it left on this machine. Safe to call when there is none."""
        ...


def find() -> Provider:
    """A cluster of one's own where E2E_KUBECONFIG names one, kind where Docker answers, else namespaces."""
    own = os.environ.get("E2E_KUBECONFIG")
    if own:
        return given.Given(Path(own))
    if kind.usable():
        return kind.Kind()
    return namespaces.Namespaces()
