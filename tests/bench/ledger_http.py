"""The ledger over HTTP: claim + complete a second through gunicorn, beside the same calls straight on Postgres.

The ratio is what the endpoints cost: HTTP at both ends, Django, the wire models. Workers are processes, each with one
connection; rounds alternate, and the median round is printed as one JSON object.

    make bench NAME=ledger_http
"""

import argparse

import served
from machine import report

from academy_local.servers.postgres import Postgres

SCRIPT = "academy_ledger.py"


def one_round(server: Postgres, *, workers: int, tasks: int) -> dict[str, float]:
    """Both ways, each in a database of its own."""
    direct = served.new_database(server, "direct")
    served.run(SCRIPT, "fill", str(tasks), env=direct)
    over_sql = served.drained_per_second(SCRIPT, direct, workers=workers, tasks=tasks)
    env = served.new_database(server, "http")
    served.run(SCRIPT, "fill", str(tasks), env=env)
    with served.api("ledgerapp", env, workers=2) as api:
        way = {"LEDGER_URL": api.base, "LEDGER_TOKEN": served.WORKER_TOKEN}
        over_http = served.drained_per_second(SCRIPT, env | way, workers=workers, tasks=tasks)
    return {"http": over_http, "sql": over_sql}


def main() -> None:
    """Measure with 1 and with 16 workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 16])
    arguments = parser.parse_args()
    with served.postgres() as server:
        figures = {
            f"{workers} workers": served.compare(
                [one_round(server, workers=workers, tasks=arguments.tasks) for _ in range(arguments.rounds)],
                "http",
                "sql",
            )
            for workers in arguments.workers
        }
    report(tasks=arguments.tasks, figures=figures)


if __name__ == "__main__":
    main()
