"""The shape of the test cluster: addresses, folders, and the configuration of every component, as pure functions.

Two nodes, each in Linux namespaces of its own, on one bridge. The first runs the control plane too. All paths are under
one state folder; `/run` and `/tmp` of a node are its own, so that nothing is written to the machine's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OWN = ("/tmp", "/var/log", "/run")  # noqa: S108 - mount points
"""Where controllers put volumes, logs and sockets: nodes have their own, and do not see the machine's (`node`)."""
BRIDGE = "academy0"
HOST_IP = "10.99.0.1"
CONTROL_IP = "10.99.0.2"
SERVICE_CIDR = "10.96.0.0/16"
DNS_IP = "10.96.0.10"
CRI_SOCKET = "/run/containerd/containerd.sock"
"""In each node's own /run."""
ETCD = "http://127.0.0.1:2379"
VOLUMES = 8
"""Persistent volumes that there are."""
HPA_PERIOD = "2s"
"""Kubernetes' default is 15 s; a test should not wait for it."""


@dataclass(frozen=True)
class Node:
    """One node: its name, addresses and interface on the host."""

    name: str
    ip: str
    pod_cidr: str
    veth: str
    control_plane: bool = False

    @property
    def cgroup(self) -> str:
        """Root of its pods' cgroups: two kubelets on one root would clean up each other's pods."""
        return f"academy-{self.name}"


NODES = (
    Node("node1", CONTROL_IP, "10.244.0.0/16", "academy1", control_plane=True),
    Node("node2", "10.99.0.3", "10.245.0.0/16", "academy2"),
)


def node(name: str) -> Node:
    """The node of that name."""
    return next(found for found in NODES if found.name == name)


def kubeadm(state: Path, of: Node, kubernetes: str) -> list[dict[str, Any]]:
    """kubeadm serves as the maker of certificates and kubeconfigs only."""
    return [
        {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "InitConfiguration",
            "localAPIEndpoint": {"advertiseAddress": CONTROL_IP, "bindPort": 6443},
            "nodeRegistration": {"name": of.name, "criSocket": f"unix://{CRI_SOCKET}"},
        },
        {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "ClusterConfiguration",
            "kubernetesVersion": kubernetes,
            "certificatesDir": str(state / "pki"),
            "controlPlaneEndpoint": f"{CONTROL_IP}:6443",
            "networking": {"podSubnet": NODES[0].pod_cidr, "serviceSubnet": SERVICE_CIDR, "dnsDomain": "cluster.local"},
            "apiServer": {"certSANs": ["127.0.0.1", "localhost", CONTROL_IP]},
            "etcd": {"external": {"endpoints": [ETCD]}},
        },
    ]


def containerd(folder: Path, store: Path) -> str:
    """containerd's configuration: its store outlives the cluster, its state does not."""
    return f"""version = 2
root = "{store}"
state = "/run/containerd/state"
[grpc]
  address = "{CRI_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder / "cni"}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def cni(folder: Path, of: Node) -> dict[str, Any]:
    """Pods of a node on a bridge of its own."""
    ranges = [[{"subnet": of.pod_cidr}]]
    ipam = {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}], "dataDir": str(folder / "leases")}
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True, "ipam": ipam}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "academy", "plugins": [bridge, ports]}


def kubelet(folder: Path, pki: Path, of: Node) -> dict[str, Any]:
    """The kubelet's configuration: cgroup v1 too, and no eviction for what other work does to this machine's disk."""
    nothing = ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{of.cgroup}",
        "cgroupsPerQOS": True,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{CRI_SOCKET}",
        "clusterDNS": [DNS_IP],
        "clusterDomain": "cluster.local",
        "resolvConf": str(folder / "resolv.conf"),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "evictionHard": dict.fromkeys(nothing, "0%"),
        "imageGCHighThresholdPercent": 100,
        "imageMaximumGCAge": "0s",
        "maxPods": 200,
        "registerNode": True,
    }


def kube_proxy(kubeconfig: Path) -> dict[str, Any]:
    """kube-proxy by iptables; pods' ranges are the only ones not masqueraded on the way to a Service."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": "10.244.0.0/15",
        "conntrack": {"maxPerCore": 0},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "iptables": {"syncPeriod": "30s", "minSyncPeriod": "1s"},
    }


def kubeconfig(authority: str, certificate: str, key: str) -> dict[str, Any]:
    """A kubeconfig of a client certificate; all three in base64."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "c",
                "cluster": {"server": f"https://{CONTROL_IP}:6443", "certificate-authority-data": authority},
            }
        ],
        "users": [{"name": "u", "user": {"client-certificate-data": certificate, "client-key-data": key}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def etcd_command(program: str, state: Path) -> list[str]:
    """An etcd that need not survive a power cut."""
    peer = "http://127.0.0.1:2380"
    options = {
        "name": "n",
        "data-dir": str(state / "etcd"),
        "unsafe-no-fsync": "true",
        "logger": "zap",
        "log-level": "warn",
        "listen-client-urls": ETCD,
        "advertise-client-urls": ETCD,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"n={peer}",
    }
    return [program, *_flags(options)]


def apiserver_command(programs: Path, pki: Path) -> list[str]:
    """The API server, with the flags the aggregation of metrics APIs needs."""
    options = {
        "advertise-address": CONTROL_IP,
        "secure-port": "6443",
        "etcd-servers": ETCD,
        "service-cluster-ip-range": SERVICE_CIDR,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "client-ca-file": str(pki / "ca.crt"),
        "tls-cert-file": str(pki / "apiserver.crt"),
        "tls-private-key-file": str(pki / "apiserver.key"),
        "kubelet-client-certificate": str(pki / "apiserver-kubelet-client.crt"),
        "kubelet-client-key": str(pki / "apiserver-kubelet-client.key"),
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": str(pki / "sa.pub"),
        "service-account-signing-key-file": str(pki / "sa.key"),
        "requestheader-client-ca-file": str(pki / "front-proxy-ca.crt"),
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": str(pki / "front-proxy-client.crt"),
        "proxy-client-key-file": str(pki / "front-proxy-client.key"),
    }
    return [str(programs / "kube-apiserver"), *_flags(options)]


def controller_manager_command(programs: Path, state: Path) -> list[str]:
    """The controllers."""
    pki, own = state / "pki", str(state / "controller-manager.conf")
    options = {
        "kubeconfig": own,
        "authentication-kubeconfig": own,
        "authorization-kubeconfig": own,
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "service-account-private-key-file": str(pki / "sa.key"),
        "root-ca-file": str(pki / "ca.crt"),
        "client-ca-file": str(pki / "ca.crt"),
        "cluster-signing-cert-file": str(pki / "ca.crt"),
        "cluster-signing-key-file": str(pki / "ca.key"),
        "requestheader-client-ca-file": str(pki / "front-proxy-ca.crt"),
        "horizontal-pod-autoscaler-sync-period": HPA_PERIOD,
    }
    return [str(programs / "kube-controller-manager"), *_flags(options)]


def scheduler_command(programs: Path, state: Path) -> list[str]:
    """The scheduler."""
    own = str(state / "scheduler.conf")
    options = {
        "kubeconfig": own,
        "authentication-kubeconfig": own,
        "authorization-kubeconfig": own,
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
    }
    return [str(programs / "kube-scheduler"), *_flags(options)]


def kubelet_command(programs: Path, folder: Path, of: Node) -> list[str]:
    """The kubelet; its files are in the node's folder."""
    options = {
        "config": str(folder / "kubelet.yaml"),
        "kubeconfig": str(folder / "kubelet.conf"),
        "root-dir": str(folder / "kubelet"),
        "hostname-override": of.name,
        "node-ip": of.ip,
    }
    return [str(programs / "kubelet"), *_flags(options)]


def kube_proxy_command(programs: Path, folder: Path, of: Node) -> list[str]:
    """kube-proxy."""
    options = {"config": str(folder / "kube-proxy.yaml"), "hostname-override": of.name}
    return [str(programs / "kube-proxy"), *_flags(options)]


def volumes() -> list[dict[str, Any]]:
    """Persistent volumes in the /tmp that all nodes share; `namespaces` makes the folders."""
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"volume-{number}"},
            "spec": {
                "capacity": {"storage": "20Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "standard",
                "hostPath": {"path": f"/tmp/volume-{number}", "type": "Directory"},  # noqa: S108 - a node's own
            },
        }
        for number in range(VOLUMES)
    ]


def _flags(options: Mapping[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]
