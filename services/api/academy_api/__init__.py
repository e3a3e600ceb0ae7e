"""The API, the relay and the migrations: the only code that touches Postgres."""
