"""What the application's database role may do, and its timeouts: kept by the server, since a pooler takes no options.

Run by `release` as the migrating role, which owns the tables and made the application's role (docs/deploy.md). That
role cannot log in before: a connection keeps the settings of the moment it was made, and the pooler keeps connections.
"""

from django.db import connection
from psycopg2 import sql

SETTINGS = {
    # Below gunicorn's timeout of 30 s: a query ends with an error, not with its process.
    "statement_timeout": "25s",
    "lock_timeout": "10s",
    # A transaction that waits for its client keeps one of a few server connections.
    "idle_in_transaction_session_timeout": "30s",
    "search_path": "public",
    # As Django wants it, so that it does not set it on every connection.
    "timezone": "UTC",
}

_GRANTS = """
GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {role};
"""


def prepare(role: str) -> None:
    """Give `role` its rights on tables that are there and that will come, its settings here, and then its login."""
    name = sql.Identifier(role)
    database = sql.Identifier(connection.settings_dict["NAME"])
    statements = [sql.SQL(_GRANTS).format(role=name)]
    statements += [
        sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} TO {}").format(
            name, database, sql.Identifier(setting), sql.Literal(value)
        )
        for setting, value in SETTINGS.items()
    ]
    statements.append(sql.SQL("ALTER ROLE {} LOGIN").format(name))
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
