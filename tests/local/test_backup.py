"""Backup and restoration of a database that asks for a password."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from services import local

PASSWORD = "p@ss:w/ord%20?"


@pytest.fixture
def with_password(postgres_url: str) -> Iterator[URL]:
    """An empty database whose user signs in with a password."""
    url = make_url(postgres_url)
    server = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        rules = Path(connection.scalar(text("SHOW hba_file")) or "")
        before = rules.read_text()
        rules.write_text(f"local all keeper scram-sha-256\n{before}")
        connection.execute(text("SELECT pg_reload_conf()"))
        connection.exec_driver_sql(f"CREATE ROLE keeper SUPERUSER LOGIN PASSWORD '{PASSWORD.replace('%', '%%')}'")
        connection.execute(text("CREATE DATABASE kept OWNER keeper"))
    try:
        yield url.set(username="keeper", password=PASSWORD, database="kept")
    finally:
        rules.write_text(before)
        with server.connect() as connection:
            connection.execute(text("SELECT pg_reload_conf()"))
            connection.execute(text("DROP DATABASE kept"))
            connection.execute(text("DROP ROLE keeper"))


def test_the_password_of_the_url_signs_in(with_password: URL, tmp_path: Path) -> None:
    url, file = with_password.render_as_string(hide_password=False), tmp_path / "kept.backup"
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE note AS SELECT 'kept' AS words"))
    local.backup(url, file)
    with engine.begin() as connection:
        connection.execute(text("UPDATE note SET words = 'lost'"))
    local.restore(url, file, "INSERT INTO public.note VALUES ('restored')")
    with engine.begin() as connection:
        assert connection.scalars(text("SELECT words FROM note ORDER BY words")).all() == ["kept", "restored"]
