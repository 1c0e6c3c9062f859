"""Brings a database to the newest schema and creates its shards; safe to run twice and from two processes at once."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, func, insert, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from services.errors import ConfigError
from services.store.db.tables import shard
from services.store.delivery import sending_pause
from services.store.maintenance import database_role


def alembic_config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(url: str, shards: int = 1, role_password: str | None = None) -> None:
    """Migrates to the newest revision. Raises ConfigError if the database cannot be reached or has a newer revision.

    With `role_password`, also makes the role that pages and workers sign in with; an empty password sets none.
    """
    engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 10})
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(hashtextextended('paperwire:migrate', 0))"))
            connection.commit()
            _refuse_newer(connection)
            command.upgrade(alembic_config(connection), "head")
            _set_shards(connection, shards)
            sending_pause.start_if_copied(connection, connection.scalars(select(func.now())).one())
            if role_password is not None and not database_role.grant(connection, role_password):
                raise ConfigError(
                    f"the user of PAPERWIRE_DATABASE_URL may not create the role {database_role.ROLE}; run `paperwire "
                    "migrate` as a user who may create roles, or leave PAPERWIRE_DATABASE_ROLE_PASSWORD empty"
                )
            connection.commit()
    except OperationalError as error:
        raise ConfigError(f"the database cannot be reached: {str(error.orig).splitlines()[0]}") from None
    finally:
        engine.dispose()


def upgrade_embedded(url: str, shards: int = 1) -> None:
    """As `upgrade`, with the role of pages and workers, whom the embedded server trusts without a password."""
    upgrade(url, shards, role_password="")


def is_current(engine: Engine) -> bool:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() == _head()


def _head() -> str | None:
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def _refuse_newer(connection: Connection) -> None:
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if current is not None and current not in known:
        raise ConfigError(
            f"this database has the unknown schema revision {current}: a newer paperwire, or one from before 0.1.0,"
            " made it. Update paperwire, or start with an empty database"
        )


def _set_shards(connection: Connection, shards: int) -> None:
    present = connection.scalars(select(func.count()).select_from(shard)).one()
    if present not in (0, shards):
        raise ConfigError(
            f"PAPERWIRE_SHARDS is {shards}, this database has {present} shards; they cannot be changed yet"
        )
    if present == 0:
        connection.execute(insert(shard), [{"id": number, "revision": 0} for number in range(shards)])
    connection.commit()
