"""Uninstalling leaves what Retain says and nothing else, in whichever order the two charts go."""

from pathlib import Path

import platform_e2e
import pytest
from cluster.kubectl import Kubectl
from platform_e2e import NAMESPACE, QUEUES, Platform
from support import wait_until

SECONDS = 300
KINDS = "deployments,replicasets,jobs,pods,services,configmaps,networkpolicies,serviceaccounts,roles,rolebindings"
OWN = (
    "scaledobjects.keda.sh,triggerauthentications.keda.sh,queues.academy.hakwonplus.com,buckets.academy.hakwonplus.com"
)
CLUSTER_WIDE = (
    "clusterroles,clusterrolebindings,priorityclasses,validatingadmissionpolicies,validatingadmissionpolicybindings"
)
CHARTS = ("academy", "academy-operator")
BUCKETS = ("academy-video", "academy-ai", "academy-backup")


def left(run: Kubectl, kinds: str, *releases: str) -> list[str]:
    """What these releases still have."""
    selector = f"app.kubernetes.io/instance in ({', '.join(releases)})"
    return run("get", kinds, "-l", selector, "-o", "name", "--ignore-not-found").split()


@pytest.mark.parametrize("order", [CHARTS, CHARTS[::-1]], ids="-then-".join)
def test_uninstalled_and_installed_again(
    platform: Platform, run: Kubectl, order: tuple[str, str], lecture: Path
) -> None:
    """The queues and buckets stay with what they hold; a new installation takes them over when told to, and works."""
    with platform.director() as director:
        kept = platform_e2e.publish(director, lecture, "남는 강의")
    for release in order:
        platform.helm.uninstall(release, SECONDS)
    # helm waits for the objects it made; what those made is collected later, and pods take their grace period.
    inside = run.within(NAMESPACE)
    wait_until(lambda: left(inside, f"{KINDS},{OWN}", *CHARTS) == [], SECONDS, "nothing of theirs is left")
    assert left(run, CLUSTER_WIDE, *CHARTS) == []
    crds = run("get", "crds", "-o", "name").split()
    assert {name for name in crds if "academy" in name} == {
        f"customresourcedefinition.apiextensions.k8s.io/{kind}.academy.hakwonplus.com" for kind in ("queues", "buckets")
    }
    assert {url.rpartition("/")[2] for url in platform.sqs().list_queues()["QueueUrls"]} >= set(QUEUES.values())
    names = {bucket["Name"] for bucket in platform.s3().list_buckets()["Buckets"]}
    assert names >= set(BUCKETS)
    values = platform_e2e.platform_values()
    values["queues"] = {name: {**values["queues"][name], "adoption": "Adopt"} for name in QUEUES}
    values["r2"] = {"buckets": {name.removeprefix("academy-"): {"adoption": "Adopt"} for name in BUCKETS}}
    platform.install_operator()
    platform.install(values)
    with platform.director() as director:
        assert director.detail(kept)["state"] == "ready"
        director.delete(kept)
