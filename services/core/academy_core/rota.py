"""Which queue gets the next free slot: stride scheduling over weights, pure (S-7).

The worker loop asks `choose` among the queues it may poll, says `served` when one gave a bell and `empty` when one
had none. With all queues full the shares are the weights'; a queue that was empty starts level, without arrears.
"""

from collections.abc import Collection, Mapping
from typing import Generic, TypeVar

Q = TypeVar("Q", bound=str)


class Rota(Generic[Q]):
    """Each queue's pass advances by 1/weight a bell; the lowest pass goes next, ties to the heavier queue."""

    def __init__(self, weights: Mapping[Q, int]) -> None:
        """`weights`: queue -> share, each at least 1."""
        if not weights or any(weight < 1 for weight in weights.values()):
            raise ValueError("a rota needs queues, each with a weight of at least 1")
        self._weights = dict(weights)
        self._passes = dict.fromkeys(self._weights, 0.0)
        self._now = 0.0

    def choose(self, among: Collection[Q]) -> Q:
        """The queue whose turn it is."""
        return min(among, key=lambda queue: (self._passes[queue], -self._weights[queue], queue))

    def served(self, queue: Q) -> None:
        """The queue gave a bell."""
        self._now = max(self._now, self._passes[queue])
        self._passes[queue] += 1 / self._weights[queue]

    def empty(self, queue: Q) -> None:
        """The queue had no bell: it saves up no turns."""
        self._passes[queue] = max(self._passes[queue], self._now)
