"""`python -m cluster up | down`: the test cluster by hand, what `make cluster-up` and `make cluster-down` call."""

import sys
import time

from cluster import add_ons, binaries, provider


def up() -> None:
    """Start a cluster with its add-ons; print how to use it."""
    began = time.monotonic()
    cluster = provider.find()
    cluster.up()
    nodes = time.monotonic()
    add_ons.install(cluster)
    print(  # noqa: T201  (a command)
        f"nodes ready in {nodes - began:.1f} s, add-ons in {time.monotonic() - nodes:.1f} s more"
    )
    print(f"export KUBECONFIG={cluster.kubeconfig}")  # noqa: T201  (a command)


def down() -> None:
    """Stop it; nothing stays but the cache."""
    provider.find().down()


COMMANDS = {"up": up, "down": down}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        sys.exit("usage: python -m cluster up | down")
    try:
        COMMANDS[sys.argv[1]]()
    except binaries.Unavailable as lacking:
        sys.exit(str(lacking))
