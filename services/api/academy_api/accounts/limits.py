"""Throttles and allowances, counted in Postgres: no process has a count of its own to disagree about.

Both are a `Limit` that subjects spend: a throttle counts requests over minutes, an allowance bytes or jobs over a day
or a month. A window starts with the first spending and lasts `seconds`.
"""

import math
from dataclasses import dataclass

from django.db import connection

from academy_core.errors import Reason, TooManyRequests

# One statement: concurrent spenders queue on the row. What would go over is not counted, so that a caller who keeps
# knocking does not keep himself out.
_SPEND = """
INSERT INTO accounts_spent AS s (subject, amount, ends_at)
VALUES (%(subject)s, %(amount)s, clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (subject) DO UPDATE SET
  amount = CASE WHEN s.ends_at <= clock_timestamp() THEN excluded.amount ELSE s.amount + excluded.amount END,
  ends_at = CASE WHEN s.ends_at <= clock_timestamp() THEN excluded.ends_at ELSE s.ends_at END
WHERE s.ends_at <= clock_timestamp() OR s.amount + excluded.amount <= %(limit)s
RETURNING 1
"""
_LEFT = "SELECT extract(epoch FROM ends_at - clock_timestamp()) FROM accounts_spent WHERE subject = %s"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` in `seconds` for each subject."""

    name: str
    amount: int
    seconds: int
    reason: Reason | None = None

    def spend(self, subject: object, amount: int = 1) -> None:
        """Count `amount` for `subject`; TooManyRequests, counting nothing, when it does not fit.

        Call it in autocommit, or a later rollback gives the amount back.
        """
        name = self._subject(subject)
        if amount > self.amount:
            raise TooManyRequests(self.seconds, f"limit {self.name}", reason=self.reason)
        values: dict[str, str | int] = {
            "subject": name,
            "amount": amount,
            "seconds": self.seconds,
            "limit": self.amount,
        }
        with connection.cursor() as cursor:
            cursor.execute(_SPEND, values)
            if cursor.fetchone() is not None:
                return
            cursor.execute(_LEFT, [name])
            row = cursor.fetchone()
        left = max(1, math.ceil(row[0])) if row else 1
        raise TooManyRequests(left, f"limit {self.name}", reason=self.reason)

    def forget(self, subject: object) -> None:
        """Start anew for `subject`."""
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM accounts_spent WHERE subject = %s", [self._subject(subject)])

    def _subject(self, subject: object) -> str:
        return f"{self.name}:{subject}"
