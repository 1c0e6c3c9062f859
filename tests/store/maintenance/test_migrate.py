"""Migrations: a database of the first release, with rows in every table, is brought to the newest schema."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, func, make_url, select, text
from sqlalchemy.pool import NullPool

from services.store.db.tables import metadata
from services.store.maintenance import migrate

FIRST_RELEASE = "0001"
ROWS = Path(__file__).with_name("release_0_1_0.sql").read_text()


@pytest.fixture
def empty_database(postgres_url: str) -> Iterator[Engine]:
    """A database without tables beside the one that the other tests use."""
    url = make_url(postgres_url)
    server = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text("CREATE DATABASE first_release"))
    try:
        yield create_engine(url.set(database="first_release"), poolclass=NullPool)
    finally:
        with server.connect() as connection:
            connection.execute(text("DROP DATABASE first_release"))


def test_a_database_of_the_first_release_is_upgraded_with_its_rows(empty_database: Engine) -> None:
    with empty_database.connect() as connection:
        command.upgrade(migrate.alembic_config(connection), FIRST_RELEASE)
        connection.exec_driver_sql(ROWS)
        connection.commit()
    migrate.upgrade(empty_database.url.render_as_string(hide_password=False))
    assert migrate.is_current(empty_database)
    with empty_database.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        empty = [
            table.name
            for table in metadata.sorted_tables
            if not connection.scalar(select(func.count()).select_from(table))
        ]
    assert empty == [], "a migration dropped rows, or release_0_1_0.sql has none"
