"""Django's Postgres backend over the bounded pool (`pool`) and, under gevent, cooperative waiting (`green`)."""

import functools
from typing import Any

from django.conf import settings
from django.db.backends.postgresql import base
from psycopg2.extensions import ISOLATION_LEVEL_READ_COMMITTED, connection

from academy_api.database import green
from academy_api.database.pool import Pool


@functools.cache
def pool() -> Pool:
    """This process's pool for the `default` database."""
    return Pool(settings.DB_POOL_SIZE, settings.DB_POOL_MAX_AGE)


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection as Django knows it: taken from the pool when first needed, given back at `close`."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> connection:
        """Take one from the pool, opening it if need be. Other databases than ours (tests' "postgres") bypass it."""
        self._pool = pool() if self._is_pooled(conn_params) else None
        open_one = functools.partial(super().get_new_connection, green.resolved(conn_params))
        if self._pool is None:
            raw: connection = open_one()
        else:
            self.isolation_level = ISOLATION_LEVEL_READ_COMMITTED  # what opening one sets
            raw = self._pool.take(open_one)
        return raw

    def _is_pooled(self, conn_params: dict[str, Any]) -> bool:
        return self.alias == "default" and conn_params["dbname"] == settings.DATABASES["default"]["NAME"]

    def _close(self) -> None:
        if self.connection is None:
            return
        if self._pool is None:
            super()._close()  # type: ignore[misc]  # Django's, missing in the stub
            return
        raw, self.connection = self.connection, None
        with self.wrap_database_errors:
            self._pool.give_back(raw)
