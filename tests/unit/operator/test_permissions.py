"""Least privilege: what the manifests grant is what the code asks for, no more and no less."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import yaml

from academy_operator import cluster
from academy_operator.providers import aws, r2

DEPLOY = Path(__file__).parents[3] / "operator" / "deploy"
BATCHES = {"SendMessageBatch": "SendMessage", "DeleteMessageBatch": "DeleteMessage"}
"""IAM knows no batch actions."""


def statements() -> list[dict[str, Any]]:
    loaded: dict[str, Any] = json.loads((DEPLOY / "iam.json").read_text(encoding="utf-8"))
    return list(loaded["Statement"])


def granted() -> set[str]:
    actions = [statement["Action"] for statement in statements()]
    return {one for action in actions for one in ([action] if isinstance(action, str) else action)}


def test_iam_grants_what_the_adapter_calls() -> None:
    called = set(re.findall(r'wrapped\("(\w+)"\)', inspect.getsource(aws.AwsQueues)))
    needed = {BATCHES.get(name, name) for name in called}
    assert {action.partition(":")[2] for action in granted()} == needed


def test_iam_is_limited_to_the_platform_s_names() -> None:
    for statement in statements():
        if statement["Sid"] == "OldestMessage":
            assert statement["Action"] == "cloudwatch:GetMetricStatistics", "CloudWatch's reads know no resources"
        else:
            assert statement["Resource"].rpartition(":")[2] == "academy-*"


def test_the_r2_adapter_counts_every_call() -> None:
    source = inspect.getsource(r2.R2Buckets)
    assert len(re.findall(r"self\.s3\.\w+\(", source)) == len(re.findall(r"wrapped\(", source))


def rules(name: str) -> dict[tuple[str, str], set[str]]:
    role = next(iter(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8"))))
    return {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def called(pattern: str, plurals: dict[str, str]) -> dict[tuple[str, str], set[str]]:
    """What the Kubernetes client is asked for."""
    verbs = {
        "read": "get",
        "create": "create",
        "replace": "update",
        "patch": "patch",
        "delete": "delete",
        "list": "list",
    }
    needed: dict[tuple[str, str], set[str]] = {}
    for verb, thing in re.findall(pattern, inspect.getsource(cluster)):
        needed.setdefault(("", plurals[thing]), set()).add(verbs[verb])
    return needed


def test_rbac_grants_what_the_client_calls_in_a_namespace() -> None:
    plurals = {"config_map": "configmaps", "secret": "secrets", "event": "events"}
    assert rules("rbac.yaml") == called(r"self\.core\.(\w+?)_namespaced_(\w+)\(", plurals)


def test_in_the_whole_cluster_rbac_grants_only_our_own_kinds_and_a_look_at_a_namespace() -> None:
    ours = "academy.hakwonplus.com"
    needed = called(r"self\.core\.([a-z]+)_(namespace)\(", {"namespace": "namespaces"})
    for plural in ("queues", "buckets"):
        needed[ours, plural] = {"get", "list", "watch", "patch"}  # kopf's, and our own listing
        needed[ours, f"{plural}/status"] = {"patch"}
    assert rules("rbac-cluster.yaml") == needed


def test_every_call_of_the_core_api_is_one_of_those() -> None:
    calls = re.findall(r"self\.core\.(\w+)\(", inspect.getsource(cluster))
    assert all("_namespaced_" in call or call == "read_namespace" for call in calls)
