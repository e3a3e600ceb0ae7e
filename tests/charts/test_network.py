"""Connectivity over the rendered NetworkPolicies: design §1's arrows pass, every other pair is shut."""

from collections.abc import Iterator
from itertools import product

import network_model
import pytest
from charts_support import MATRIX, SITE, STAGES, Refused, Release, render, stage
from network_model import Place

COMPONENTS = (
    "api",
    "api-internal",
    "relay",
    "migrate",
    "pgbouncer",
    "video-worker",
    "ai-worker-cpu",
    "ai-worker-gpu",
    "test",
)
WORKERS = ("video-worker", "ai-worker-cpu", "ai-worker-gpu")
AWS = ("api", "api-internal", "relay", "migrate", *WORKERS)
PORTS = (22, 53, 80, 443, 5432, 6432, 8000, 9100, 9127)


def pod(component: str, number: int) -> Place:
    labels = {
        "app.kubernetes.io/name": "academy",
        "app.kubernetes.io/instance": "academy",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "academy",
    }
    return Place(component, f"10.0.20.{number}", "academy", labels)


PODS = [pod(component, number) for number, component in enumerate(COMPONENTS, start=1)]
ELSEWHERE = [
    Place("stranger", "10.0.30.1", "academy", {"app": "stranger"}),
    Place("other-namespace", "10.0.30.2", "default", {"app.kubernetes.io/component": "api"}),
    Place("keda", "10.0.30.3", "keda", {"app": "keda-operator"}),
    Place("prometheus", "10.0.30.4", "monitoring", {"app": "prometheus"}),
    Place("dns", "10.0.30.5", "kube-system", {"k8s-app": "kube-dns"}),
    Place("kube-system-pod", "10.0.30.6", "kube-system", {}),
    Place("load-balancer", "10.0.101.7"),
    Place("vpc-host", "10.0.50.1"),
    Place("internet", "203.0.113.5"),
    Place("r2", "104.16.1.1"),
    Place("sqs-endpoint", "10.0.3.5"),
    Place("postgres", "10.0.8.4"),
    Place("apiserver", "10.0.1.10"),
    Place("imds", "169.254.169.254"),
    Place("pod-identity", "169.254.170.23"),
]


def wanted(release: Release) -> Iterator[tuple[str, str, int]]:  # noqa: C901, PLR0912 - one line an arrow
    """What design §1 has: who reaches whom on which port."""
    internal = "academy-api-internal" in release.of("Deployment")
    pooled = "academy-pgbouncer" in release.of("Deployment")
    monitored = bool(release.of("PodMonitor"))
    apis = ("api", "api-internal") if internal else ("api",)
    exists = {*COMPONENTS} - (set() if internal else {"api-internal"}) - (set() if pooled else {"pgbouncer"})
    if release.of("Ingress") or release.of("HTTPRoute"):
        yield "load-balancer", "api", 8000
    yield "test", "api", 8000
    for caller in ("relay", *WORKERS):
        yield caller, apis[-1], 8000
    for component in apis:
        yield component, *(("pgbouncer", 6432) if pooled else ("postgres", 5432))
    yield "test", *(("pgbouncer", 6432) if pooled else ("postgres", 5432))
    for component in ("relay", "migrate", *(("pgbouncer",) if pooled else ())):
        yield component, "postgres", 5432
    for component in ({*AWS} & exists) | {"test"}:
        for public in ("r2", "internet", "sqs-endpoint"):
            yield component, public, 443
    for component in {*AWS} & exists:
        yield component, "pod-identity", 80
    for worker in WORKERS:
        yield worker, "apiserver", 443
    for component in exists:
        yield component, "dns", 53
    if "academy-api" in release.of("ScaledObject"):
        yield "keda", "api", 8000
    if monitored:
        for component in apis:
            yield "prometheus", component, 8000
        for component in ("relay", *WORKERS):
            yield "prometheus", component, 9100
        if pooled:
            yield "prometheus", "pgbouncer", 9127


CASES = {
    "stage-1": stage(1),
    "stage-3": stage(3),
    "monitored": render(STAGES[2], SITE, sets={"monitoring.enabled": True}),
    "without-load-balancer": stage(1, ingress__enabled=False, networkPolicy__loadBalancerCidrs=[]),
    "gateway": render(STAGES[0], SITE, sets=MATRIX["gateway"]),
    "without-pgbouncer": render(STAGES[0], SITE, sets={"pgbouncer.enabled": False, "database.maxConcurrency": 8}),
}


@pytest.mark.parametrize("case", CASES)
def test_every_pair_of_places_on_every_port(case: str) -> None:
    release = CASES[case]
    policies = list(release.of("NetworkPolicy").values())
    there = {f"academy-{place.name}" for place in PODS} & {
        *release.of("Deployment"),
        "academy-migrate",
        "academy-test",
    }
    pods = [place for place in PODS if f"academy-{place.name}" in there]
    passed = {
        (source.name, target.name, port)
        for (source, target), port in product(product([*pods, *ELSEWHERE], repeat=2), PORTS)
        if source != target
        and (source in pods or target in pods)
        and network_model.allows(policies, source, target, port)
    }
    expected = set(wanted(release))
    assert passed == expected, {"shut": sorted(expected - passed), "open": sorted(passed - expected)}


def test_the_model_takes_pods_by_their_addresses() -> None:
    """Else it could not see that a load balancer's block which is too wide lets every pod in."""
    policies = list(stage(1, networkPolicy__loadBalancerCidrs=["10.0.0.0/16"]).of("NetworkPolicy").values())
    (other,) = [place for place in ELSEWHERE if place.name == "other-namespace"]
    assert network_model.allows(policies, other, PODS[0], 8000)


def test_dns_is_asked_over_udp_too() -> None:
    policies = list(stage(1).of("NetworkPolicy").values())
    (dns,) = [place for place in ELSEWHERE if place.name == "dns"]
    for place in PODS:
        if place.name != "api-internal":
            assert network_model.allows(policies, place, dns, 53, "UDP"), place.name


def test_a_pod_that_another_chart_puts_there_is_shut_in() -> None:
    policies = list(stage(1).of("NetworkPolicy").values())
    stranger = ELSEWHERE[0]
    for place in [*PODS, *ELSEWHERE[1:]]:
        assert not network_model.allows(policies, stranger, place, 443)
        assert not network_model.allows(policies, place, stranger, 8000)


@pytest.mark.parametrize("entrance", ["ingress.enabled", "gateway.enabled"])
def test_a_load_balancer_is_told_from_pods_by_its_subnets(entrance: str) -> None:
    sets = {"ingress.enabled": False, entrance: True, "gateway.name": "edge", "networkPolicy.loadBalancerCidrs": []}
    with pytest.raises(Refused, match=r"networkPolicy\.loadBalancerCidrs: needed"):
        render(STAGES[0], SITE, sets=sets)
    render(STAGES[0], SITE, sets={**sets, "networkPolicy.enabled": False})


def test_what_must_be_known_is_asked_for() -> None:
    with pytest.raises(Refused, match=r"networkPolicy\.apiServerCidrs: needed"):
        render(STAGES[0], SITE, sets={"networkPolicy.apiServerCidrs": []})
