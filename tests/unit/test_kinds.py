"""What a task kind's payloads are on the wire."""

import pytest
from pydantic import ValidationError

from academy_core.kinds import Payload, Queue, TaskKind, Urgency
from academy_core.ledger import NewTask
from academy_core.video import PLAN, PlanInput


class Before(Payload):
    """A payload of the previous release."""

    n: int


class Part(Payload):
    """What it may hold now."""

    kept: bool = False


class Now(Payload):
    """The same payload with what was added to it."""

    n: int
    turned: int = 0
    parts: tuple[Part, ...] = ()


KIND = TaskKind("test.kind", 1, Queue.VIDEO, Urgency.BULK, Now, Now)


def test_the_previous_release_takes_what_uses_nothing_new() -> None:
    assert Before.model_validate(NewTask.of(KIND, Now(n=1)).input) == Before(n=1)


@pytest.mark.parametrize("used", [Now(n=1, turned=90), Now(n=1, parts=(Part(),)), Now(n=1, parts=(Part(kept=True),))])
def test_it_refuses_what_it_would_do_wrong_and_this_one_reads_it_as_it_was(used: Now) -> None:
    sent = NewTask.of(KIND, used).input
    assert Now.model_validate(sent) == used
    with pytest.raises(ValidationError):
        Before.model_validate(sent)


def test_a_plan_is_asked_for_by_what_the_first_release_knew() -> None:
    asked = PlanInput(source_key="k", source_bytes=1, source_etag="e")
    assert NewTask.of(PLAN, asked).input == {"source_key": "k", "source_bytes": 1, "source_etag": "e"}
