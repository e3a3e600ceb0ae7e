"""What rendered NetworkPolicies let through: Kubernetes' rules, worked out over labels and addresses.

The test cluster has no plug-in that enforces policies, so this model is what is checked; docs/deploy.md has the command
that proves a refused connection on a cluster that enforces them.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from charts_support import Manifest

Selector = Mapping[str, object]


@dataclass(frozen=True)
class Place:
    """A pod (labels and its namespace's name) or an address outside the cluster."""

    name: str
    address: str
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """Whether a label selector (matchLabels alone: nothing else is used here) takes these labels."""
    assert selector.keys() <= {"matchLabels"}, selector
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def allows(policies: Iterable[Manifest], source: Place, target: Place, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection passes: out at the source, where it is a pod, and in at the target, where it is one."""
    listed = list(policies)
    return _side(listed, "Egress", source, target, port, protocol) and _side(
        listed, "Ingress", target, source, port, protocol
    )


def _side(  # noqa: PLR0917 - a connection, seen from one side
    policies: list[Manifest], side: str, here: Place, there: Place, port: int, protocol: str
) -> bool:
    mine = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == here.namespace
        and side in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], here.labels)
    ]
    if not mine:
        return True
    key, peers = ("egress", "to") if side == "Egress" else ("ingress", "from")
    return any(
        _ports(rule, port, protocol) and (peers not in rule or any(_peer(peer, here, there) for peer in rule[peers]))
        for spec in mine
        for rule in spec.get(key) or ()
    )


def _ports(rule: Manifest, port: int, protocol: str) -> bool:
    return "ports" not in rule or {"port": port, "protocol": protocol} in rule["ports"]


def _peer(peer: Manifest, here: Place, there: Place) -> bool:
    if "ipBlock" in peer:
        # Pods too: on the VPC CNI they have addresses of the VPC.
        block = peer["ipBlock"]
        address = ipaddress.ip_address(there.address)
        inside = any(address in ipaddress.ip_network(cidr) for cidr in block.get("except", ()))
        return address in ipaddress.ip_network(block["cidr"]) and not inside
    if there.namespace is None:
        return False
    if "namespaceSelector" in peer:
        named = {"kubernetes.io/metadata.name": there.namespace}
        if not selects(peer["namespaceSelector"], named):
            return False
    elif there.namespace != here.namespace:
        return False
    return selects(peer.get("podSelector", {}), there.labels)
