"""Cgroups by name: the one thing that ends with no namespace, so whoever makes them removes them."""

from pathlib import Path

from support import wait_until

STOP_SECONDS = 60


def make(name: str) -> None:
    """Make it in every hierarchy."""
    for root in _hierarchies():
        group = root / name
        group.mkdir(exist_ok=True)
        # Version 1 starts a cpuset empty, and an empty one takes no process.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (root / file).exists():
                (group / file).write_text((root / file).read_text(encoding="ascii"), encoding="ascii")


def found(name: str) -> list[Path]:
    """Where it is."""
    return [path for root in _hierarchies() if (path := root / name).exists()]


def remove(name: str) -> None:
    """Remove it and what is in it; AssertionError when a process stays in it."""

    def removed() -> bool:
        for group in found(name):
            for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
                _rmdir(folder)
            _rmdir(group)
        return not found(name)

    wait_until(removed, STOP_SECONDS, f"the cgroups of {name} are empty")


def _hierarchies() -> list[Path]:
    """Roots of the cgroup trees: one a controller in version 1, one in all in version 2."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return [root]
    return [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]


def _rmdir(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # a process in it is still ending: the next round takes it
