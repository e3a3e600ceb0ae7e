"""The operator's process with wrong settings: it ends, and one line says everything that is wrong."""

import os
import subprocess
import sys

import pytest

SECONDS = 60


@pytest.mark.parametrize(
    ("environment", "arguments", "line"),
    [
        (
            {"OPERATOR_METRICS_PORT": "x"},
            ["--namespace=academy"],
            "settings: OPERATOR_CLUSTER_ID: Field required; OPERATOR_METRICS_PORT: Input should be a valid integer,",
        ),
        ({"OPERATOR_CLUSTER_ID": "c"}, ["--namespace=academy-*"], "name each namespace with --namespace, no patterns"),
        ({"OPERATOR_CLUSTER_ID": "c"}, [], "name each namespace with --namespace, no patterns (given: none)"),
    ],
)
def test_a_wrong_setting_ends_the_process_with_one_message(
    environment: dict[str, str], arguments: list[str], line: str
) -> None:
    """kopf alone would try again every minute for ever."""
    command = [sys.executable, "-m", "kopf", "run", "-m", "academy_operator", "--standalone", *arguments]
    env = {"PATH": os.environ["PATH"], **environment}
    ended = subprocess.run(command, check=False, env=env, capture_output=True, text=True, timeout=SECONDS)
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1].startswith(line)
    assert "Traceback" not in ended.stderr
