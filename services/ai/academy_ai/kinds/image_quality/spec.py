"""image.quality: what goes in and what comes out. Light: the API may import it."""

from collections.abc import Iterable

from academy_ai.kind import KindInput
from academy_core.kinds import Payload, Queue, TaskKind, Urgency


class ImageQualityInput(KindInput):
    """One photograph or scan of a page."""

    image: str

    def sources(self) -> Iterable[str]:
        """See KindInput.sources."""
        yield self.image


class Problem(Payload):
    """What is wrong and what to do about it."""

    code: str
    ko: str
    en: str


class ImageQualityResult(Payload):
    """`problems` is empty for a good picture, the most telling problem comes first."""

    good: bool
    problems: tuple[Problem, ...]
    width: int
    height: int
    sharpness: float
    """Variance of the Laplacian of the page at 1,000 pixels over the squared contrast; in focus: more than 0.006."""
    brightness: float
    """Brightness of the paper, 0 to 255 (95th percentile)."""
    contrast: float
    """From the darkest print to the paper, 0 to 255."""
    sides_cut: int
    """Sides of the picture over which the paper runs out of view."""


KIND = TaskKind("image.quality", 1, Queue.AI_LITE, Urgency.SHORT, ImageQualityInput, ImageQualityResult, max_seconds=30)
