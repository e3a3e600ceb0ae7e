"""What every benchmark prints: its figures, the machine in general terms, and the commit measured."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import psutil


def describe() -> dict[str, Any]:
    """Cores, memory (GiB), Python, commit and date of this run."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "kernel": platform.release().split("-")[0],
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def report(**figures: Any) -> None:
    """Print the one JSON object of a benchmark."""
    sys.stdout.write(json.dumps({"machine": describe(), **figures}, indent=1) + "\n")
