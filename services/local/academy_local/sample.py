"""A lecture that ffmpeg draws, for whoever has none at hand: slides that change, a clock, a tone that beeps."""

import subprocess
from pathlib import Path

SECONDS = 60
_SLIDES = "[0:v]hue=h=36*floor(t/10),scale={size}:flags=neighbor[slide]"
_CLOCK = "[slide][1:v]overlay=x=W-w-40:y=H-h-40,format=yuv420p[v]"


def make(target: Path, seconds: int = SECONDS, size: str = "1920:1080", rate: int = 30) -> None:
    """Write the sample as MP4. subprocess.CalledProcessError when ffmpeg fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"draft-{target.name}")
    command = [
        *("ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", "-y"),
        # Slides: a still picture that takes another colour every ten seconds; drawn small, for speed.
        *("-f", "lavfi", "-i", f"smptehdbars=size=320x180:rate={rate}:duration={seconds}"),
        # The clock: testsrc counts the seconds without needing a font.
        *("-f", "lavfi", "-i", f"testsrc=size=320x240:rate={rate}:duration={seconds}"),
        # A beep at the start of every second.
        *("-f", "lavfi", "-i", f"sine=frequency=330:beep_factor=4:sample_rate=48000:duration={seconds}"),
        *("-filter_complex", f"{_SLIDES.format(size=size)};{_CLOCK}"),
        *("-map", "[v]", "-map", "2:a"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-crf", "20", "-g", str(2 * rate)),
        *("-c:a", "aac", "-b:a", "96k", "-movflags", "+faststart", str(draft)),
    ]
    subprocess.run(command, check=True)  # noqa: S603 - our own command line
    draft.replace(target)
