"""metav1 Conditions: pure. A list map by type whose transition times move only when a status does."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from academy_operator.model import Json, format_time

READY = "Ready"
SYNCED = "Synced"
DEGRADED = "Degraded"
NOT_SUPPORTED = "NotSupported"
MESSAGE_LIMIT = 1024
"""Characters kept of a message; the schema allows 32,768, nobody reads them."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a pass found out. `status` is "True", "False" or "Unknown"."""

    type: str
    status: str
    reason: str
    message: str = ""


def merge(old: Sequence[Json], new: Iterable[Condition], *, generation: int, now: datetime) -> list[dict[str, Any]]:
    """`old` with `new` laid over it by type; an unchanged status keeps its transition time."""
    merged = {str(entry["type"]): dict(entry) for entry in old}
    for condition in new:
        before = merged.get(condition.type)
        moved = before is None or before.get("status") != condition.status
        merged[condition.type] = {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message[:MESSAGE_LIMIT],
            "observedGeneration": generation,
            "lastTransitionTime": format_time(now) if before is None or moved else before["lastTransitionTime"],
        }
    return [merged[kind] for kind in sorted(merged)]


def find(conditions: Sequence[Json], kind: str) -> Json | None:
    """The condition of that type."""
    return next((entry for entry in conditions if entry.get("type") == kind), None)
