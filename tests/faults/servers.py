"""One real PostgreSQL and Valkey for all fault tests, with a database for each test and a clock that tests set."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import psycopg
import redis

from services import local
from services.local.process import processes_in, without_children
from services.settings import Settings, load
from services.store.maintenance import migrate
from tests.support.service import until

CLOCK = """
    CREATE SCHEMA clock;
    CREATE TABLE clock.setting (ahead interval NOT NULL);
    INSERT INTO clock.setting VALUES ('0');
    CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE
        AS 'SELECT pg_catalog.now() + ahead FROM clock.setting';
    CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
        AS 'SELECT pg_catalog.clock_timestamp() + ahead FROM clock.setting';
    DO $$ DECLARE defaulted record; BEGIN
        FOR defaulted IN SELECT table_name, column_name FROM information_schema.columns
                   WHERE table_schema = 'public' AND column_default = 'now()' LOOP
            EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET DEFAULT clock.now()',
                           defaulted.table_name, defaulted.column_name);
        END LOOP;
    END $$"""
"""Functions that shadow `now()` and `clock_timestamp()`, so that a test can set the time of all processes."""


class Servers:
    """The embedded servers, which are restarted after a kill as in `up`."""

    def __init__(self, data_dir: Path, database_url: str, broker_url: str) -> None:
        self.data_dir, self.database_url, self.broker_url = data_dir, database_url, broker_url
        self._numbers = count(1)
        with self._connected() as connection:
            connection.execute(CLOCK)

    def new_database(self) -> str:
        """The URL of a migrated, empty database whose clock can be set."""
        name = f"faults_{next(self._numbers)}"
        with self._connected("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE paperwire STRATEGY file_copy")
            connection.execute(f"ALTER DATABASE {name} SET search_path = clock, pg_catalog, public")
        return self.database_url.replace("/paperwire?", f"/{name}?")

    def _connected(self, name: str = "paperwire") -> "psycopg.Connection[tuple[object, ...]]":
        url = self.database_url.replace("postgresql+psycopg", "postgresql").replace("/paperwire?", f"/{name}?")
        return psycopg.connect(url, autocommit=True)

    def stop_database_immediately(self) -> None:
        """Stops PostgreSQL like `pg_ctl stop -m immediate`; returns when it is running again."""
        before = self._postmaster()
        os.kill(before, signal.SIGQUIT)
        until(lambda: self._postmaster() not in (0, before) and self._answers(), "the database is back", 60)

    def _postmaster(self) -> int:
        processes = without_children(processes_in("postgres", self.data_dir / "postgres"))
        return processes[0].pid if processes else 0

    def _answers(self) -> bool:
        try:
            with self._connected("postgres"):
                return True
        except psycopg.OperationalError:
            return False

    def cut_connections(self, database_url: str) -> int:
        """Ends every session of a database."""
        name = database_url.partition("?")[0].rpartition("/")[2]
        statement = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"
        with self._connected("postgres") as connection:
            row = connection.execute(statement, [name]).fetchone()
        return int(str(row[0])) if row else 0

    def broker(self) -> "redis.Redis":
        return redis.Redis.from_url(local.redis_url(self.broker_url))

    def kill_broker(self) -> None:
        (before,) = processes_in("valkey-server", self.data_dir / "valkey")
        before.kill()
        until(lambda: self._pings(), "the broker is back", 60)

    def _pings(self) -> bool:
        with suppress(redis.ConnectionError), self.broker() as broker:
            return bool(broker.ping())
        return False


@contextmanager
def servers(data_dir: Path) -> Iterator[Servers]:
    config = load(Settings, data_dir=data_dir, database_url="", broker_url="", secret_key="")
    with local.servers(config, migrate.upgrade_embedded) as (database_url, broker_url):
        yield Servers(data_dir, database_url, broker_url)
