"""Waiting: exponential backoff with jitter, and a token bucket for the sweep. Pure but for the injected clock."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

BASE_SECONDS = 2.0
CAP_SECONDS = 300.0


def delay(failures: int, rng: random.Random) -> float:
    """Seconds to wait after so many failures in a row (1 …): doubles up to 5 min, between half and all of it."""
    ceiling = min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(failures - 1, 16))
    return ceiling * (0.5 + rng.random() / 2)


@dataclass(slots=True)
class TokenBucket:
    """`rate` tokens a second, at most `burst` saved up."""

    rate: float
    burst: float
    monotonic: Callable[[], float]
    _tokens: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        """Start full."""
        self._tokens = self.burst
        self._at = self.monotonic()

    def take(self) -> bool:
        """Take one token if there is one."""
        now = self.monotonic()
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
