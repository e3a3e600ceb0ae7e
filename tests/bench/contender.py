"""How a contender's script is started: ours by this Python, the others' by one with an environment of its own.

They are kept apart because Django would take psycopg 3, which procrastinate brings, for the psycopg 2 that the API runs
on. `make setup` makes the others' environment, from the same lock file.
"""

import sys
from pathlib import Path

SCRIPTS = Path(__file__).parent / "contenders"
OTHERS = frozenset({"celery_worker.py", "dramatiq_worker.py", "procrastinate_ledger.py", "scene_detector.py"})
OTHERS_PYTHON = Path(__file__).parents[2] / ".tools" / "bench" / "bin" / "python"


def command(script: str, *arguments: str) -> list[str]:
    """The command line of a script in `contenders/`."""
    if script in OTHERS and not OTHERS_PYTHON.exists():
        raise SystemExit(f"{OTHERS_PYTHON} is missing: run `make setup`")
    python = OTHERS_PYTHON if script in OTHERS else sys.executable
    return [str(python), str(SCRIPTS / script), *arguments]
