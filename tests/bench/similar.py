"""Similar questions: time of a search over HTTP, and how often the right one is among the first ten.

A made bank (`question_made`, seeded) is put into a fresh Postgres and searched through the API as it is served
(gunicorn, gevent): questions asked in other words, and with reading errors in 5% of the characters. Beside it the same
queries by plain character n-grams (2 and 3, inverse document frequency), in memory on a smaller bank. Prints one JSON
object.

    python tests/bench/similar.py --questions 100000 --queries 300
"""

import argparse
import json
import math
import os
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from machine import describe

from academy_local import ports, processes
from academy_local.servers.postgres import Postgres

sys.path.insert(0, str(Path(__file__).parents[1]))
import question_made

SEED = 5
ERRORS = (0.0, 0.05)
ADDED_AT_ONCE = 1000


def environment(server: Postgres) -> dict[str, str]:
    """Where the API finds its database; everything else are the tests' throw-away values."""
    return {
        "DB_NAME": "academy",
        "DB_USER": "postgres",
        "DB_PASSWORD": server.password,
        "DB_HOST": ports.HOST,
        "DB_PORT": str(server.port),
        "DB_DIRECT_PORT": str(server.port),
        "DB_CONN_MAX_AGE": "60",
        "GUNICORN_WORKERS": "1",
        "ACADEMY_TEST_RUN_PID": str(os.getpid()),
        "R2_ENDPOINT": f"http://{ports.HOST}:1",
        "AWS_ENDPOINT_URL_SQS": f"http://{ports.HOST}:1",
    }


def fill(bank: Sequence[question_made.Question]) -> tuple[str, list[str]]:
    """An academy with the bank; an API key's secret and the questions' ids, in order."""
    from django.core.management import call_command  # noqa: PLC0415 - Django is set up by the caller

    from academy_api.accounts import people  # noqa: PLC0415
    from academy_api.accounts.access import Role, Scope  # noqa: PLC0415
    from academy_api.accounts.auth import of_membership  # noqa: PLC0415
    from academy_api.accounts.models import Academy, Membership, Person  # noqa: PLC0415
    from academy_api.questions import service  # noqa: PLC0415
    from academy_api.questions.models import Question  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    academy = Academy.objects.create(name=secrets.token_urlsafe(16))
    person = Person.objects.create(email="bench@example.com", password="!")
    member = Membership.objects.create(
        academy=academy, person=person, role=Role.TEACHER, name=secrets.token_urlsafe(16)
    )
    _, secret = people.make_key(of_membership(member), "bench", frozenset({Scope.EXAMS_READ}))
    rows = [Question(academy=academy, text=question.text) for question in bank]
    for start in range(0, len(rows), ADDED_AT_ONCE):
        service.add(academy.pk, rows[start : start + ADDED_AT_ONCE])
    return secret, [str(row.pk) for row in rows]


def asked(bank: Sequence[question_made.Question], queries: int, errors: float) -> list[tuple[int, str]]:
    """Places in the bank and how somebody else would put the question there."""
    rng = random.Random(SEED)  # noqa: S311 - always the same queries
    places = rng.sample(range(len(bank)), queries)
    return [(place, question_made.asked_otherwise(bank[place], rng, errors=errors)) for place in places]


def searched(base: str, secret: str, ids: Sequence[str], queries: Sequence[tuple[int, str]]) -> dict[str, float]:
    """Recall at 10 and times in ms of these searches, one after another."""
    times, hits = [], 0
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {secret}"}, timeout=30) as client:
        for place, text in queries:
            begun = time.perf_counter()
            answer = client.post("/api/v1/questions/search", json={"text": text})
            times.append(1000 * (time.perf_counter() - begun))
            answer.raise_for_status()
            hits += ids[place] in [each["question"]["id"] for each in answer.json()]
    return {
        "recall_at_10": round(hits / len(queries), 3),
        "p50_ms": round(statistics.median(times), 1),
        "p95_ms": round(statistics.quantiles(times, n=20)[-1], 1),
        "max_ms": round(max(times), 1),
    }


def plain_ngrams(bank: Sequence[question_made.Question], queries: Sequence[tuple[int, str]]) -> float:
    """Recall at 10 of character 2- and 3-grams weighted by inverse document frequency: the usual way."""

    def grams(text: str) -> frozenset[str]:
        text = "".join(text.split()).lower()
        return frozenset(text[at : at + n] for n in (2, 3) for at in range(len(text) - n + 1))

    held = [grams(question.text) for question in bank]
    holders = Counter(gram for each in held for gram in each)
    weights = {gram: math.log(1 + (len(bank) - count + 0.5) / (count + 0.5)) for gram, count in holders.items()}
    hits = 0
    for place, text in queries:
        mine = grams(text)
        scores = [(sum(weights[gram] for gram in mine & each), at) for at, each in enumerate(held)]
        hits += place in [at for _, at in sorted(scores, reverse=True)[:10]]
    return round(hits / len(queries), 3)


def same(bank: Sequence[question_made.Question], queries: int) -> dict[str, float]:
    """Share of questions typed again (spaces, signs, a lost letter) that are marked as the same."""
    from academy_ai.kinds.question_similar import grams  # noqa: PLC0415

    rng = random.Random(SEED)  # noqa: S311
    again = [(question.text, question_made.with_trifles(question.text, rng)) for question in rng.sample(bank, queries)]
    return {"marked": round(sum(grams.likeness(*pair) >= grams.SAME for pair in again) / queries, 3)}


def main() -> None:
    """Fill, serve, search, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=100_000, help="in the bank (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=300, help="of each kind (default: %(default)s)")
    given = parser.parse_args()
    bank = question_made.bank(given.questions, SEED)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        server = Postgres(folder / "postgres", ports.free(1)[0], secrets.token_urlsafe(16))
        server.prepare()
        child = processes.Child(server.command(), folder / "postgres.log")
        try:
            child.wait_ready(server.ready, 60)
            print(json.dumps(measure(bank, given.queries, server, folder), indent=2))  # noqa: T201
        finally:
            child.stop()


def measure(bank: list[question_made.Question], queries: int, server: Postgres, folder: Path) -> dict[str, Any]:
    """Everything, with the server up."""
    os.environ |= environment(server)
    os.environ["DJANGO_SETTINGS_MODULE"] = "django_settings"
    import django  # noqa: PLC0415
    from gunicorn_support import serve  # noqa: PLC0415

    server.create_database("academy")
    django.setup()
    begun = time.perf_counter()
    secret, ids = fill(bank)
    filled = time.perf_counter() - begun
    with serve(folder) as served:
        found = {
            f"errors_{share:g}": searched(served.base, secret, ids, asked(bank, queries, share)) for share in ERRORS
        }
    small = bank[:5000]
    plain = {f"errors_{share:g}": plain_ngrams(small, asked(small, min(queries, 100), share)) for share in ERRORS}
    return {
        "machine": describe(),
        "seed": SEED,
        "questions": len(bank),
        "queries": queries,
        "added_a_second": round(len(bank) / filled),
        "search": found,
        "plain_ngrams_recall_at_10_of_5000": plain,
        "typed_again": same(bank, queries),
    }


if __name__ == "__main__":
    main()
