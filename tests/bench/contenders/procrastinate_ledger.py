"""procrastinate's own SQL for one claim (fetch_job) and one completion (finish_job), without its worker around it."""

import asyncio
import os
import sys

import procrastinate
from procrastinate.jobs import Status

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["DSN"], min_size=1, max_size=1))


@app.task(name="bench", queue="bench")
def job(number: int) -> None:
    """Never runs: only its row is claimed and completed."""


async def fill(jobs: int) -> None:
    """Create the schema and `jobs` ready rows."""
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await job.batch_defer_async(*({"number": n} for n in range(jobs)))


async def work() -> int:
    """Claim and complete until nothing is ready; returns how many."""
    done = 0
    async with app.open_async():
        worker = await app.job_manager.register_worker()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        while (row := await app.job_manager.fetch_job(["bench"], worker)) is not None:
            await app.job_manager.finish_job(row, Status.SUCCEEDED, delete_job=False)
            done += 1
    return done


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        asyncio.run(fill(int(sys.argv[2])))
    else:
        sys.stdout.write(f"{asyncio.run(work())}\n")
