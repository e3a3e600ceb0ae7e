"""The ledger's claim and complete: as the worker endpoints call them, or through them where LEDGER_URL says so."""

import os
import secrets
import sys
import uuid

import django

django.setup()

from django.core.management import call_command  # noqa: E402 - Django must be set up first

from academy_api.ledger import jobs, registry  # noqa: E402
from academy_api.ledger.leases import PostgresLedger  # noqa: E402
from academy_core.kinds import Payload, Queue, TaskKind, Urgency, WorkerClass  # noqa: E402
from academy_core.ledger import Accepts, ClaimRequest, CompleteRequest, Ledger, NewTask  # noqa: E402
from academy_core.ledger_client import HttpLedger  # noqa: E402

JOBS = 20
"""As many lectures as are encoded at once on a busy evening, each of another academy."""


class Number(Payload):
    """Input and result of a task that does nothing."""

    number: int


KIND = TaskKind("bench.chunk", 1, Queue.VIDEO, Urgency.BULK, Number, Number)
ACCEPTS = Accepts(kinds={KIND.name: (KIND.version,)})
URL = os.environ.get("LEDGER_URL")
ledger: Ledger = HttpLedger(URL, os.environ["LEDGER_TOKEN"], timeout=60) if URL else PostgresLedger(WorkerClass.VIDEO)


def _ignore(*_: object) -> None:
    """The bench's jobs have no owner."""


def task(number: int) -> NewTask:
    """One no-op task."""
    return NewTask(kind=KIND.name, version=KIND.version, input={"number": number})


def claim_and_complete(children: int = 0) -> bool:
    """One claim and its completion; False when nothing was ready."""
    secret = secrets.token_urlsafe(32)
    request = ClaimRequest(queue=Queue.VIDEO, accepts=ACCEPTS, worker="bench", secret=secret)
    claimed = ledger.claim(request).task
    if claimed is None:
        return False
    following = tuple(task(n) for n in range(children))
    ledger.complete(
        claimed.task,
        CompleteRequest(attempt=claimed.attempt, secret=secret, result=claimed.input, children=following),
    )
    return True


def fill(tasks: int) -> None:
    """Migrate, then give every job an equal share of ready tasks."""
    call_command("migrate", verbosity=0)
    for _ in range(JOBS):
        job = uuid.uuid4()
        jobs.submit(
            kind="bench",
            academy=job,
            owner_ref=job,
            task=task(0),
            output_prefix=f"bench/{job}/",
            request_id="bench",
        )
        claim_and_complete(children=tasks // JOBS)


def work() -> int:
    """Claim and complete until nothing is ready; returns how many."""
    ledger.probe()  # opens the connection, to Postgres or to the API
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    done = 0
    while claim_and_complete():
        done += 1
    return done


registry.register_kind(KIND)
registry.register_job(registry.JobKind("bench", _ignore, _ignore, _ignore, _ignore))

if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(int(sys.argv[2]))
    else:
        sys.stdout.write(f"{work()}\n")
