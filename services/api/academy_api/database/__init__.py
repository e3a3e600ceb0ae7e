"""Django database backend: Postgres over psycopg2, cooperative under gevent, behind a bounded pool a process.

`academy_api.database` is the ENGINE; `base` is what Django loads. `tenancy` has the composite keys of academy-owned
tables, `guard` keeps network calls out of transactions.
"""
