"""The premium worker has the GPU node for itself. The GPU is a number in the node's status: nothing computes on it."""

import json
from collections.abc import Iterator
from typing import Any

import platform_e2e
import pytest
from cluster import images
from cluster.kubectl import Kubectl
from platform_e2e import Platform
from support import wait_until

GPU = "nvidia.com/gpu"
TAINT = f"{GPU}=true:NoSchedule"
POOL = "academy.hakwonplus.com/pool"
UP_SECONDS = 90
BACK_SECONDS = 180
OTHERS = 4


@pytest.fixture
def gpu_node(run: Kubectl) -> Iterator[str]:
    """The last node with one GPU, the label of the pool and the taint that keeps others away."""
    node = run("get", "nodes", "-o", "name").split()[-1].removeprefix("node/")
    patch = [
        {"op": "add", "path": f"/status/{kind}/nvidia.com~1gpu", "value": "1"} for kind in ("capacity", "allocatable")
    ]
    run("patch", "node", node, "--subresource=status", "--type=json", "-p", json.dumps(patch))
    run("label", "node", node, f"{POOL}=gpu")
    run("taint", "node", node, TAINT)
    yield node
    run("taint", "node", node, f"{TAINT}-")
    run("label", "node", node, f"{POOL}-")


def others(image: str) -> dict[str, Any]:
    """Pods of somebody else, who has not heard of GPUs."""
    container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent"}
    security = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    template = {
        "metadata": {"labels": {"app": "others"}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{**container, "securityContext": security}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "others"},
        "spec": {"replicas": OTHERS, "selector": {"matchLabels": {"app": "others"}}, "template": template},
    }


def test_premium_work_has_the_gpu_node_for_itself(platform: Platform, gpu_node: str) -> None:
    values = platform_e2e.platform_values()
    values["images"]["aiGpu"] = {"repository": "academy-ai", "tag": images.tag("academy-ai")}
    values["workers"]["aiGpu"] = {
        "enabled": True,
        "command": ["sleep", "3600"],
        "pollingSeconds": 1,
        "cooldownSeconds": 5,
        "taskLimitSeconds": 5,
        "shutdownGraceSeconds": 5,
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi", GPU: "1"}, "limits": {"memory": "256Mi", GPU: "1"}},
    }
    platform.install(values, wait=False)
    sqs = platform.sqs()
    url = sqs.get_queue_url(QueueName=platform_e2e.QUEUES["premium"])["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="1")

    def nodes_of_workers() -> set[str]:
        return {pod["spec"].get("nodeName", "") for pod in platform.workers("premium")}

    try:
        wait_until(lambda: nodes_of_workers() == {gpu_node}, UP_SECONDS, "the premium worker is on the GPU node")
        platform.run.apply(others("localhost/pause:1"))
        platform.run.await_condition("deployment/others", "Available")
        placed = [pod["spec"]["nodeName"] for pod in platform.run.pods("app=others")]
        assert len(placed) == OTHERS
        assert gpu_node not in placed
    finally:
        platform.run("delete", "deployment", "others", "--ignore-not-found")
        sqs.purge_queue(QueueUrl=url)
    wait_until(lambda: platform.workers("premium") == [], BACK_SECONDS, "no premium worker is left")
    platform.install()
