"""Where a run of the tests keeps its servers."""

import os
import subprocess
import sys
from pathlib import Path

AGAIN = "import os; os.getpid = lambda: 7; import django_settings; print(os.environ['ACADEMY_TEST_FOLDER'])"
"""A run whose process has the number that an earlier one had, as in a container, where numbers begin anew."""


def test_what_a_killed_run_has_left_is_not_taken_for_this_runs_servers() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACADEMY_TEST_")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])

    def folder() -> Path:
        command = [sys.executable, "-c", AGAIN]
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        return Path(told.stdout.strip())

    first, second = folder(), folder()
    assert first != second
    assert not first.exists()
    assert len(f"{first}/postgres/.s.PGSQL.20000") < 108, "a socket's path has 107 bytes"
