"""One real PostgreSQL for all tests that need it, its schema from the migrations, its tables empty before each test.

Each process of pytest-xdist has a server of its own: starting one takes about two seconds, and some tests look at
every lock and every activity of their server.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update

from services import local
from services.notifiers.email import email_settings
from services.notifiers.slack import slack_settings
from services.settings import Settings, load
from services.settings import settings as process_settings
from services.store.db.database import Database
from services.store.db.tables import metadata, shard
from services.store.maintenance import database_role, migrate
from tests.support.parallel import Grouped, group_of

CACHED = (process_settings, email_settings, slack_settings)
MAX_WORKERS = 8
"""Processes of pytest-xdist. With more, the longest group of tests alone decides how long all take."""

_TABLES = [f'"{table.name}"' for table in metadata.sorted_tables if table is not shard]
_IN_USE = " UNION ALL ".join(
    f"SELECT '{name}' AS name, pg_relation_size('{name}') > 8192 AS large WHERE EXISTS (SELECT FROM {name})"
    for name in _TABLES
)
"""The tables that hold rows, and whether each is larger than a page."""
_RESTART_SEQUENCES = (
    "SELECT setval(format('%I.%I', schemaname, sequencename), start_value, false)"
    " FROM pg_sequences WHERE last_value IS NOT NULL"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", type=int, default=60, help="seconds of random kills (tests/faults)")
    parser.addoption("--soak-seed", type=int, default=1, help="of the dice that choose whom to kill")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, since tests that start processes mostly wait; each has a database server."""
    return min((os.cpu_count() or 1) + 1, MAX_WORKERS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Grouped:
    return Grouped(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("processes") and group_of(item.nodeid) is None:
            raise pytest.UsageError(f"{item.nodeid} starts processes: name its file or folder in {group_of.__module__}")


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database of one shard on an embedded server that ends with the tests."""
    config = load(Settings, data_dir=tmp_path_factory.mktemp("postgres"), database_url="", broker_url="")
    with local.database(config, migrate.upgrade_embedded) as url:
        yield url


@pytest.fixture(scope="session")
def _database(postgres_url: str) -> Iterator[Database]:
    db = Database(postgres_url)
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Nothing here must survive a power cut, and truncating is quicker so. Without vacuum, rows are read in the
        # order in which they were written.
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("ALTER SYSTEM SET autovacuum = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    yield db
    db.close()


@pytest.fixture
def db(_database: Database) -> Database:
    """The database with one shard and nothing else in it."""
    return empty(_database)


def empty(database: Database) -> Database:
    """Deletes every row and starts every sequence again, as truncating all tables would at ten times the cost.

    A table of more than one page is truncated, so that deleted rows never put later ones out of order.
    """
    with database.transaction() as tx:
        in_use = {row.name: row.large for row in tx.execute(text(_IN_USE))}
        if large := [name for name, is_large in in_use.items() if is_large]:
            tx.execute(text(f"TRUNCATE {', '.join(large)} CASCADE"))
        tx.execute(text("SET LOCAL session_replication_role = replica"))  # No foreign key is checked.
        for name, is_large in in_use.items():
            if not is_large:
                tx.execute(text(f"DELETE FROM {name}"))
        tx.execute(text(_RESTART_SEQUENCES))
        tx.execute(update(shard).values(revision=0))
    return database


@pytest.fixture
def settings(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The settings of the whole process: this database, an empty data directory, nothing of the developer's own."""
    for name in [name for name in os.environ if name.startswith("PAPERWIRE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)  # a `.env` lies in no test's directory
    monkeypatch.setenv("PAPERWIRE_DATABASE_URL", database_role.url_of_role(postgres_url))
    monkeypatch.setenv("PAPERWIRE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PAPERWIRE_SECRET_KEY", "a key for tests alone of 32 characters or more")
    monkeypatch.setenv("PAPERWIRE_TIMEZONE", "UTC")
    _forget()
    yield process_settings()
    _forget()


def _forget() -> None:
    for cached in CACHED:
        cached.cache_clear()
