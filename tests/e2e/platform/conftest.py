"""The platform, installed once for these tests by its three charts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platform_e2e
import pytest
from cluster import provider
from platform_e2e import Platform

from academy_local import client


@pytest.fixture(scope="session")
def platform(cluster: provider.Provider, events: list[dict[str, Any]]) -> Iterator[Platform]:
    """Backends, operator and platform, ready; nothing of them is left after the tests."""
    with platform_e2e.prepared(cluster) as found:
        try:
            found.install_backends()
            found.install_operator()
            found.install()
        except Exception:
            print(platform_e2e.describe(found.run))  # noqa: T201  (what a person would look at)
            raise
        # Before any test has had a worker started.
        events.extend(found.run.get("events")["items"])
        yield found


@pytest.fixture(scope="session")
def events() -> list[dict[str, Any]]:
    """What the cluster told while everything was installed, for who asks for `platform` too."""
    return []


@pytest.fixture
def director(platform: Platform) -> Iterator[client.Client]:
    """The first director, signed in."""
    with platform.director() as found:
        yield found


@pytest.fixture(scope="session")
def lecture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty seconds of a lecture."""
    return platform_e2e.sample(tmp_path_factory.mktemp("lecture"))
