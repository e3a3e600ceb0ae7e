"""The test cluster itself: two nodes that take pods, DNS, metrics, and KEDA that scales from zero and back."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from cluster import images, provider
from cluster.kubectl import Kubectl, Refused
from support import wait_until

ACCOUNT = "123456789012"
WAIT_SECONDS = 120
END_SECONDS = 300
MESSAGES = 5


def pod_template(labels: dict[str, str], image: str, **container: Any) -> dict[str, Any]:
    spec = {
        "terminationGracePeriodSeconds": 1,
        "enableServiceLinks": False,
        "containers": [{"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", **container}],
    }
    return {"metadata": {"labels": labels}, "spec": spec}


def deployment(name: str, template: dict[str, Any], replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": template["metadata"]["labels"]},
            "template": template,
        },
    }


@pytest.fixture(scope="module")
def here(run: Kubectl) -> Iterator[Kubectl]:
    """A namespace of this module's own."""
    run("create", "namespace", "cluster-test")
    yield run.within("cluster-test")
    run("delete", "namespace", "cluster-test", timeout=END_SECONDS)


@pytest.fixture(scope="module")
def emulator(cluster: provider.Provider, here: Kubectl) -> Any:
    """SQS in the cluster; a client of it."""
    cluster.load(images.archive("stand-in-emulator"))
    labels = {"app": "emulator"}
    ready = {"httpGet": {"path": "/moto-api/", "port": 5000}, "periodSeconds": 1}
    template = pod_template(labels, images.reference("stand-in-emulator"), readinessProbe=ready)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "emulator"},
        "spec": {"selector": labels, "ports": [{"port": 5000}]},
    }
    here.apply(deployment("emulator", template, 1), service)
    here.await_condition("deployment/emulator", "Available")
    return boto3.client(
        "sqs",
        endpoint_url=f"http://{here.await_service('emulator')}",
        region_name="ap-northeast-2",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def test_two_nodes_share_pods_and_reach_each_other(here: Kubectl, emulator: Any) -> None:
    """Pods on both nodes find a Service by its name and read it across the nodes."""
    del emulator
    labels = {"app": "caller"}
    call = "import urllib.request as u; assert u.urlopen('http://emulator:5000/moto-api/', timeout=10).status == 200"
    template = pod_template(labels, images.reference("stand-in-emulator"), command=["sleep", "600"])
    template["spec"]["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": labels},
        }
    ]
    here.apply(deployment("caller", template, 2))
    here.await_condition("deployment/caller", "Available")
    pods = here.pods("app=caller")
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2
    for pod in pods:
        here("exec", pod["metadata"]["name"], "--", "python", "-c", call)
    here("delete", "deployment", "caller")


def test_metrics_are_served(here: Kubectl) -> None:
    def shown() -> bool:
        try:
            return "node" in here("top", "nodes", "--no-headers")
        except Refused:  # nothing is measured yet
            return False

    wait_until(shown, WAIT_SECONDS, "kubectl top nodes")


def test_keda_scales_from_zero_to_five_and_back(here: Kubectl, emulator: Any) -> None:
    url = emulator.create_queue(QueueName="jobs")["QueueUrl"]
    endpoint = "http://emulator.cluster-test.svc.cluster.local:5000"
    template = pod_template({"app": "worker"}, images.reference("stand-in-emulator"), command=["sleep", "infinity"])
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "aws"},
        "stringData": {"id": "test", "key": "test"},
    }
    authentication = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": {"name": "aws"},
        "spec": {
            "secretTargetRef": [
                {"parameter": "awsAccessKeyID", "name": "aws", "key": "id"},
                {"parameter": "awsSecretAccessKey", "name": "aws", "key": "key"},
            ]
        },
    }
    trigger = {
        "type": "aws-sqs-queue",
        "authenticationRef": {"name": "aws"},
        "metadata": {
            "queueURL": f"{endpoint}/{ACCOUNT}/jobs",
            "queueLength": "1",
            "awsRegion": "ap-northeast-2",
            "awsEndpoint": endpoint,
        },
    }
    behaviour = {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}}}
    scaled = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "worker"},
        "spec": {
            "scaleTargetRef": {"name": "worker"},
            "minReplicaCount": 0,
            "maxReplicaCount": MESSAGES,
            "pollingInterval": 1,
            "cooldownPeriod": 5,
            "advanced": {"horizontalPodAutoscalerConfig": behaviour},
            "triggers": [trigger],
        },
    }
    here.apply(deployment("worker", template, 0), secret, authentication, scaled)
    here.await_condition("scaledobject/worker", "Ready")
    assert here.pods("app=worker") == []

    def ready() -> int:
        return int(here.get("deployment", "worker")["status"].get("readyReplicas", 0))

    for number in range(MESSAGES):
        emulator.send_message(QueueUrl=url, MessageBody=str(number))
    wait_until(lambda: ready() == MESSAGES, WAIT_SECONDS, "a pod for each message")
    emulator.purge_queue(QueueUrl=url)
    wait_until(lambda: not here.get("pods", "-l", "app=worker")["items"], WAIT_SECONDS, "no pod for no message")
