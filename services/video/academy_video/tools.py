"""What the video handlers work with, made once in `main`, and how they open a source."""

from dataclasses import dataclass

from academy_core.store import ObjectStore
from academy_video import intermediate, reader

CACHE_CONTROL = "public, max-age=31536000, immutable"
"""Of everything whose name carries its content's hash."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Clients, programs and limits of one worker process."""

    store: ObjectStore
    blocks: reader.Blocks
    """What was read of sources, at last what `looked` does not hold."""
    looked: reader.Blocks
    """What plans have read, which chunks will want: kept apart, or the first chunks would push it out."""
    ffmpeg: str
    ffprobe: str
    folder: str
    """Working directory of the children; nothing is written there."""
    uploads: int
    """How many files are uploaded at once."""

    def view(self, key: str, size: int, prefix: str, index: str | None, *, looking: bool = False) -> reader.View:
        """The source as ffmpeg is to read it: the object itself, or the normalised one that `index` describes.

        `looking`: for a plan.
        """
        blocks = self.looked if looking else self.blocks
        if index is None:
            return reader.View(blocks, [reader.Extent(key, 0, size)])
        made = self.index(prefix, index)
        return reader.View(blocks, [reader.Extent(prefix + file.name, 0, file.bytes) for file in made.files()])

    def index(self, prefix: str, name: str) -> intermediate.Index:
        """The index of a normalised source, or of what there is of it so far."""
        return intermediate.Index.model_validate_json(self.store.get(prefix + name))
