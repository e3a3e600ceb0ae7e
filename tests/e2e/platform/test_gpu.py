"""The premium worker has the GPU node for itself and does its work there; its retries leave the node alone.

The GPU is a number in the node's status: nothing computes on it. The worker is `stand_ins/premium.Dockerfile`, all of
the real one but PyTorch; under ACADEMY_SOAK=1 also the real image, with PyTorch on the node's processor.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import platform_e2e
import pytest
import speech_made
from cluster import images, provider
from cluster.kubectl import Kubectl
from platform_e2e import Platform, is_ready
from support import wait_until

from academy_local import client

GPU = "nvidia.com/gpu"
TAINT = f"{GPU}=true:NoSchedule"
POOL = "academy.hakwonplus.com/pool"
STAND_IN, REAL = "stand-in-premium", "academy-ai-gpu"
WORKERS = [STAND_IN, *([REAL] if os.environ.get("ACADEMY_SOAK") == "1" else [])]
LIMITS = {STAND_IN: "512Mi", REAL: "6Gi"}
LECTURE_SECONDS = 20
SAID = "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
HEARD = {STAND_IN: {"heard", f"{LECTURE_SECONDS}s"}, REAL: {"fellow", "americans", "country"}}
"""Words that the subtitles must have."""
UP_SECONDS = 90
WORK_SECONDS = 600
BACK_SECONDS = 180
RETRY_SECONDS = 60
"""Longer than the first backoff of 2.5 to 5 s: within that one a busy machine hardly looks once."""
LOOK_SECONDS = 0.5
OTHERS = 4


@dataclass(frozen=True)
class GpuNode:
    """The last node: one GPU, the label of the pool and the taint that keeps others away, once it has joined."""

    run: Kubectl
    name: str
    before: set[str] = field(default_factory=set)
    """Pods that were there when it joined."""

    def join(self) -> None:
        """What a new node of the pool tells the cluster, the GPU last, as NVIDIA's device plug-in does."""
        self.run("taint", "node", self.name, TAINT)
        self.before.update(pod["metadata"]["uid"] for pod in self._pods())
        self.run("label", "node", self.name, f"{POOL}=gpu")
        self._patch("add")

    def leave(self) -> None:
        """As any other node again."""
        self._patch("remove")
        self.run("label", "node", self.name, f"{POOL}-")
        self.run("taint", "node", self.name, f"{TAINT}-")

    def newcomers(self) -> set[str]:
        """Components of the pods that came after it had joined, whoever they belong to."""
        new = [pod["metadata"] for pod in self._pods() if pod["metadata"]["uid"] not in self.before]
        return {pod.get("labels", {}).get("app.kubernetes.io/component", pod["name"]) for pod in new}

    def _pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.run.get("pods", "-A", "--field-selector", f"spec.nodeName={self.name}")[
            "items"
        ]
        return found

    def _patch(self, op: str) -> None:
        paths = (f"/status/{kind}/nvidia.com~1gpu" for kind in ("capacity", "allocatable"))
        patch = [{"op": op, "path": path, **({"value": "1"} if op == "add" else {})} for path in paths]
        self.run("patch", "node", self.name, "--subresource=status", "--type=json", "-p", json.dumps(patch))


@pytest.fixture
def gpu_node(run: Kubectl) -> Iterator[GpuNode]:
    """Has yet to join."""
    node = GpuNode(run, run.get("nodes")["items"][-1]["metadata"]["name"])
    yield node
    if node.before:
        node.leave()


def others(image: str) -> dict[str, Any]:
    """Pods of somebody else, who has not heard of GPUs."""
    container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "infinity"]}
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


def values(image: str) -> dict[str, Any]:
    """The platform with that premium worker."""
    own = platform_e2e.platform_values()
    own["images"]["aiGpu"] = {"repository": image, "tag": images.tag(image)}
    own["workers"]["aiGpu"] = {
        "enabled": True,
        "pollingSeconds": 1,
        "cooldownSeconds": 5,
        "taskLimitSeconds": 5,
        "shutdownGraceSeconds": 5,
        "env": {"TRANSCRIBE_ENGINE": "torch"},
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi", GPU: "1"},
            "limits": {"memory": LIMITS[image], GPU: "1"},
        },
    }
    return own


@dataclass(frozen=True)
class Subtitled:
    """A ready lecture, and the subtitles that the premium worker is to write."""

    platform: Platform
    director: client.Client
    id: str

    def ask(self) -> None:
        """Have them written; what an earlier analysis wrote is replaced."""
        self._call("POST", "transcription", {"language": "en", "translate": False})

    def done(self) -> bool:
        """Whether they are in the playlists. Fails when the analysis does."""
        found = self._call("GET", "tracks")
        assert {each["state"] for each in found["analyses"]} <= {"running", "done"}, found
        shown = [(each["what"], each["language"]) for each in found["tracks"] if each["published"]]
        return found["analyses"][0]["state"] == "done" and shown == [("subtitles", "en")]

    def words(self) -> set[str]:
        """What they say."""
        text = self.director._http.get(f"/api/v1/lectures/{self.id}/subtitles/en").raise_for_status().text
        return {word.strip(".,").lower() for word in text.split()}

    def tasks(self) -> list[dict[str, str]]:
        """The tasks of the present analysis; times in seconds."""
        return self.platform.query(
            "SELECT t.kind, t.state, t.attempt, t.failures, t.crashes, t.worker,"
            " extract(epoch FROM t.ready_at) AS ready, extract(epoch FROM t.claimed_at) AS claimed,"
            " extract(epoch FROM t.finished_at) AS finished,"
            " (SELECT extract(epoch FROM max(o.send_after) - ledger_now()) FROM ledger_outbox o"
            " WHERE o.task = t.id) AS bell_in"
            " FROM ledger_task t JOIN tracks_analysis a ON a.job = t.job_id"
            " JOIN lectures_publication p ON p.id = a.publication_id WHERE p.lecture_id = :'id' ORDER BY t.id",
            id=self.id,
        )

    def finished(self) -> float:
        """When the last of them ended, seconds since the epoch."""
        return max(float(task["finished"]) for task in self.tasks())

    def revisions(self) -> list[dict[str, str]]:
        """Of every track: how often it was written."""
        return self.platform.query(
            "SELECT t.language, t.revision FROM tracks_track t JOIN lectures_publication p"
            " ON p.id = t.publication_id WHERE p.lecture_id = :'id'",
            id=self.id,
        )

    def _call(self, method: str, what: str, body: Any = None) -> dict[str, Any]:
        return self.director._call(method, f"/api/v1/lectures/{self.id}/{what}", json=body)


def record(folder: Path) -> Path:
    """A lecture in which somebody speaks: a recording where there is the reference data, else a made voice."""
    sound = speech_made.reference("jfk.flac") or speech_made.write(folder / "speech.wav", speech_made.say(SAID))
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=640x360:rate=25", "-i", str(sound)]
    command += ["-shortest", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    subprocess.run([*command, str(folder / "spoken.mp4")], check=True)
    return folder / "spoken.mp4"


@pytest.fixture
def subtitled(
    platform: Platform, director: client.Client, image: str, lecture: Path, tmp_path: Path
) -> Iterator[Subtitled]:
    """Published, with the premium worker of that image installed; afterwards neither is left."""
    made = platform_e2e.publish(director, lecture if image == STAND_IN else record(tmp_path), "자막을 만들 강의")
    platform.install(values(image), wait=False)
    yield Subtitled(platform, director, made)
    director.delete(made)
    platform.install()


@pytest.fixture(params=[STAND_IN])
def image(request: pytest.FixtureRequest, cluster: provider.Provider, gpu_node: GpuNode) -> str:
    """The premium worker's, on the node that needs it."""
    name = str(request.param)
    cluster.load(images.archive(name), only=gpu_node.name)
    return name


def places(platform: Platform) -> set[str]:
    """Nodes of the premium workers; empty for one that has none."""
    return {pod["spec"].get("nodeName", "") for pod in platform.workers("premium")}


def unplaced(platform: Platform) -> bool:
    """Whether a premium worker is there for which there is no node."""
    conditions = [each for pod in platform.workers("premium") for each in pod["status"].get("conditions", ())]
    return any(each["type"] == "PodScheduled" and each.get("reason") == "Unschedulable" for each in conditions)


@contextmanager
def followed(run: Kubectl, pod: str, file: Path) -> Iterator[None]:
    """What a pod says goes into the file as long as the context lasts: nobody knows how long the pod does."""
    with file.open("w", encoding="utf-8") as log:
        following = subprocess.Popen([*run.command(), "logs", "--follow", pod], stdout=log)
    try:
        yield
    finally:
        following.terminate()
        following.wait()


@pytest.mark.parametrize("image", WORKERS, indirect=True)
def test_premium_work_has_the_gpu_node_for_itself(
    platform: Platform, gpu_node: GpuNode, subtitled: Subtitled, image: str, tmp_path: Path
) -> None:
    """No pod → subtitles are asked for → a pod waits for a GPU → it has one and works, alone → no pod."""
    assert platform.workers("premium") == []
    subtitled.ask()
    wait_until(lambda: unplaced(platform), UP_SECONDS, "a premium worker waits for a GPU node")
    joined = time.monotonic()
    gpu_node.join()
    wait_until(lambda: places(platform) == {gpu_node.name}, UP_SECONDS, "the premium worker is on the GPU node")
    placed = time.monotonic() - joined
    platform.run.apply(others(images.reference("academy-pgbouncer")))
    try:
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = ready(platform)
            return found != []

        wait_until(look, WORK_SECONDS, "the premium worker is ready")
        (pod,) = found
        with followed(platform.run, pod["metadata"]["name"], tmp_path / "log"):
            assert gpu_node.newcomers() == {"ai-worker-gpu"}
            # All of them: Available is said of three already.
            rolled = ("rollout", "status", "deployment/others", f"--timeout={UP_SECONDS}s")
            platform.run(*rolled, timeout=2 * UP_SECONDS)
            nodes = [other["spec"]["nodeName"] for other in platform.run.pods("app=others")]
            assert len(nodes) == OTHERS
            assert gpu_node.name not in nodes
            wait_until(subtitled.done, WORK_SECONDS, "the lecture has its subtitles")
        log = (tmp_path / "log").read_text(encoding="utf-8")
        assert "SQS_JOB_COMPLETED" in log
        assert "CHILD_NOT_FULLY_CONFINED" not in log, "a container takes nothing from the child's confinement"
        assert gpu_node.newcomers() <= {"ai-worker-gpu"}
    finally:
        platform.run("delete", "deployment", "others", "--ignore-not-found")
    wait_until(lambda: platform.replicas("premium") == 0, BACK_SECONDS, "KEDA wants no premium worker")
    unwanted = time.time()
    wait_until(lambda: platform.workers("premium") == [], BACK_SECONDS, "no premium worker is left")
    done_once(platform, subtitled, image)
    assert {task["worker"] for task in subtitled.tasks()} == {pod["metadata"]["name"]}
    parts = way(platform, pod, subtitled.tasks()) | {"node with label, taint and GPU → scheduled": f"{placed:.1f} s"}
    parts["done → KEDA wants none"] = f"{unwanted - subtitled.finished():.1f} s"
    print(f"{image}: " + "; ".join(f"{part}: {took}" for part, took in parts.items()))  # noqa: T201  (a measurement)


def test_a_premium_retry_leaves_the_node_alone(
    platform: Platform, gpu_node: GpuNode, subtitled: Subtitled, image: str
) -> None:
    """The store is away: the task waits for its second attempt in the outbox, and no message stands for it.

    A hidden message, as SQS offers for retries, would be work to KEDA and keep a GPU node for nothing.
    """
    gpu_node.join()
    with slow_retries(platform), platform.cut_off("academy-dev-store"):
        subtitled.ask()
        rings, task = 0.0, {"failures": ""}

        def failed() -> bool:
            nonlocal rings, task
            looked = time.monotonic()
            (task,) = subtitled.tasks()
            rings = looked + float(task["bell_in"] or 0)
            return task["failures"] == "1"

        wait_until(failed, WORK_SECONDS, "the first attempt has failed")
        assert (task["state"], task["attempt"]) == ("ready", "1")
        # Its worker reports the failure first and deletes the bell then.
        wait_until(lambda: platform.depth("premium") == 0, RETRY_SECONDS / 2, "no message stands for the task")
    looks = 0
    while True:
        depth = platform.depth("premium")
        if time.monotonic() >= rings:
            break
        assert depth == 0
        looks += 1
        time.sleep(LOOK_SECONDS)
    assert looks > 0, "somebody looked before the bell"
    wait_until(subtitled.done, WORK_SECONDS, "the lecture has its subtitles")
    wait_until(lambda: platform.workers("premium") == [], BACK_SECONDS, "no premium worker is left")
    done_once(platform, subtitled, image, first=("2", "1"))
    by = "the same" if subtitled.tasks()[0]["worker"] == task["worker"] else "another"
    told = f"premium retry: {float(task['bell_in']):.1f} s later by {by} pod, queue empty at {looks} looks meanwhile"
    print(told)  # noqa: T201  (a measurement)


@contextmanager
def slow_retries(platform: Platform) -> Iterator[None]:
    """A task that fails is ready again so much later, its bell too, as the transition itself writes them."""
    platform.query(
        "CREATE FUNCTION drill_later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" NEW.ready_at := NEW.ready_at + interval '{RETRY_SECONDS} seconds'; RETURN NEW; END $$;"
        " CREATE TRIGGER drill_later BEFORE UPDATE ON ledger_task FOR EACH ROW"
        " WHEN (NEW.state = 'ready' AND NEW.failures > OLD.failures) EXECUTE FUNCTION drill_later()"
    )
    try:
        yield
    finally:
        platform.query("DROP FUNCTION drill_later CASCADE")


def done_once(platform: Platform, subtitled: Subtitled, image: str, first: tuple[str, str] = ("1", "0")) -> None:
    """Every task succeeded, without a failure at the first attempt but for what `first` says of the first one.

    Their effect is there once, and nothing of the work is left on a queue.
    """
    tasks = subtitled.tasks()
    names = [f"lecture.transcribe{step}" for step in ("", ".part", ".join")]
    assert {task["kind"]: (task["attempt"], task["failures"]) for task in tasks} == dict.fromkeys(names, ("1", "0")) | {
        names[0]: first
    }
    assert {(task["state"], task["crashes"], task["bell_in"]) for task in tasks} == {("succeeded", "0", "")}
    assert subtitled.revisions() == [{"language": "en", "revision": "1"}]
    assert subtitled.words() >= HEARD[image]
    assert platform.depth("premium") == 0


def ready(platform: Platform) -> list[dict[str, Any]]:
    """Premium workers that are."""
    return [pod for pod in platform.running("premium") if is_ready(pod)]


def way(platform: Platform, pod: dict[str, Any], tasks: list[dict[str, str]]) -> dict[str, str]:
    """How long each part of the way took; the cluster states its own in whole seconds."""
    conditions = {each["type"]: moment(each["lastTransitionTime"]) for each in pod["status"]["conditions"]}
    started = moment(pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"])
    events = platform.run.get("events", "--field-selector", f"involvedObject.name={pod['metadata']['name']}")["items"]
    pulled = next(event["message"] for event in events if event["reason"] == "Pulled")
    asked, taken = float(tasks[0]["ready"]), float(tasks[0]["claimed"])
    return {
        "task ready → pod": f"{max(0.0, moment(pod['metadata']['creationTimestamp']) - asked):.0f} s",
        "a cloud's node, its device plug-in, CUDA": "not measured, there was no GPU",
        "pull": "not measured, the image was on the node" if "already present" in pulled else pulled,
        "scheduled → process": f"{started - conditions['PodScheduled']:.0f} s",
        "process → first bell taken (code and model loaded, warm)": f"{taken - started:.0f} s",
        "process → Ready": f"{conditions['Ready'] - started:.0f} s",
        "work": f"{max(float(task['finished']) for task in tasks) - taken:.1f} s",
    }


def moment(stated: str) -> float:
    """Seconds since the epoch."""
    return datetime.fromisoformat(stated).timestamp()
