"""Least privilege in AWS: what the roles of `k8s/iam` may do is what the code calls, on the queues of the charts."""

import inspect
import json
import re
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import pytest
import yaml
from charts_support import CHARTS, ROOT, SITE, STAGES, render

from academy_api.ledger import dlq, outbox
from academy_api.ops import backup
from academy_api.relay import standing
from academy_core import attempt, consumer, sqs

IAM = ROOT / "k8s" / "iam"
WORKERS = {"video": "video-worker", "aiCpu": "ai-worker-cpu", "aiGpu": "ai-worker-gpu"}
QUEUES = {each["name"] for each in yaml.safe_load((CHARTS / "academy" / "values.yaml").read_text())["queues"].values()}
DEAD = {outbox.dead_letters(name) for name in QUEUES}

Grants = dict[tuple[str, str], set[str]]
"""(service, name) -> actions."""


def granted(role: str) -> Grants:
    found: Grants = {}
    for statement in json.loads((IAM / f"{role}.json").read_text())["Statement"]:
        assert statement["Effect"] == "Allow"
        for resource in statement["Resource"]:
            service, _, _, name = resource.removeprefix("arn:aws:").split(":", 3)
            for action in statement["Action"]:
                assert action.startswith(f"{service}:")
                found.setdefault((service, name), set()).add(action.partition(":")[2])
    return found


def calls(*modules: ModuleType) -> set[str]:
    """IAM's actions for what these modules ask of `academy_core.sqs`; a queue's URL is looked up for each."""
    asked = {name for module in modules for name in re.findall(r"sqs\.(\w+)\(", inspect.getsource(module))}
    assert asked, "the modules ask nothing"
    made = {call for name in asked for call in re.findall(r"_client\.(\w+)\(", source_of(name))}
    return {"".join(part.title() for part in call.removesuffix("_batch").split("_")) for call in made} | {"GetQueueUrl"}


def source_of(name: str) -> str:
    source = inspect.getsource(getattr(sqs.SqsClient, name))
    return source + "".join(source_of(each) for each in re.findall(r"self\.(_send\w+)\(", source))


def each_on(names: Iterable[str], actions: set[str]) -> Grants:
    return {("sqs", name): set(actions) for name in names}


def test_keda_may_read_depths_and_nothing_else() -> None:
    assert granted("keda") == each_on(QUEUES, {"GetQueueAttributes"})


@pytest.mark.parametrize("role", WORKERS)
def test_a_worker_may_take_from_the_queues_that_it_scales_on(role: str) -> None:
    release = render(SITE, CHARTS / "academy" / STAGES[2])
    (scaled,) = (each for name, each in release.of("ScaledObject").items() if name.endswith(WORKERS[role]))
    queues = {trigger["metadata"]["queueURL"].rpartition("/")[2] for trigger in scaled["spec"]["triggers"]}
    assert queues <= QUEUES
    assert granted(role) == each_on(queues, calls(consumer, attempt))


def test_the_api_may_ring() -> None:
    assert granted("api") == each_on(QUEUES | DEAD, calls(outbox))


def test_the_relay_may_ring_read_depths_and_sweep_dead_letters() -> None:
    assert granted("relay") == {
        **each_on(QUEUES, calls(outbox, standing)),
        **each_on(DEAD, calls(outbox, dlq)),
    }


def test_the_migrate_job_may_take_snapshots_of_its_database() -> None:
    called = set(re.findall(r"client\.(\w+)\(", inspect.getsource(backup.snapshot))) - {"get_waiter"}
    assert called == {"create_db_snapshot"}
    actions = {"CreateDBSnapshot", "DescribeDBSnapshots"}  # the waiter describes
    assert granted("migrate") == {("rds", "db:academy*"): actions, ("rds", "snapshot:academy*"): actions}


def test_every_role_of_the_charts_has_its_file_and_none_is_left_over() -> None:
    schema: dict[str, Any] = json.loads((CHARTS / "academy" / "values.schema.json").read_text())
    roles = set(schema["properties"]["aws"]["properties"]["roles"]["properties"])
    assert {file.stem for file in IAM.glob("*.json")} == roles | {"keda"}
