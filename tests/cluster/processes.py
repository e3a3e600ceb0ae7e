"""What runs on this machine, for those that start processes here and must leave none."""

from pathlib import Path


def command_lines() -> list[tuple[int, str]]:
    """PID and command line of every process."""
    found: list[tuple[int, str]] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended in this moment
            found.append((int(folder.name), line.replace(b"\0", b" ").decode(errors="replace")))
    return found


def traces(folder: str) -> list[str]:
    """Processes and mounts in whose lines this folder stands."""
    mounts = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    found = [f"process {pid}: {line}" for pid, line in command_lines() if folder in line]
    return found + [f"mount {line}" for line in mounts if folder in line]
