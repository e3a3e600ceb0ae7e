"""How long to wait before the next try, where a library's retry does not fit: waits that a stop must interrupt."""

import random
from collections.abc import Callable


def jittered(tries: int, base: float, cap: float, draw: Callable[[], float] = random.random) -> float:
    """Seconds before try number `tries` + 1 (`tries` ≥ 1): full jitter over an exponential, at most `cap`."""
    return draw() * min(cap, base * 2.0 ** min(tries, 32))
