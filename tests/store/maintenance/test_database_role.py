"""What the role of pages and workers can and cannot do."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import ProgrammingError

from services.errors import ConfigError
from services.store.db.database import Database
from services.store.db.tables import metadata
from services.store.maintenance import migrate
from services.store.maintenance.database_role import ROLE, url_of_role


@pytest.fixture
def role(db: Database, postgres_url: str) -> Iterator[Connection]:
    engine = create_engine(url_of_role(postgres_url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE paper",
        "ALTER TABLE paper ADD COLUMN x int",
        "CREATE TABLE x (id int)",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "TRUNCATE paper",
        "COPY paper TO PROGRAM 'true'",
        "COPY paper TO '/tmp/x'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT rolpassword FROM pg_authid",
        "ALTER SYSTEM SET fsync = off",
        "CREATE ROLE x SUPERUSER",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "UPDATE alembic_version SET version_num = 'x'",
    ],
)
def test_the_role_cannot_change_tables_or_reach_the_server(role: Connection, statement: str) -> None:
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner|must be superuser"):
        role.execute(text(statement))


def test_the_role_reads_and_writes_every_table(role: Connection) -> None:
    for table in metadata.sorted_tables:
        for right in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            assert role.scalar(text(f"SELECT has_table_privilege('\"{table.name}\"', '{right}')")), (table.name, right)
    role.execute(text("CREATE TEMPORARY TABLE x AS SELECT 1"))


def test_only_a_user_who_may_create_roles_makes_it(postgres_url: str, db: Database) -> None:
    with pytest.raises(ConfigError, match=f"may not create the role {ROLE}"):
        migrate.upgrade(url_of_role(postgres_url), role_password="secret")


def test_the_role_gets_its_password_and_keeps_it_from_the_log(db: Database, postgres_url: str, tmp_path: Path) -> None:
    migrate.upgrade(postgres_url, role_password="it's 100 % secret")
    with db.transaction() as tx:
        stored = tx.scalars(text(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{ROLE}'")).one()
        assert stored.startswith("SCRAM-SHA-256$")
        tx.execute(text(f"ALTER ROLE {ROLE} PASSWORD NULL"))
