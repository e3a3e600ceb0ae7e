"""Similar questions by their grams, in one statement over the GIN index.

Rare grams lead to candidates, all grams rank them (`question_similar.grams`). Leads are taken rarest first until they
name LEAD_BUDGET questions, so a search costs the same in a bank of a thousand and of a hundred thousand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from academy_ai.kinds.question_similar import grams
from academy_api.questions.models import Gram, gram_key

LEAD_BUDGET = 1_500

_SEARCH = """
WITH asked AS (SELECT unnest(%(keys)s::bigint[]) AS key, unnest(%(weights)s::float8[]) AS weight),
candidate AS MATERIALIZED (SELECT id, grams FROM questions_question WHERE grams && %(leads)s::bigint[])
SELECT candidate.id, sum(asked.weight) AS shared
FROM candidate CROSS JOIN LATERAL unnest(candidate.grams) AS held(key) JOIN asked ON asked.key = held.key
GROUP BY candidate.id ORDER BY shared DESC, candidate.id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Found:
    """One similar question. `score`: the share of the text's weight that the question has too, 0 to 1."""

    question: UUID
    score: float


def similar(academy: UUID, text: str, limit: int) -> list[Found]:
    """The academy's questions most like `text`, best first; none for a text without a letter or digit."""
    keys = [gram_key(academy, gram) for gram in grams.grams(text)]
    holders = dict(Gram.objects.filter(key__in=[*keys, gram_key(academy, "")]).values_list("key", "holders"))
    total = holders.pop(gram_key(academy, ""), 0)
    leads = leading(holders)
    if not leads:
        return []
    weights = [grams.weight(holders.get(key, 0), total) for key in keys]
    values: dict[str, list[int] | list[float] | int] = {
        "keys": keys,
        "weights": weights,
        "leads": leads,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SEARCH, values)
        return [Found(question, shared / sum(weights)) for question, shared in cursor.fetchall()]


def leading(holders: Mapping[int, int]) -> list[int]:
    """The rarest keys, until they lead to LEAD_BUDGET questions; always one where there is one."""
    leads: list[int] = []
    reached = 0
    for key, count in sorted(holders.items(), key=lambda item: (item[1], item[0])):
        if leads and reached + count > LEAD_BUDGET:
            break
        if count > 0:
            leads.append(key)
            reached += count
    return leads
