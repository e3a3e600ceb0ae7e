"""Gate on branch coverage of the packages everything else stands on: `pytest --cov --coverage-gate`.

It is part of the test run, so that the run's exit status and last line tell the whole result.
"""

import io
import os
from pathlib import Path

import coverage
import hypothesis
import pytest

# What `make setup` had to build comes before the system's.
os.environ["PATH"] = f"{Path(__file__).parents[1] / '.tools' / 'pgbouncer'}{os.pathsep}{os.environ['PATH']}"

LEAST_PERCENT = 90.0
GATED = ("services/core/academy_core", "services/api/academy_api/ledger")

# No example may fail because the machine was busy; a failure prints what reproduces it.
hypothesis.settings.register_profile("academy", deadline=None, print_blob=True)
hypothesis.settings.load_profile("academy")

_results = pytest.StashKey[dict[str, float]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--coverage-gate", action="store_true", help=f"fail when branch coverage is under {LEAST_PERCENT:g}%"
    )


# After pytest-cov has written the combined data.
@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if not config.getoption("--coverage-gate") or hasattr(config, "workerinput"):
        return
    if session.exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        return  # broken off: there may be no data, and an error here would hide what had failed until then
    data = coverage.Coverage(config_file=str(config.rootpath / "pyproject.toml"))
    data.load()
    results = {folder: _percent(data, config.rootpath / folder) for folder in GATED}
    config.stash[_results] = results
    if session.exitstatus == pytest.ExitCode.OK and min(results.values()) < LEAST_PERCENT:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for folder, percent in config.stash.get(_results, {}).items():
        verdict = "ok" if percent >= LEAST_PERCENT else f"FAILED, wanted {LEAST_PERCENT:g}%"
        terminalreporter.write_line(f"branch coverage of {folder}: {percent:.1f}% ({verdict})")


def _percent(data: coverage.Coverage, folder: Path) -> float:
    return data.report(include=[f"{folder}/*"], omit=["*/migrations/*"], file=io.StringIO())
