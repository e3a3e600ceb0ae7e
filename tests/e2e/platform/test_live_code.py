"""What `skaffold dev` does to a running pod when a Python file is saved: the file is copied, the process starts anew.

skaffold itself needs kind (docs/deploy.md); its sync folder and its restart command are taken from skaffold.yaml.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from cluster.images import ROOT
from platform_e2e import Platform, is_ready, platform_values
from support import wait_until

MODULE = "academy_api/__init__.py"
SAID = "the saved file runs"
SECONDS = 120


@pytest.fixture
def live(platform: Platform) -> Iterator[Platform]:
    """The platform as skaffold's profile kind installs it; afterwards as before."""
    platform.install(platform_values() | {"development": {"liveCode": True}})
    yield platform
    platform.install()


def artifact() -> dict[str, Any]:
    """What skaffold.yaml says of the API's image."""
    config = yaml.safe_load((ROOT / "skaffold.yaml").read_text("utf-8"))
    (found,) = (each for each in config["build"]["artifacts"] if each["image"] == "academy-api")
    return dict(found)


def api_pod(platform: Platform) -> dict[str, Any]:
    """The one that serves."""
    (pod,) = platform.run.pods("app.kubernetes.io/component=api")
    return pod


def started(pod: dict[str, Any]) -> int:
    """How often its process was started again."""
    (status,) = pod["status"]["containerStatuses"]
    return int(status["restartCount"])


def test_a_saved_file_runs_in_the_pod_that_is_there(live: Platform) -> None:
    sync = artifact()["sync"]
    (rule,) = (each for each in sync["manual"] if each["src"].startswith("services/api/"))
    (restart,) = sync["hooks"]["after"]
    before = api_pod(live)
    name = before["metadata"]["name"]
    saved = (ROOT / rule["strip"] / MODULE).read_text("utf-8") + f'\nprint("{SAID}", flush=True)\n'
    live.run("exec", "-i", name, "--", "sh", "-c", f"cat >{rule['dest']}/{MODULE}", content=saved)
    live.run("exec", name, "--", *restart["container"]["command"])

    def anew() -> bool:
        """One picture of the pod says both: its Deployment goes on to be Available until it has heard of the end."""
        pod = api_pod(live)
        return started(pod) > started(before) and is_ready(pod)

    wait_until(anew, SECONDS, "the process was started again and is ready")
    live.run.await_condition("deployment/academy-api", "Available")
    after = api_pod(live)
    assert (after["metadata"]["uid"], started(after)) == (before["metadata"]["uid"], started(before) + 1)
    assert SAID in live.run("logs", name)
    with live.director() as director:  # who signs in and is answered, by the new process
        director.under_way()
