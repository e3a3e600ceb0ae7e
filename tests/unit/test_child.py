"""Child: what ended a process is told apart, its own end from our kill."""

import subprocess

from academy_core.child import Child


def started(script: str) -> Child:
    return Child(
        subprocess.Popen(
            ["/bin/sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    )


def test_a_child_killed_from_outside_after_its_pipe_closed_is_not_taken_for_our_kill() -> None:
    child = started("exec 1>&-; sleep 0.3; kill -9 $$")
    assert child.output.read() == b""
    assert child.ends_within(10)
    assert not child.kill()
    assert child.wait().returncode == -9
    assert child.ends_within(0)


def test_a_child_that_runs_on_is_ours_to_kill() -> None:
    child = started("exec 1>&-; sleep 60")
    assert child.output.read() == b""
    assert not child.ends_within(0.05)
    assert child.kill()
    assert child.wait().returncode == -9
