"""How the API rolls, scales and is reached (templates/api/, templates/api-internal/)."""

import pytest
from charts_support import RENDERINGS, SITE, STAGES, Manifest, Refused, render, rendering, stage

from academy_api.ops import metrics

GUNICORN_GRACEFUL = 25
"""graceful_timeout of academy_api.gunicorn_conf; importing it would patch this process."""


def api_pod(name: str, component: str = "academy-api") -> Manifest:
    return dict(rendering(name).get("Deployment", component)["spec"]["template"]["spec"])


def test_the_figures_here_are_gunicorns() -> None:
    conf = (SITE.parents[2] / "services/api/academy_api/gunicorn_conf.py").read_text()
    assert f"graceful_timeout = {GUNICORN_GRACEFUL}\n" in conf
    assert "keepalive = 75\n" in conf, "longer than the ALB's idle timeout of 60 s"


@pytest.mark.parametrize("name", RENDERINGS)
def test_a_pod_is_out_of_the_balancer_before_it_ends_and_ends_within_its_grace(name: str) -> None:
    pod = api_pod(name)
    (container,) = pod["containers"]
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > pause + GUNICORN_GRACEFUL
    for ingress in rendering(name).of("Ingress").values():
        attributes = ingress["metadata"]["annotations"]["alb.ingress.kubernetes.io/target-group-attributes"]
        assert pause >= int(attributes.removeprefix("deregistration_delay.timeout_seconds="))


@pytest.mark.parametrize("name", RENDERINGS)
def test_api_and_pgbouncer_never_roll_below_their_replicas(name: str) -> None:
    for component, deployment in rendering(name).of("Deployment").items():
        if "worker" not in component:
            strategy = deployment["spec"]["strategy"]["rollingUpdate"]
            assert strategy == {"maxUnavailable": 0, "maxSurge": 1}, component


@pytest.mark.parametrize("name", RENDERINGS)
def test_a_budget_from_two_replicas_on_and_never_with_one(name: str) -> None:
    release = rendering(name)
    least = {
        component: deployment["spec"].get("replicas")
        for component, deployment in release.of("Deployment").items()
        if "worker" not in component
    }
    for component in least:
        if component in release.of("ScaledObject"):
            least[component] = release.get("ScaledObject", component)["spec"]["minReplicaCount"]
    assert set(release.of("PodDisruptionBudget")) == {component for component, count in least.items() if count >= 2}
    for budget in release.of("PodDisruptionBudget").values():
        assert budget["spec"]["maxUnavailable"] == 1


def test_one_autoscaler_by_cpu_and_by_a_metric_that_the_api_has() -> None:
    release = stage(3)
    assert "replicas" not in release.get("Deployment", "academy-api")["spec"]
    assert release.of("HorizontalPodAutoscaler") == {}
    triggers = release.get("ScaledObject", "academy-api")["spec"]["triggers"]
    assert [trigger["type"] for trigger in triggers] == ["cpu", "metrics-api"]
    metric = triggers[1]["metadata"]["valueLocation"]
    assert metric in {sample.name for family in metrics.active_requests.collect() for sample in family.samples}
    assert triggers[1]["metadata"]["aggregateFromKubeServiceEndpoints"] == "true"


def test_fixed_replicas_without_autoscaling() -> None:
    assert stage(2).get("Deployment", "academy-api")["spec"]["replicas"] == 2
    assert "academy-api" not in stage(2).of("ScaledObject")


@pytest.mark.parametrize("name", RENDERINGS)
def test_worker_endpoints_are_never_routed_from_outside(name: str) -> None:
    release = rendering(name)
    serves = {
        component: next(
            variable["value"]
            for variable in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
            if variable["name"] == "API_SERVES"
        )
        for component, deployment in release.of("Deployment").items()
        if component in {"academy-api", "academy-api-internal"}
    }
    base_url = release.get("ConfigMap", "academy-worker")["data"]["API_BASE_URL"]
    if "academy-api-internal" in serves:
        assert serves == {"academy-api": "public", "academy-api-internal": "internal"}
        assert base_url == "http://academy-api-internal:8000"
    else:
        assert serves == {"academy-api": "all"}
        assert base_url == "http://academy-api:8000"
    for ingress in release.of("Ingress").values():
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                assert path["backend"]["service"]["name"] == "academy-api"
                assert path["path"] in {"/api", "/health"}


def test_a_path_that_covers_the_worker_endpoints_is_refused_while_one_deployment_serves_both() -> None:
    for path in ("/", "/internal", "/internal/v1"):
        with pytest.raises(Refused, match="would route the worker endpoints"):
            render(STAGES[0], SITE, sets={"ingress.paths": ["/api", path]})
    render(STAGES[1], SITE, sets={"ingress.paths": ["/"]})


def test_targets_are_pod_addresses_and_checks_ask_for_health() -> None:
    annotations = stage(1).get("Ingress", "academy-api")["metadata"]["annotations"]
    assert annotations["alb.ingress.kubernetes.io/target-type"] == "ip"
    assert annotations["alb.ingress.kubernetes.io/healthcheck-path"] == "/health"
    (container,) = api_pod("stage-1")["containers"]
    # The balancer's checks and Prometheus name the pod's address as their host.
    assert {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}} in container["env"]


def test_a_gateway_routes_the_same_paths() -> None:
    release = rendering("gateway")
    assert release.of("Ingress") == {}
    route = release.get("HTTPRoute", "academy-api")["spec"]
    assert route["parentRefs"] == [{"name": "edge", "namespace": "infra"}]
    paths = [match["path"]["value"] for match in route["rules"][0]["matches"]]
    (ingress_rule,) = stage(1).get("Ingress", "academy-api")["spec"]["rules"]
    assert paths == [path["path"] for path in ingress_rule["http"]["paths"]]
    assert route["hostnames"] == [ingress_rule["host"]] == ["academy.example"]


def test_a_lost_database_restarts_no_pod() -> None:
    """/health asks nothing; /ready only until the database was seen once (academy_api.ops.views)."""
    (container,) = api_pod("stage-1")["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/health"
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"


def test_no_monitors_without_monitoring() -> None:
    assert stage(3).of("PodMonitor") == {}
    assert set(rendering("monitored").of("PodMonitor")) >= {"academy-api", "academy-relay", "academy-pgbouncer"}
