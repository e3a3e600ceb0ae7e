"""The platform in the test cluster, installed by its charts as users install it, and how tests reach it."""

import base64
import csv
import io
import json
import shlex
import signal
import socket
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
from cluster import helm, images, kubectl, provider

from academy_local import client
from academy_local import sample as drawing

CHARTS = images.ROOT / "charts"
NAMESPACE = "academy"
SERVED = ("academy-api", "academy-video", "academy-ai", "academy-operator", "academy-pgbouncer")
STAND_INS = ("stand-in-postgres", "stand-in-emulator")
ACCOUNT = "123456789012"
QUEUES = {
    "video": "academy-video-jobs",
    "lite": "academy-ai-jobs-lite",
    "basic": "academy-ai-jobs-basic",
    "premium": "academy-ai-jobs-premium",
}
WORKERS = {"video": "academy-video-worker", "cpu": "academy-ai-worker-cpu", "premium": "academy-ai-worker-gpu"}
DATABASE_POD = "academy-dev-postgres-0"
INSTALL_SECONDS = 420
REMOVE_SECONDS = 300
VISIBILITY_SECONDS = 60
PUBLISH_SECONDS = 300.0
KILL_SECONDS = 60.0
KILL = """
others=""
for process in /proc/[0-9]*; do
  pid=${process#/proc/}
  if [ "$pid" != 1 ] && [ "$pid" != $$ ]; then others="$others $pid"; fi
done
echo $others
kill -9 $others
"""
"""For a shell in a pod, whose processes share a namespace: all but itself and the pause container's, which is 1."""


def dev_values() -> dict[str, Any]:
    """charts/academy-dev with the stand-ins that are built here."""
    return {
        "postgres": {"image": images.reference("stand-in-postgres")},
        "emulator": {"image": images.reference("stand-in-emulator")},
        "store": {"image": images.reference("stand-in-emulator")},
    }


def operator_values() -> dict[str, Any]:
    """charts/academy-operator with our image."""
    return {"image": {"registry": images.REGISTRY, "tag": images.tag("academy-operator")}}


def platform_values() -> dict[str, Any]:
    """charts/academy with our images; queues watched every second and bells of killed workers soon back."""
    worker = {"pollingSeconds": 1, "cooldownSeconds": 10, "taskLimitSeconds": 15}
    return {
        "images": {
            "registry": images.REGISTRY,
            "api": {"tag": images.tag("academy-api")},
            "pgbouncer": {"tag": images.tag("academy-pgbouncer")},
            "video": {"tag": images.tag("academy-video")},
            "ai": {"tag": images.tag("academy-ai")},
        },
        "workers": {"video": worker, "aiCpu": worker},
        "queues": {name: {"visibilityTimeout": VISIBILITY_SECONDS} for name in QUEUES},
    }


@dataclass(frozen=True)
class Platform:
    """An installed platform."""

    run: kubectl.Kubectl
    helm: helm.Helm

    def install_backends(self) -> None:
        """Postgres and the emulator, as charts/academy-dev has them."""
        self.helm.upgrade("academy-dev", CHARTS / "academy-dev", values=dev_values(), seconds=INSTALL_SECONDS)

    def install_operator(self) -> None:
        """The operator and its resource definitions."""
        chart = CHARTS / "academy-operator"
        self.helm.upgrade("academy-operator", chart, chart / "values-dev.yaml", values=operator_values())

    def install(self, values: dict[str, Any] | None = None, *, wait: bool = True) -> None:
        """The platform itself; also its upgrade."""
        chart = CHARTS / "academy"
        own = values if values is not None else platform_values()
        self.helm.upgrade("academy", chart, chart / "values-dev.yaml", values=own, wait=wait, seconds=INSTALL_SECONDS)

    def remove(self, crds: Collection[str]) -> None:
        """All of it, with these resource definitions, which the charts keep, and the namespace."""
        options = ("--ignore-not-found", "--wait", "--timeout", f"{REMOVE_SECONDS}s")
        self.helm("uninstall", "academy", *options, timeout=2 * REMOVE_SECONDS)
        for crd in sorted(crds):
            # While the operator is there, which unmakes what a resource is to take with it.
            kind = crd.partition("/")[2]
            self.run("delete", kind, "--all", timeout=REMOVE_SECONDS)
        self.helm("uninstall", "academy-operator", "academy-dev", *options, timeout=2 * REMOVE_SECONDS)
        for crd in sorted(crds):
            self.run("delete", crd, timeout=REMOVE_SECONDS)
        self.run("delete", "namespace", NAMESPACE, timeout=REMOVE_SECONDS)

    def secret(self, name: str) -> dict[str, str]:
        """A Secret's values."""
        data = self.run.get("secret", name)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def address(self, service: str) -> str:
        """A Service's address in the cluster; the host routes there."""
        return str(self.run.get("service", service)["spec"]["clusterIP"])

    @contextmanager
    def names(self) -> Iterator[None]:
        """This process finds the cluster's Services by their short names, as a pod would."""
        real = socket.getaddrinfo

        def resolve(host: Any, *rest: Any, **more: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else host
            own = isinstance(name, str) and name.startswith("academy-")
            return real(self.address(name) if own else host, *rest, **more)

        with mock.patch("socket.getaddrinfo", resolve):
            yield

    @contextmanager
    def director(self) -> Iterator[client.Client]:
        """A client of the public API, signed in as the first director."""
        first = self.secret("academy-bootstrap")
        with self.names(), client.Client("http://academy-api:8000") as found:
            found.sign_in(first["email"], first["password"])
            yield found

    def signed_in(self, director: client.Client) -> tuple[str, dict[str, str]]:
        """The API's address and the headers of a director's session, for other clients of it."""
        http = director._http
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in http.cookies.jar)
        headers = {"Host": "academy-api:8000", "Cookie": cookies, "X-CSRFToken": http.headers["X-CSRFToken"]}
        return f"http://{self.address('academy-api')}:8000", headers

    def sqs(self) -> Any:
        """SQS, as somebody outside sees it."""
        return self._sqs

    @cached_property
    def _sqs(self) -> Any:
        """One client: making one takes longer than what it is asked for."""
        return self._aws("sqs", "academy-dev-emulator", 5000, "ap-northeast-2")

    def s3(self) -> Any:
        """The stand-in of R2."""
        return self._aws("s3", "academy-dev-store", 8333, "auto")

    def _aws(self, service: str, at: str, port: int, region: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=f"http://{self.address(at)}:{port}",
            region_name=region,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def query(self, question: str, **values: str) -> list[dict[str, str]]:
        """Ask the platform's database, as its administrator; `:'name'` stands for a value. Rows by their columns."""
        given = " ".join(shlex.quote(f"--set={name}={value}") for name, value in values.items())
        psql = '"$(ls -d /usr/lib/postgresql/*/bin)/psql" --host=/tmp --username=postgres --dbname=academy --csv'
        command = f"{psql} --set=ON_ERROR_STOP=1 {given}"
        told = self.run("exec", "-i", DATABASE_POD, "--", "sh", "-c", command, content=question)
        return list(csv.DictReader(io.StringIO(told)))

    def depth(self, queue: str) -> int:
        """Messages of a queue: those that wait, are in flight or hidden, are delayed."""
        sqs = self.sqs()
        url = sqs.get_queue_url(QueueName=QUEUES[queue])["QueueUrl"]
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return sum(int(counts[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible", "Delayed"))

    @contextmanager
    def cut_off(self, service: str) -> Iterator[None]:
        """A Service leads nowhere for as long as the context lasts; its pod keeps all it holds."""

        def lead(nowhere: str | None) -> None:
            patch = json.dumps({"spec": {"selector": {"nowhere": nowhere}}})
            self.run("patch", "service", service, "--type=merge", "-p", patch)
            self.run.await_service(service, leads=nowhere is None)

        lead("yes")
        try:
            yield
        finally:
            lead(None)

    def available(self, deployment: str) -> bool:
        """Whether it is now: nobody waits for it."""
        conditions = self.run.get("deployment", deployment)["status"]["conditions"]
        return any((each["type"], each["status"]) == ("Available", "True") for each in conditions)

    def replicas(self, worker: str) -> int:
        """What KEDA wants of a worker now."""
        return int(self.run.get("deployment", WORKERS[worker])["spec"]["replicas"])

    def workers(self, worker: str) -> list[dict[str, Any]]:
        """Its pods, those on their way out included."""
        component = WORKERS[worker].removeprefix("academy-")
        found: list[dict[str, Any]] = self.run.get("pods", "-l", f"app.kubernetes.io/component={component}")["items"]
        return found

    def running(self, worker: str) -> list[dict[str, Any]]:
        """Its pods that run and may go on."""
        return [
            pod
            for pod in self.workers(worker)
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    def kill(self, pod: dict[str, Any]) -> bool:
        """SIGKILL to the pod's own processes, as the kernel does when memory ends; whether they were there.

        The shell that sends it often ends with them, and what it said may be lost then.
        """
        name = pod["metadata"]["name"]
        command = [*self.run.command(), "exec", name, "--", "sh", "-c", KILL]
        told = subprocess.run(command, capture_output=True, text=True, timeout=KILL_SECONDS, check=False)
        return told.returncode in {0, 128 + signal.SIGKILL} or told.stdout != ""

    def evict(self, pod: dict[str, Any]) -> None:
        """What `kubectl drain` and Karpenter do: SIGTERM, and the grace period of the pod."""
        name = pod["metadata"]["name"]
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": NAMESPACE}}
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
        self.run("create", "--raw", path, "-f", "-", content=json.dumps(body))


@contextmanager
def prepared(cluster: provider.Provider) -> Iterator[Platform]:
    """Every image on the nodes, and a namespace that admits only restricted pods, which goes with all that it got."""
    for name in (*SERVED, *STAND_INS):
        cluster.load(images.archive(name))
    run = kubectl.Kubectl(cluster.kubeconfig, NAMESPACE)
    before = definitions(run)
    run("create", "namespace", NAMESPACE)
    found = Platform(run, helm.Helm(cluster.kubeconfig, NAMESPACE))
    try:
        run("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        yield found
    finally:
        found.remove(definitions(run) - before)


def definitions(run: kubectl.Kubectl) -> set[str]:
    """The resource definitions of ours that the cluster has."""
    return {name for name in run("get", "crds", "-o", "name").split() if name.endswith(".academy.hakwonplus.com")}


def describe(run: kubectl.Kubectl) -> str:
    """What a person would look at when something is wrong."""
    parts = [run("get", "pods", "-o", "wide"), run("get", "events", "--sort-by=.lastTimestamp")[-6000:]]
    for pod in run.get("pods")["items"]:
        statuses = pod["status"].get("initContainerStatuses", []) + pod["status"].get("containerStatuses", [])
        for status in statuses:
            if not status["ready"] and "terminated" not in status["state"]:
                name = pod["metadata"]["name"]
                parts.append(f"== {name} {status['name']} {status['state']}")
                try:
                    parts.append(run("logs", name, "-c", status["name"], "--tail=30"))
                except kubectl.Refused as refused:
                    parts.append(str(refused))
    return "\n".join(parts)


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether it is."""
    return any((each["type"], each["status"]) == ("Ready", "True") for each in pod["status"].get("conditions", ()))


def publish(director: client.Client, file: Path, title: str) -> str:
    """Upload a lecture and wait until it is ready; its id. Refused when it fails."""
    lecture = director.create(file, title)
    director.upload(lecture, file)
    for _ in director.watch(lecture, PUBLISH_SECONDS):
        pass
    return lecture


def sample(folder: Path, seconds: int = 20) -> Path:
    """A lecture of some seconds."""
    target = folder / f"sample-{seconds}.mp4"
    drawing.make(target, seconds, size="640:360", rate=25)
    return target
