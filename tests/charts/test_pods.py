"""Policies over every pod: Pod Security "restricted", least privilege, resources, no secret in the open.

And what a container starts is there, and its variables are settings of that process.
"""

import importlib.util
import re

import pytest
from charts_support import RENDERINGS, Manifest, Release, render, rendering

from academy_core import settings

TOKENS = {"academy-video-worker", "academy-ai-worker-cpu", "academy-ai-worker-gpu", "academy-operator"}
"""Whose pods speak to the kube-apiserver."""
ALLOWED_VOLUMES = {"configMap", "emptyDir", "projected", "secret", "downwardAPI", "persistentVolumeClaim"}


def everything() -> list[tuple[str, Release]]:
    operator = render("values-dev.yaml", chart="academy-operator", name="academy-operator")
    backends = render(chart="academy-dev", name="academy-dev")
    return [(name, rendering(name)) for name in RENDERINGS] + [("operator", operator), ("backends", backends)]


@pytest.fixture(scope="module", params=[*RENDERINGS, "operator", "backends"])
def release(request: pytest.FixtureRequest) -> Release:
    return dict(everything())[request.param]


def test_every_pod_is_restricted(release: Release) -> None:
    for name, pod in release.pods():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        for volume in spec.get("volumes", ()):
            assert volume.keys() - {"name"} <= ALLOWED_VOLUMES, (name, volume)
    for name, container in release.containers():
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False, name
        assert security["readOnlyRootFilesystem"] is True, name
        assert security["runAsNonRoot"] is True, name
        assert security["capabilities"] == {"drop": ["ALL"]}, name
        assert not any("hostPort" in port for port in container.get("ports", ())), name


def test_a_pod_that_is_told_to_stop_while_it_starts_stops(release: Release) -> None:
    """SIGTERM without a handler ends any process but PID 1; test_scaling.py has such pods go within seconds."""
    backends = {"academy-dev-postgres", "academy-dev-emulator", "academy-dev-store"}
    for name, pod in release.pods():
        if name not in backends:
            assert pod["spec"]["shareProcessNamespace"] is True, name


def test_only_who_asks_the_apiserver_has_a_token(release: Release) -> None:
    for name, pod in release.pods():
        assert pod["spec"]["automountServiceAccountToken"] is (name in TOKENS), name
    for name, account in release.of("ServiceAccount").items():
        assert account["automountServiceAccountToken"] is False, name


def test_no_service_links_and_pods_name_what_exists(release: Release) -> None:
    for name, pod in release.pods():
        assert pod["spec"]["enableServiceLinks"] is False, name
        if "serviceAccountName" in pod["spec"]:
            assert pod["spec"]["serviceAccountName"] in release.of("ServiceAccount"), name
        if "priorityClassName" in pod["spec"]:
            assert pod["spec"]["priorityClassName"] in release.of("PriorityClass"), name


def test_resources_are_requested_and_memory_is_limited(release: Release) -> None:
    for name, container in release.containers():
        resources = container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys(), name
        assert "memory" in resources["limits"], name
        assert "cpu" not in resources["limits"], name


def test_images_are_pinned(release: Release) -> None:
    for name, container in release.containers():
        tag = re.search(r"(?:@sha256:[0-9a-f]{64}|:([A-Za-z0-9_.-]+))$", container["image"])
        assert tag, name
        assert tag[1] != "latest", name


def test_nothing_secret_is_in_the_open(release: Release) -> None:
    for name, container in release.containers():
        for variable in container.get("env", ()):
            assert "value" not in variable or not is_secret(variable["name"]), (name, variable["name"])
            assert not variable["name"].startswith("AWS_ACCESS"), (name, variable["name"])
    for name, config in release.of("ConfigMap").items():
        assert [key for key in config["data"] if is_secret(key)] == [], name


def is_secret(name: str) -> bool:
    return bool(re.search(r"SECRET(?!S_PATH)|PASSWORD|TOKEN|_KEY$|_KEYS$", name))


def test_every_mount_has_its_volume(release: Release) -> None:
    for name, pod in release.pods():
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", ())}
        for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
            mounts = {mount["name"] for mount in container.get("volumeMounts", ())}
            assert mounts <= volumes | ({"data"} if name == "academy-dev-postgres" else set()), name


def test_long_running_containers_are_probed(release: Release) -> None:
    for name, manifest in release.of("Deployment").items():
        for container in manifest["spec"]["template"]["spec"]["containers"]:
            if container["name"] not in {"exporter", "emulator", "store"}:
                assert "livenessProbe" in container, name


def test_what_a_container_starts_is_there(release: Release) -> None:
    for name, container in release.containers():
        command = container.get("command", [])
        if command[:2] != ["python", "-m"]:
            continue
        assert importlib.util.find_spec(command[2]) is not None, (name, command)
        if command[2] == "academy_api.manage":
            spec = importlib.util.find_spec(f"academy_api.ops.management.commands.{command[3]}")
            assert spec is not None, (name, command)


PROCESS = {
    "api": settings.ApiSettings,
    "migrated": settings.ApiSettings,
    "test": settings.ApiSettings,
    "relay": settings.ApiSettings,
    "backup": settings.MigrateSettings,
    "migrate": settings.MigrateSettings,
    "operator": settings.OperatorSettings,
}
WORKERS = {
    "academy-video-worker": settings.VideoWorkerSettings,
    "academy-ai-worker-cpu": settings.AiCpuWorkerSettings,
    "academy-ai-worker-gpu": settings.AiGpuWorkerSettings,
}


def environment(release: Release, container: Manifest) -> dict[str, str]:
    """What the chart itself sets; Secrets are the installation's."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        if "configMapRef" in source:
            found |= release.get("ConfigMap", source["configMapRef"]["name"])["data"]
    return found | {variable["name"]: variable.get("value", "") for variable in container.get("env", ())}


def test_every_variable_is_a_setting_of_its_process_with_a_value_it_takes(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {
        "SECRET_KEY": "k" * 50,
        "DB_PASSWORD": "p",
        "R2_ACCESS_KEY": "a",
        "R2_SECRET_KEY": "s",
        "INTERNAL_WORKER_TOKEN": "t" * 32,
        **{f"INTERNAL_WORKER_TOKENS_{name}": name * 11 for name in ("VIDEO", "AI_CPU", "AI_GPU", "RELAY")},
    }
    for name, container in release.containers():
        owner, own_name = name.split("/")
        process = WORKERS.get(owner) or PROCESS.get(own_name)
        if process is None or own_name == "code":
            continue
        given = environment(release, container)
        unknown = given.keys() - process.model_fields.keys() - {"PYTHONPATH", "PYTHONPYCACHEPREFIX"}
        # API and relay share one ConfigMap with migrate; nothing else may be there that nobody reads.
        assert not unknown, (name, unknown)
        for variable in {*process.model_fields, *secrets}:
            monkeypatch.delenv(variable, raising=False)
        for variable, value in (secrets | given).items():
            monkeypatch.setenv(variable, value)
        settings.load(process)


def test_the_process_map_covers_every_python_container(release: Release) -> None:
    for name, container in release.containers():
        if container.get("command", [""])[0] in {"python", "kopf"}:
            owner, own_name = name.split("/")
            assert owner in WORKERS or own_name in PROCESS, name
