"""The stateful test over real Postgres, through the SQL: eight connections, stopped at statement boundaries."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from ledger_stateful import PostgresStateful


@pytest.mark.django_db(transaction=True)
def test_any_interleaving_of_calls_keeps_the_invariants() -> None:
    run_state_machine_as_test(
        PostgresStateful,
        settings=settings(
            max_examples=12,
            stateful_step_count=80,
            deadline=None,
            print_blob=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
