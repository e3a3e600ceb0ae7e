"""The video worker's composition root: `python -m academy_video.main`."""

import shutil
import sys
from pathlib import Path

from academy_core import settings as core_settings
from academy_core.errors import SettingsFault
from academy_core.kinds import Queue
from academy_core.store import R2Store
from academy_core.tasks import Handler
from academy_core.worker import run_worker
from academy_video import ladder, plan, reader, tasks
from academy_video.tools import Tools


def build(settings: core_settings.VideoWorkerSettings) -> list[Handler]:
    """The handlers over real clients. SettingsFault when ffmpeg is missing or the folder cannot be made."""
    folder = Path(settings.VIDEO_WORKER_TEMP_DIR)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsFault(f"VIDEO_WORKER_TEMP_DIR: {error.strerror}") from error
    store = R2Store(settings, settings.R2_VIDEO_BUCKET)
    looked = reader.looked(store)
    tools = Tools(
        store=store,
        blocks=reader.Blocks(store, looked),
        looked=looked,
        ffmpeg=_binary("FFMPEG_BIN", settings.FFMPEG_BIN),
        ffprobe=_binary("FFPROBE_BIN", settings.FFPROBE_BIN),
        folder=str(folder),
        uploads=settings.UPLOAD_MAX_CONCURRENCY,
    )
    rules = plan.Rules(
        settings.HLS_TIME_SECONDS,
        settings.MIN_SEGMENTS_PER_VARIANT,
        loudness=ladder.LOUDNESS_LUFS if settings.LOUDNESS_NORMALIZE else None,
    )
    return tasks.handlers(tools, rules, settings.THUMBNAIL_AT_SECONDS)


def _binary(variable: str, name: str) -> str:
    """The program's full path: children have no PATH to look it up in."""
    found = shutil.which(name)
    if found is None:
        raise SettingsFault(f"{variable}: there is no program {name}")
    return found


def main() -> int:
    """Run until SIGTERM; returns the exit code."""
    try:
        settings = core_settings.load(core_settings.VideoWorkerSettings)
        handlers = build(settings)
    except SettingsFault as fault:
        sys.stderr.write(f"{fault}\n")
        return 2
    return run_worker(settings, handlers, worker_id=settings.VIDEO_WORKER_ID, weights={Queue.VIDEO: 1})


if __name__ == "__main__":
    sys.exit(main())
