"""The migrate Job (templates/migrate/): once a release, whatever changes it, and who waits for it."""

import re

import pytest
import yaml
from charts_support import RENDERINGS, ROOT, STAGES, Refused, render, rendering, stage


def name(**sets: object) -> str:
    return str(stage(1, **sets).job()["metadata"]["name"])


def test_it_is_no_hook_and_stays() -> None:
    job = stage(1).job()
    assert "annotations" not in job["metadata"]
    assert "ttlSecondsAfterFinished" not in job["spec"]


def test_its_name_is_a_hash_of_the_pod_it_runs() -> None:
    names = {
        name(),
        name(images__api__tag="2.0.0"),
        name(database__host="other.example"),
        name(migrate__retry="again"),
        name(migrate__backup="none"),
        name(migrate__resources={"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}),
        name(log__level="DEBUG"),
        name(secrets__names__migrate="another"),
    }
    assert len(names) == 8
    # What does not concern it does not run it again.
    assert name(workers__video__maxReplicas=7) == name(api__replicas=2) == name()
    assert len(name()) <= 63


def test_a_failed_run_is_final_and_a_drained_node_is_none() -> None:
    spec = stage(1).job()["spec"]
    assert spec["backoffLimit"] == 0
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize("rendered", RENDERINGS)
def test_it_works_as_its_own_role_past_the_pooler(rendered: str) -> None:
    release = rendering(rendered)
    pod = release.job()["spec"]["template"]["spec"]
    direct = release.get("ConfigMap", "academy-api")["data"]["DB_DIRECT_HOST"]
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        given = {variable["name"]: variable["value"] for variable in container["env"]}
        assert given["DB_HOST"] == direct
        assert given["DB_USER"] == "academy_migrate"
        assert given["DB_APP_ROLE"] == "academy_app"
        assert given["DB_SSLMODE"] == "verify-full"
        # Its own Secret comes last, so that its password wins over the application's.
        assert container["envFrom"][-1] == {"secretRef": {"name": "academy-migrate"}}


def test_the_backup_comes_before_and_only_when_something_is_pending() -> None:
    (backup,) = stage(1).job()["spec"]["template"]["spec"]["initContainers"]
    assert backup["command"][-2:] == ["--if-pending", "--mode=dump"]
    (backup,) = rendering("snapshot").job()["spec"]["template"]["spec"]["initContainers"]
    assert {"name": "RDS_INSTANCE_ID", "value": "academy"} in backup["env"]
    assert "initContainers" not in rendering("no-backup").job()["spec"]["template"]["spec"]
    with pytest.raises(Refused, match=r"migrate\.rdsInstance"):
        stage(1, migrate__backup="snapshot")


@pytest.mark.parametrize("component", ["academy-api", "academy-relay", "academy-api-internal"])
def test_who_needs_the_schema_waits_for_it(component: str) -> None:
    pod = stage(3).get("Deployment", component)["spec"]["template"]["spec"]
    (waiting,) = pod["initContainers"]
    assert "await_migrations" in waiting["command"]
    assert waiting["image"] == pod["containers"][0]["image"]


@pytest.mark.parametrize("component", ["academy-api", "academy-relay", "academy-api-internal"])
@pytest.mark.parametrize("deadline", [600, 7200])
def test_who_waits_is_no_failure_before_the_job_is_one(component: str, deadline: int) -> None:
    release = stage(3, migrate__deadlineSeconds=deadline)
    job, deployment = release.job()["spec"], release.get("Deployment", component)["spec"]
    (waiting,) = deployment["template"]["spec"]["initContainers"]
    (seconds,) = [int(word.partition("=")[2]) for word in waiting["command"] if word.startswith("--seconds=")]
    assert seconds > job["activeDeadlineSeconds"] + job["template"]["spec"]["terminationGracePeriodSeconds"]
    startup = deployment["template"]["spec"]["containers"][0]["startupProbe"]
    assert deployment["progressDeadlineSeconds"] > seconds + startup["periodSeconds"] * startup["failureThreshold"]


def test_commands_that_wait_for_a_release_wait_as_long() -> None:
    deadline = stage(1).get("Deployment", "academy-api")["spec"]["progressDeadlineSeconds"]
    (minutes,) = re.findall(r"helm upgrade .*--wait --timeout (\d+)m", (ROOT / "docs" / "deploy.md").read_text())
    assert 60 * int(minutes) >= deadline
    profiles = yaml.safe_load((ROOT / "skaffold.yaml").read_text())["profiles"]
    (eks,) = [profile for profile in profiles if profile["name"] == "eks"]
    assert eks["deploy"]["statusCheckDeadlineSeconds"] >= deadline


def test_a_role_is_stated_beside_the_secret_of_its_password() -> None:
    """In the ConfigMap, a pod of the previous release that starts again would find the next one's."""
    release = stage(3)
    assert "DB_USER" not in release.get("ConfigMap", "academy-api")["data"]
    for name, container in release.containers():
        if {"secretRef": {"name": "academy-app"}} in container.get("envFrom", ()):
            (role,) = [variable["value"] for variable in container["env"] if variable["name"] == "DB_USER"]
            assert role == ("academy_migrate" if "-migrate-" in name else "academy_app"), name


def test_the_relay_does_not_go_through_the_pooler_either() -> None:
    pod = stage(3).get("Deployment", "academy-relay")["spec"]["template"]["spec"]
    given = {variable["name"]: variable.get("value") for variable in pod["initContainers"][0]["env"]}
    assert given["DB_HOST"] == stage(3).get("ConfigMap", "academy-api")["data"]["DB_DIRECT_HOST"]


def test_the_first_director_is_optional() -> None:
    volumes = {volume["name"]: volume for volume in stage(1).job()["spec"]["template"]["spec"]["volumes"]}
    assert volumes["bootstrap"]["secret"] == {"secretName": "academy-bootstrap", "optional": True}


def test_a_release_name_of_any_length_fits() -> None:
    release = render(STAGES[0], "../../tests/charts/site.yaml", name="a" * 53)
    for manifest in release.all:
        assert len(manifest["metadata"]["name"]) <= 63, manifest["metadata"]["name"]
