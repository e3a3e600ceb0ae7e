"""The API tests of the previous release, run by its own code on this version's schema: `make previous-release`.

While a release rolls out, and after a rollback, the previous version works on the new schema (ADR 0141). Its tree is
taken from the history as `charts/released/VERSION/commit` names it; only the migrations are this version's.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
RELEASED = Path(__file__).parent / "charts" / "released"
TREE = ROOT / ".tools" / "previous-release"
"""Not below /tmp, which may be small: its packages are 2 GB, links to uv's cache where that is on the same disk."""
APPS = Path("services/api/academy_api")
TESTS = "tests/integration/api"
ELSEWHERE = ("test_browser_playback.py", "test_event_loop.py")
"""What shows nothing of the schema: a browser, and seconds of this machine's CPU, which the release held to its own."""
SETUP_SECONDS = 600
TEST_SECONDS = 1800


def version_of(folder: Path) -> tuple[int, ...]:
    """To sort releases by."""
    return tuple(map(int, folder.name.split(".")))


@contextmanager
def fresh(tree: Path) -> Iterator[None]:
    """An empty folder, whatever a run that was killed has left there; removed afterwards."""
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    try:
        tree.chmod(0o755)  # as root, Postgres is run as somebody else, from the tree's own packages
        yield
    finally:
        shutil.rmtree(tree, ignore_errors=True)  # its servers end after the tests, and may write there yet


def check_out(commit: str, tree: Path) -> None:
    """The tree of that commit, which a shallow clone fetches first."""
    if subprocess.run(["git", "cat-file", "-e", commit], cwd=ROOT, stderr=subprocess.DEVNULL, check=False).returncode:
        subprocess.run(["git", "fetch", "--quiet", "--unshallow"], cwd=ROOT, check=True)
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    subprocess.run(["tar", "-x"], cwd=tree, input=archive.stdout, check=True)


def take_migrations(tree: Path) -> list[str]:
    """This version's migrations in place of that tree's; those that it did not have."""
    news = []
    for ours in sorted((ROOT / APPS).glob("*/migrations")):
        theirs = tree / ours.relative_to(ROOT)
        news += [f"{ours.parent.name}.{path.stem}" for path in ours.glob("0*.py") if not (theirs / path.name).exists()]
        shutil.rmtree(theirs, ignore_errors=True)
        shutil.copytree(ours, theirs, ignore=shutil.ignore_patterns("__pycache__"))
    return news


def main() -> int:
    """pytest's exit code."""
    release = max(RELEASED.iterdir(), key=version_of)
    commit = (release / "commit").read_text(encoding="ascii").strip()
    with fresh(TREE):
        check_out(commit, TREE)
        news = take_migrations(TREE)
        print(f"release {release.name} ({commit[:7]}) on this schema, new to it: {', '.join(news) or 'nothing'}")  # noqa: T201  (a command)
        environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        sync = ["uv", "sync", "--quiet", "--frozen", "--extra", "dev"]
        subprocess.run(sync, cwd=TREE, env=environment, check=True, timeout=SETUP_SECONDS)
        ignored = [f"--ignore={TESTS}/{name}" for name in ELSEWHERE]
        tests = [str(TREE / ".venv/bin/pytest"), "-n", "auto", "--maxprocesses=4", *ignored, TESTS]
        return subprocess.run(tests, cwd=TREE, env=environment, check=False, timeout=TEST_SECONDS).returncode


if __name__ == "__main__":
    sys.exit(main())
