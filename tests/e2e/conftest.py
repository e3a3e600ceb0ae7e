"""The test cluster of a run: real Kubernetes, KEDA and metrics-server, started once, and gone without a trace after."""

import os
from collections.abc import Iterator

import pytest
from cluster import add_ons, kubectl, namespaces, provider


@pytest.fixture(scope="session")
def cluster() -> Iterator[provider.Provider]:
    """A cluster with its add-ons. `make test` skips what needs it; `make e2e` fails where it cannot be had."""
    if os.environ.get("ACADEMY_E2E") != "1":
        pytest.skip("needs a real cluster: make e2e")
    found = provider.find()
    found.up(tied=True)
    try:
        add_ons.install(found)
        yield found
    finally:
        found.down()
    if isinstance(found, namespaces.Namespaces):
        assert found.leftovers() == [], "the cluster left something on this machine"


@pytest.fixture(scope="session")
def run(cluster: provider.Provider) -> kubectl.Kubectl:
    """kubectl as the administrator."""
    return kubectl.Kubectl(cluster.kubeconfig)
