"""The ledger's and relay's Prometheus metrics (S-20). Counters live where the event happens; the relay sets gauges."""

from prometheus_client import Counter, Gauge

SENT = Counter("ledger_messages_sent", "Bells and deaths that SQS has taken.", ["queue", "what"])
HOOK_FAILURES = Counter("ledger_hook_failures", "Times an owner's hook raised while its job ended.", ["kind"])
EXPIRED = Counter("ledger_leases_expired", "Leases that ran out.", ["queue"])
DEATHS = Counter("ledger_tasks_dead", "Tasks that used up their limits.", ["queue", "kind"])
TOPPED_UP = Counter("ledger_bells_topped_up", "Bells sent because too few were visible for 60 s.", ["queue"])
DLQ_DELETED = Counter("ledger_dlq_deleted", "DLQ messages deleted because no dead task matches.", ["queue"])
FINISHING = Gauge("ledger_jobs_finishing", "Jobs whose owner's hook has yet to succeed.", multiprocess_mode="max")
OUTBOX_LAG = Gauge("relay_outbox_lag_seconds", "Age of the oldest message due and not sent.", multiprocess_mode="max")
OUTBOX_DUE = Gauge("relay_outbox_due", "Messages due and not sent.", multiprocess_mode="max")
ACTIVE = Gauge("relay_active", "1 while this relay holds the lock.", multiprocess_mode="livesum")
DUTY_FAILURES = Counter("relay_duty_failures", "Runs of a duty that raised.", ["duty"])
