"""How the workers scale (templates/*-worker*/): never a pod taken from work, never one too few, none while idle."""

import inspect
from itertools import product

import kubernetes_schemas
import pytest
import yaml
from charts_support import RENDERINGS, ROOT, Manifest, Refused, dev, quantity, render, rendering, stage

from academy_ai import kind as ai_kind
from academy_core import video
from academy_core.consumer import Consumer
from academy_core.kinds import Queue
from academy_core.settings import WorkerSettings
from academy_core.worker import run_worker

QUEUES = {
    "academy-video-worker": {"academy-video-jobs": Queue.VIDEO},
    "academy-ai-worker-cpu": {"academy-ai-jobs-basic": Queue.AI_BASIC, "academy-ai-jobs-lite": Queue.AI_LITE},
    "academy-ai-worker-gpu": {"academy-ai-jobs-premium": Queue.AI_PREMIUM},
}
WITH_GPU = [name for name in RENDERINGS if name not in {"dev", "video-alone"}]


@pytest.fixture(scope="module", params=list(product(WITH_GPU, QUEUES)), ids="-".join)
def pair(request: pytest.FixtureRequest) -> tuple[Manifest, Manifest]:
    """A worker's ScaledObject and Deployment."""
    name, worker = request.param
    release = rendering(name)
    return release.get("ScaledObject", worker), release.get("Deployment", worker)


def test_keda_and_nobody_else_owns_the_replicas(pair: tuple[Manifest, Manifest]) -> None:
    """That the first pod waits for KEDA too: tests/e2e/charts/test_first_pods.py."""
    scaled, deployment = pair
    assert "replicas" not in deployment["spec"]
    assert scaled["spec"]["scaleTargetRef"] == {"name": deployment["metadata"]["name"]}
    assert scaled["spec"]["minReplicaCount"] == 0


def test_an_error_on_a_trigger_keeps_the_replicas(pair: tuple[Manifest, Manifest]) -> None:
    """KEDA leaves them as they are only where there is no fallback at all."""
    assert "fallback" not in pair[0]["spec"]


def test_queue_length_is_what_one_pod_does_at_once(pair: tuple[Manifest, Manifest]) -> None:
    slots = inspect.signature(run_worker).parameters["slots"].default
    for trigger in pair[0]["spec"]["triggers"]:
        metadata = trigger["metadata"]
        assert metadata["queueLength"] == str(slots)
        assert metadata["scaleOnInFlight"] == "true"
        assert metadata["activationQueueLength"] == "0"
        assert trigger["useCachedMetrics"] is True


def test_triggers_are_the_queues_that_the_worker_polls(pair: tuple[Manifest, Manifest]) -> None:
    scaled, deployment = pair
    names = [trigger["metadata"]["queueURL"].rsplit("/", 1)[1] for trigger in scaled["spec"]["triggers"]]
    assert set(names) == QUEUES[deployment["metadata"]["name"]].keys()


def test_two_queues_are_added_up(pair: tuple[Manifest, Manifest]) -> None:
    scaled, _ = pair
    triggers = scaled["spec"]["triggers"]
    modifiers = scaled["spec"]["advanced"].get("scalingModifiers")
    if len(triggers) == 1:
        assert modifiers is None
    else:
        assert sorted(trigger["name"] for trigger in triggers) == ["basic", "lite"]
        assert modifiers["formula"] == "basic + lite"
        assert modifiers["target"] == triggers[0]["metadata"]["queueLength"]
        assert modifiers["activationTarget"] == "0"
        assert modifiers["metricType"] == "AverageValue"


def test_no_pod_is_taken_within_the_longest_task_of_its_queues(pair: tuple[Manifest, Manifest]) -> None:
    scaled, deployment = pair
    queues = set(QUEUES[deployment["metadata"]["name"]].values())
    kinds = [*video.KINDS, *(found.task for found in ai_kind.discover().values())]
    longest = max((kind.max_seconds for kind in kinds if kind.queue in queues), default=0)
    window = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert longest <= window["stabilizationWindowSeconds"] <= 3600


def test_the_grace_period_covers_the_task_and_the_poll_that_is_out(pair: tuple[Manifest, Manifest]) -> None:
    _, deployment = pair
    pod = deployment["spec"]["template"]["spec"]
    given = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
    poll = WorkerSettings.model_fields["SQS_WAIT_TIME_SECONDS"].default
    assert pod["terminationGracePeriodSeconds"] > float(given["SHUTDOWN_GRACE_SECONDS"]) + poll


def test_a_rollout_starts_no_pod_beside_those_that_keda_wanted(pair: tuple[Manifest, Manifest]) -> None:
    assert pair[1]["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}


def test_a_busy_worker_stays_ready(pair: tuple[Manifest, Manifest]) -> None:
    (container,) = pair[1]["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/live"
    assert "liveness" in inspect.signature(Consumer.__init__).parameters  # what /live answers from


def test_installing_and_upgrading_start_no_gpu_pod() -> None:
    for number in (1, 2, 3):
        release = stage(number)
        assert release.get("ScaledObject", "academy-ai-worker-gpu")["spec"]["minReplicaCount"] == 0
        asking = [name for name, box in release.containers() if "nvidia.com/gpu" in str(box["resources"])]
        assert asking == ["academy-ai-worker-gpu/worker"]


def test_the_gpu_worker_fits_a_g4dn_xlarge_after_daemonsets() -> None:
    """4 CPUs, 16 GiB. EKS reserves 80m CPU and some 1.4 GiB (kubelet, eviction); DaemonSets ask for 0.4 and 0.5 GiB."""
    pod = stage(1).get("Deployment", "academy-ai-worker-gpu")["spec"]["template"]["spec"]
    requests = pod["containers"][0]["resources"]["requests"]
    assert quantity(requests["cpu"]) <= 4 - 0.08 - 0.4
    assert quantity(requests["memory"]) <= (16 - 1.4 - 0.5) * 2**30
    assert requests["nvidia.com/gpu"] == pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_nothing_else_tolerates_a_gpu_nodes_taint() -> None:
    release = stage(3)
    tolerant = [name for name, pod in release.pods() if pod["spec"].get("tolerations")]
    assert tolerant == ["academy-ai-worker-gpu"]
    gpu = release.get("Deployment", "academy-ai-worker-gpu")["spec"]["template"]["spec"]
    assert gpu["nodeSelector"], "or it could sit on a node without a GPU for want of one"


def test_a_worker_hides_a_bell_as_long_as_the_shortest_of_its_queues_says() -> None:
    release = dev(queues__video__visibilityTimeout=90, queues__lite__visibilityTimeout=70)
    for worker, seconds in {"academy-video-worker": "90", "academy-ai-worker-cpu": "70"}.items():
        (container,) = release.get("Deployment", worker)["spec"]["template"]["spec"]["containers"]
        assert {"name": "SQS_VISIBILITY_TIMEOUT_SECONDS", "value": seconds} in container["env"]


def test_workers_have_their_own_secret_and_no_aws_key() -> None:
    release = stage(1)
    secrets = {}
    for name in QUEUES:
        (container,) = release.get("Deployment", name)["spec"]["template"]["spec"]["containers"]
        secrets[name] = [source["secretRef"]["name"] for source in container["envFrom"] if "secretRef" in source]
    assert all(len(found) == 1 for found in secrets.values())
    assert len({found[0] for found in secrets.values()}) == len(QUEUES)


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "R2_SECRET_KEY", "INTERNAL_WORKER_TOKEN", "MY_PASSWORD"])
def test_credentials_cannot_be_put_into_values(name: str) -> None:
    with pytest.raises(Refused, match=f"invalid propertyName '{name}'"):
        dev(workers__video__env={name: "x"})


def test_a_queue_url_is_that_of_its_account_and_region() -> None:
    (trigger,) = stage(1).get("ScaledObject", "academy-video-worker")["spec"]["triggers"]
    url = "https://sqs.ap-northeast-2.amazonaws.com/111122223333/academy-video-jobs"
    assert trigger["metadata"]["queueURL"] == url
    assert "awsEndpoint" not in trigger["metadata"]


def test_queues_and_buckets_keep_what_they_hold() -> None:
    release = stage(3)
    assert set(release.of("Queue")) == {name for queues in QUEUES.values() for name in queues}
    assert set(release.of("Bucket")) == {"academy-video", "academy-ai", "academy-backup"}
    for manifest in (*release.of("Queue").values(), *release.of("Bucket").values()):
        assert manifest["spec"]["deletionPolicy"] == "Retain"
        assert manifest["spec"]["adoption"] == "Refuse"
    assert "cors" not in release.get("Bucket", "academy-backup")["spec"]
    assert release.get("Bucket", "academy-video")["spec"]["cors"][0]["allowedOrigins"] == ["https://academy.example"]
    for queue in release.of("Queue").values():
        assert queue["spec"]["deadLetter"]["maxReceiveCount"] == 20


def test_a_disabled_worker_leaves_nothing_behind() -> None:
    release = render("values-stage-1.yaml", "../../tests/charts/site.yaml", sets={"workers.aiGpu.enabled": False})
    left = [manifest for manifest in release.all if manifest["metadata"]["name"] == "academy-ai-worker-gpu"]
    assert left == []
    subjects = release.get("RoleBinding", "academy-deletion-cost")["subjects"]
    assert [subject["name"] for subject in subjects] == ["academy-ai-worker-cpu", "academy-video-worker"]


def test_the_device_plugin_runs_on_gpu_nodes_alone_and_fits_beside_the_worker() -> None:
    plugin = yaml.safe_load((ROOT / "k8s" / "gpu" / "device-plugin.yaml").read_text())
    assert kubernetes_schemas.faults(plugin, "1.34") == kubernetes_schemas.faults(plugin, "1.36") == []
    pod = plugin["spec"]["template"]["spec"]
    worker = stage(1).get("Deployment", "academy-ai-worker-gpu")["spec"]["template"]["spec"]
    assert (pod["nodeSelector"], pod["tolerations"]) == (worker["nodeSelector"], worker["tolerations"])
    assert quantity(pod["containers"][0]["resources"]["requests"]["cpu"]) < 0.1
