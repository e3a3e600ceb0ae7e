"""The AI workers' composition root: `python -m academy_ai.main cpu` (basic and lite) or `… premium`."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from academy_ai import sandbox, tasks
from academy_ai.host import Host, Life
from academy_ai.kind import AiKind, discover
from academy_core import settings as core_settings
from academy_core.errors import SettingsFault
from academy_core.kinds import Queue
from academy_core.store import R2Store
from academy_core.worker import run_worker

if TYPE_CHECKING:
    from academy_ai.vision import Vision


@dataclass(frozen=True, slots=True)
class Profile:
    """What tells one worker from the other."""

    settings: core_settings.AiWorkerSettings
    worker_id: str
    weights: Mapping[Queue, int]
    life: Life
    warm: bool = False
    """Load the kinds' code and models before the first bell is taken: the worker is ready when it is warm."""


def cpu() -> Profile:
    """Basic and lite, 3 : 1 by default (S-7)."""
    settings = core_settings.load(core_settings.AiCpuWorkerSettings)
    memory = settings.AI_CHILD_MEMORY_MIB * 2**20
    return Profile(
        settings,
        settings.AI_WORKER_ID_CPU,
        {Queue.AI_BASIC: settings.AI_WORKER_BASIC_POLL_WEIGHT, Queue.AI_LITE: settings.AI_WORKER_LITE_POLL_WEIGHT},
        Life(settings.AI_CHILD_MAX_TASKS, memory, 2 * memory, reader=vision_of(settings)),
    )


def vision_of(settings: core_settings.VisionSettings) -> "Vision | None":
    """Google Vision where it is set up. SettingsFault when its key is none."""
    if settings.GOOGLE_APPLICATION_CREDENTIALS is None:
        return None
    from academy_ai.vision import Vision  # noqa: PLC0415 - half a second of imports that few workers need

    return Vision(str(settings.GOOGLE_VISION_ENDPOINT), Path(settings.GOOGLE_APPLICATION_CREDENTIALS))


def premium() -> Profile:
    """Premium alone, on a GPU where there is one."""
    settings = core_settings.load(core_settings.AiGpuWorkerSettings)
    life = Life(settings.AI_CHILD_MAX_TASKS, settings.AI_CHILD_MEMORY_MIB * 2**20, None, settings.options())
    return Profile(settings, settings.AI_WORKER_ID_GPU, {Queue.AI_PREMIUM: 1}, life, warm=True)


PROFILES = {"cpu": cpu, "premium": premium}


def run(profile: Profile, kinds: Sequence[AiKind]) -> int:
    """Run these kinds until SIGTERM; returns the exit code."""
    settings = profile.settings
    sandbox.hide_memory()
    with closing(Host(profile.life, _folder(settings))) as host:
        if profile.warm:
            host.warm(sorted({kind.package for kind in kinds}))
        tools = tasks.Tools(
            ai=R2Store(settings, settings.R2_AI_BUCKET),
            video=R2Store(settings, settings.R2_VIDEO_BUCKET),
            host=host,
            folder=_folder(settings),
        )
        return run_worker(settings, tasks.handlers(tools, kinds), worker_id=profile.worker_id, weights=profile.weights)


def _folder(settings: core_settings.AiWorkerSettings) -> Path:
    folder = Path(settings.AI_WORKER_TEMP_DIR).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsFault(f"AI_WORKER_TEMP_DIR: {error.strerror}") from error
    return folder


def main(arguments: Sequence[str]) -> int:
    """Run the named profile's kinds until SIGTERM; returns the exit code."""
    if len(arguments) != 1 or arguments[0] not in PROFILES:
        sys.stderr.write(f"usage: python -m academy_ai.main {{{'|'.join(PROFILES)}}}\n")
        return 2
    try:
        profile = PROFILES[arguments[0]]()
        return run(profile, [kind for kind in discover().values() if kind.task.queue in profile.weights])
    except SettingsFault as fault:
        sys.stderr.write(f"{fault}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
