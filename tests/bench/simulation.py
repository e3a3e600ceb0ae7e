"""How long a lecture takes with n workers: a simulation of the ledger's order with measured task times.

Every worker takes the next chunk in order as soon as it is free; publish follows when all are done. What the network
adds to a task stands here as assumptions of R2 and a cluster, since the measured times come from one machine.
"""

import heapq
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from academy_video import ladder, plan

HOURS_2 = 7200
RATE = Fraction(30)
GOP = 180
R2_GET = 0.05
"""Seconds to the first byte of a ranged GET."""
R2_PUT = 0.15
"""Seconds of one PUT of a segment: what is left to upload when the encode ends, four files at once."""
R2_LIST = 0.2
"""Seconds of one page of a listing (1,000 keys)."""
API_CALL = 0.05
"""Seconds of a claim or a completion over the cluster's network and PgBouncer."""
RELAY_TURN = 0.5
"""Mean wait for the relay's next turn."""
GETS_A_CHUNK = 4
"""Index, head and the stretch itself, one after the other (see docs/services/video.md)."""
KEYS_A_SEGMENT = 4


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of each task on one worker that has the machine's cores to itself."""

    chunk_fixed: float
    chunk_a_second: float
    """Per second of media."""
    plan: float
    publish: float

    @classmethod
    def fitted(cls, chunks: Sequence[tuple[float, float]], plan_seconds: float, publish_seconds: float) -> "Measured":
        """A straight line through (media seconds, task seconds), by least squares."""
        count = len(chunks)
        mean_x = sum(x for x, _ in chunks) / count
        mean_y = sum(y for _, y in chunks) / count
        slope = sum((x - mean_x) * (y - mean_y) for x, y in chunks) / sum((x - mean_x) ** 2 for x, _ in chunks)
        return cls(max(0.0, mean_y - slope * mean_x), slope, plan_seconds, publish_seconds)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def simulate(measured: Measured, workers: int, seconds: int = HOURS_2) -> dict[str, float]:
    """Wall seconds until the first chunk plays and until the lecture is ready, and the workers' use."""
    frames = plan.chunk_frames(int(seconds * RATE), GOP, RATE, ladder.CHUNK_SECONDS)
    begin = measured.plan + GETS_A_CHUNK * R2_GET + 2 * API_CALL
    free = [begin] * workers
    heapq.heapify(free)
    ends: list[float] = []
    busy = 0.0
    for count in frames:
        took = measured.chunk_fixed + measured.chunk_a_second * float(count / RATE)
        took += GETS_A_CHUNK * R2_GET + R2_PUT + 2 * API_CALL
        start = heapq.heappop(free)
        heapq.heappush(free, start + took)
        ends.append(start + took)
        busy += took
    segments = -(-int(seconds * RATE) // GOP)
    publish = measured.publish + R2_LIST * -(-segments * KEYS_A_SEGMENT // 1000) + 2 * API_CALL
    wall = max(ends) + publish + RELAY_TURN
    return {
        "workers": workers,
        "first_playable": round(ends[0] + RELAY_TURN, 1),
        "wall": round(wall, 1),
        "times_real_time": round(seconds / wall, 1),
        "efficiency": round(busy / (workers * (max(ends) - begin)), 3),
    }
