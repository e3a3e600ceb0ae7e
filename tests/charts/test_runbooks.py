"""Runbooks and deploy.md name Deployments, Secrets and settings that are really there."""

import os
import re
import subprocess
from pathlib import Path

import network_model
import pytest
from charts_support import ROOT, render, stage
from network_model import Place

from academy_core.settings import ApiSettings, WorkerSettings

RUNBOOK = ROOT / "docs" / "runbooks" / "rotate-credentials.md"
DEPLOY = ROOT / "docs" / "deploy.md"


def names() -> tuple[set[str], set[str]]:
    """Every Deployment and every Secret of an installation."""
    operator = render("values-dev.yaml", chart="academy-operator", name="academy-operator")
    backends = render(chart="academy-dev", name="academy-dev")
    deployments = {*stage(3).of("Deployment"), *operator.of("Deployment")}
    return deployments, set(backends.of("Secret"))


def test_every_deployment_of_a_command_exists() -> None:
    deployments, _ = names()
    asked = set(re.findall(r"deploy(?:ment)?/([a-z-]+)", RUNBOOK.read_text() + DEPLOY.read_text()))
    assert asked
    assert asked <= deployments


def test_every_row_of_the_rotation_table_names_a_secret_and_the_pods_that_read_it() -> None:
    deployments, secrets = names()
    rows = [line.split("|") for line in RUNBOOK.read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 8
    for _, what, secret, pods, _ in rows:
        asked = set(re.findall(r"`(academy-[a-z-]+)`", secret))
        assert asked, what
        assert asked <= secrets, what
        assert set(re.findall(r"`(academy-[a-z-]+)`", pods)) <= deployments, what


def readers(secret: str) -> set[str]:
    found = set()
    for owner, container in stage(3).containers():
        for source in container.get("envFrom", ()):
            if source.get("secretRef", {}).get("name") == secret:
                found.add(owner.split("/")[0])
    return found


@pytest.mark.parametrize("secret", ["academy-api", "academy-relay", "academy-video-worker"])
def test_an_r2_token_has_the_readers_of_the_table_and_no_other(secret: str) -> None:
    (row,) = [
        line
        for line in RUNBOOK.read_text().splitlines()
        if line.startswith("| R2") and f"`{secret}`" in line.split("|")[2]
    ]
    listed = set(re.findall(r"`(academy-[a-z-]+)`", row.split("|")[3])) or {secret}
    assert readers(secret) - {"academy-test"} == listed


FAKE_KUBECTL = """#!/bin/sh
case "$*" in
  *"get service academy-api"*) echo 10.0.0.9 ;;
  *run*) printf '%s\\n' "$@" >> "$ASKED" ;;
esac
"""


def test_the_proof_of_the_policies_asks_once_as_who_may_and_once_as_who_may_not(tmp_path: Path) -> None:
    """The same address both times: what is refused is refused by a policy and not for a name that is wrong."""
    (block,) = re.findall(r"```sh\n(api=.*?)```", DEPLOY.read_text(), re.DOTALL)
    (tmp_path / "kubectl").write_text(FAKE_KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ASKED": str(tmp_path / "asked")}
    subprocess.run(["sh", "-euc", block], env=environment, check=True, timeout=60)
    asked = (tmp_path / "asked").read_text()
    assert asked.count("nc -w 5 10.0.0.9 8000") == 2
    policies = list(stage(1).of("NetworkPolicy").values())
    (api,) = [template for name, template in stage(1).pods() if name == "academy-api"]
    target = Place("api", "10.0.20.1", "academy", api["metadata"]["labels"])
    passes = []
    for listed in re.findall(r"^--labels=(.*)$", asked, re.MULTILINE):
        labels = dict(label.split("=") for label in listed.split(","))
        passes.append(network_model.allows(policies, Place("check", "10.0.20.2", "academy", labels), target, 8000))
    assert passes == [True, False]


def test_every_setting_named_exists() -> None:
    asked = set(
        re.findall(r"\b((?:R2|INTERNAL|DB|CDN|SECRET)_[A-Z_]+[A-Z])\b", RUNBOOK.read_text() + DEPLOY.read_text())
    )
    fields = ApiSettings.model_fields.keys() | WorkerSettings.model_fields.keys()
    assert {name for name in asked if not name.endswith(("TOKENS_", "SIGNING_"))} <= fields
