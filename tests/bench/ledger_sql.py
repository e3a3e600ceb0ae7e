"""The ledger's SQL: claim + complete a second with 1 and 16 workers, beside procrastinate's on the same Postgres.

A worker is a process with one connection that claims and completes until nothing is ready; both contenders keep the
finished rows. Rounds alternate, ratios are made within a round, and the median round is printed as one JSON object.
The tasks are many, since a connection's first claims plan their statements and a worker's start and end count as well.

    make bench NAME=ledger_sql
"""

import argparse

import served
from machine import report

from academy_local.servers.postgres import Postgres

CONTENDERS = {"academy": "academy_ledger.py", "procrastinate": "procrastinate_ledger.py"}


def rate(name: str, server: Postgres, *, workers: int, tasks: int) -> float:
    """Claims + completions a second of one contender in a fresh database."""
    env = served.new_database(server, name)
    served.run(CONTENDERS[name], "fill", str(tasks), env=env)
    return served.drained_per_second(CONTENDERS[name], env, workers=workers, tasks=tasks)


def main() -> None:
    """Measure with 1 and with 16 workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 16])
    arguments = parser.parse_args()
    with served.postgres() as server:
        figures = {
            f"{workers} workers": served.compare(
                [
                    {name: rate(name, server, workers=workers, tasks=arguments.tasks) for name in CONTENDERS}
                    for _ in range(arguments.rounds)
                ],
                "academy",
                "procrastinate",
            )
            for workers in arguments.workers
        }
    report(tasks=arguments.tasks, figures=figures)


if __name__ == "__main__":
    main()
