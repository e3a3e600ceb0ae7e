"""The reconciler's view of the cluster: the real client and the fake keep one contract."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from operator_e2e import Kube, eventually

from academy_operator import cluster as cluster_module
from academy_operator.cluster import Cluster, KubernetesCluster
from academy_operator.errors import ClusterFault, Forbidden, NamespaceTerminating, ResourceGone
from academy_operator.fake_cluster import FakeCluster
from academy_operator.model import Resource, resource_of

NOW = datetime(2026, 11, 24, tzinfo=UTC)


class Side:
    """A cluster and how a test makes and removes things in it."""

    def __init__(self, cluster: Cluster, kube: Kube | None, namespace: str) -> None:
        self.cluster = cluster
        self.kube = kube
        self.namespace = namespace
        self._count = 0

    def make(self, name: str) -> Resource:
        if self.kube is not None:
            return resource_of("Queue", "queues", self.kube.create(self.namespace, "queues", name, {}))
        assert isinstance(self.cluster, FakeCluster)
        self._count += 1
        uid = f"uid-{self._count}"
        meta = {"namespace": self.namespace, "name": name, "uid": uid, "creationTimestamp": "2026-11-24T00:00:00Z"}
        body = {"kind": "Queue", "metadata": meta}
        self.cluster.statuses[uid], self.cluster.bodies[uid] = {}, body
        return resource_of("Queue", "queues", body)

    def remove(self, resource: Resource) -> None:
        if self.kube is not None:
            self.kube.delete(self.namespace, "queues", resource.name)
        else:
            assert isinstance(self.cluster, FakeCluster)
            del self.cluster.statuses[resource.uid], self.cluster.bodies[resource.uid]

    def status(self, resource: Resource) -> dict[str, Any]:
        if self.kube is not None:
            return self.kube.status(self.namespace, "queues", resource.name)
        assert isinstance(self.cluster, FakeCluster)
        return self.cluster.statuses[resource.uid]


@pytest.fixture(params=["fake", "real"])
def side(request: pytest.FixtureRequest) -> Side:
    """Each cluster there is; the real one as the operator's user."""
    if request.param == "fake":
        return Side(FakeCluster(), None, "academy")
    kube: Kube = request.getfixturevalue("kube")
    kubeconfigs: dict[str, Path] = request.getfixturevalue("kubeconfigs")
    api: client.ApiClient = config.new_client_from_config(str(kubeconfigs["operator"]))  # type: ignore[no-untyped-call]
    namespace: str = request.getfixturevalue("namespace")
    real = KubernetesCluster(client.CoreV1Api(api), client.CustomObjectsApi(api), (namespace,))
    return Side(real, kube, namespace)


def test_all_are_listed_over_several_pages(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "PAGE", 2)
    made = [side.make(f"academy-{number}") for number in range(5)]
    side.cluster.write_status(made[0], {"depth": 3})
    listed = {one.uid: one for one in side.cluster.list("Queue", "queues", side.namespace)}
    assert listed.keys() == {one.uid for one in made}
    assert listed[made[0].uid].status == {"depth": 3}
    assert list(side.cluster.list("Bucket", "buckets", side.namespace)) == []
    side.remove(made[1])
    assert made[1].uid not in {one.uid for one in side.cluster.list("Queue", "queues", side.namespace)}


def test_what_may_not_be_read_is_forbidden(kube: Kube) -> None:
    nobody = kube.impersonating("system:serviceaccount:academy-system:nobody")
    real = KubernetesCluster(client.CoreV1Api(nobody), client.CustomObjectsApi(nobody), ())
    with pytest.raises(Forbidden):
        list(real.list("Queue", "queues", "default"))


def test_status_is_replaced(side: Side) -> None:
    resource = side.make("academy-a")
    side.cluster.write_status(resource, {"depth": 3, "url": "https://a"})
    side.cluster.write_status(resource, {"url": "https://a", "redrive": {"token": "t", "phase": "Running"}})
    assert side.status(resource) == {"url": "https://a", "redrive": {"token": "t", "phase": "Running"}}


def test_a_successor_of_the_same_name_is_not_written_to(side: Side) -> None:
    first = side.make("academy-a")
    side.remove(first)
    with pytest.raises(ResourceGone):
        side.cluster.write_status(first, {"depth": 1})
    second = side.make("academy-a")
    with pytest.raises(ResourceGone):
        side.cluster.write_status(first, {"depth": 1})
    assert side.status(second) == {}


def test_config_map_made_changed_and_taken_from_a_predecessor(side: Side) -> None:
    first = side.make("academy-a")
    assert side.cluster.ensure_config_map(first, "academy-a-queue", {"QUEUE_URL": "one"})
    assert side.cluster.ensure_config_map(first, "academy-a-queue", {"QUEUE_URL": "two"})
    other = side.make("academy-b")
    assert not side.cluster.ensure_config_map(other, "academy-a-queue", {"QUEUE_URL": "other"})
    side.remove(first)
    second = side.make("academy-a")
    assert side.cluster.ensure_config_map(second, "academy-a-queue", {"QUEUE_URL": "three"})


def test_a_secret_that_is_not_there_is_none(side: Side) -> None:
    assert side.cluster.read_secret(side.namespace, "nothing") is None


def test_an_event_is_posted_once_a_reason(side: Side) -> None:
    resource = side.make("academy-a")
    for _ in range(2):
        side.cluster.post_event(resource, "HoldsMessages", "3 messages", NOW)
    if side.kube is not None:
        assert len(side.kube.core.list_namespaced_event(side.namespace).items) == 1
    else:
        assert isinstance(side.cluster, FakeCluster)
        assert len(side.cluster.events) == 1


def test_a_terminating_namespace_takes_no_event(side: Side) -> None:
    resource = side.make("academy-a")
    if side.kube is not None:
        side.kube.core.delete_namespace(side.namespace)
    else:
        assert isinstance(side.cluster, FakeCluster)
        side.cluster.terminating.add(side.namespace)
    with pytest.raises(NamespaceTerminating):
        side.cluster.post_event(resource, "LeftBehind", "something", NOW)


def test_an_ending_namespace_that_has_lost_its_role_binding_takes_no_event(
    kube: Kube, kubeconfigs: dict[str, Path], namespace: str
) -> None:
    """Its controller deletes everything at once, the operator's rights too: 403 is then not for want of a binding."""
    api: client.ApiClient = config.new_client_from_config(str(kubeconfigs["operator"]))  # type: ignore[no-untyped-call]
    real = KubernetesCluster(client.CoreV1Api(api), client.CustomObjectsApi(api), (namespace,))
    resource = resource_of("Queue", "queues", kube.create(namespace, "queues", "academy-a", {}))
    rbac: Any = client.RbacAuthorizationV1Api(kube.api)
    rbac.delete_namespaced_role_binding("academy-operator", namespace)

    def refused() -> bool:
        try:
            real.post_event(resource, "HoldsMessages", "3 messages", NOW)
        except Forbidden:
            return True
        return False  # the authorizer has not heard of it yet

    eventually(refused, "the right is gone")
    kube.core.delete_namespace(namespace)
    with pytest.raises(NamespaceTerminating):
        real.post_event(resource, "HoldsMessages", "3 messages", NOW)


def test_a_status_that_the_schema_refuses_is_a_fault_and_not_a_resource_that_is_gone(
    kube: Kube, kubeconfigs: dict[str, Path], namespace: str
) -> None:
    api: client.ApiClient = config.new_client_from_config(str(kubeconfigs["operator"]))  # type: ignore[no-untyped-call]
    real = KubernetesCluster(client.CoreV1Api(api), client.CustomObjectsApi(api), (namespace,))
    resource = resource_of("Queue", "queues", kube.create(namespace, "queues", "academy-a", {}))
    with pytest.raises(ClusterFault):
        real.write_status(resource, {"depth": "three"})
