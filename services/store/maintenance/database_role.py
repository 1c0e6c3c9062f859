"""The role that pages and workers sign in with: it reads and writes rows, and can do nothing else to the server."""

from psycopg import sql
from sqlalchemy import Connection, make_url, text

ROLE = "paperwire_app"

_CAN_CREATE = text("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
_EXISTS = text("SELECT 1 FROM pg_roles WHERE rolname = :role").bindparams(role=ROLE)
_GRANTS = (
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
    # Workers collect matches in a temporary table before they insert them.
    "GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role}",
    # For `paperwire backup`, which reads where sequences stand.
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
    "REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {role}",
)


def url_of_role(url: str) -> str:
    """The URL of the same database for ROLE, on a server that asks for no password."""
    return make_url(url).set(username=ROLE).render_as_string(hide_password=False)


def grant(connection: Connection, password: str = "") -> bool:
    """Creates ROLE when it is missing, and gives it its rights to all tables. False if this user may not create roles.

    With a `password`, ROLE signs in with it. Without, the server must trust ROLE, as the embedded server does.
    """
    if not connection.scalar(_CAN_CREATE):
        return False
    driver = connection.connection.driver_connection
    assert driver is not None
    if connection.scalar(_EXISTS) is None:
        connection.execute(text(f"CREATE ROLE {ROLE} LOGIN"))
    connection.execute(text(f"ALTER ROLE {ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"))
    if password:
        set_password = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(ROLE), sql.Literal(password))
        connection.exec_driver_sql(set_password.as_string(driver).replace("%", "%%"))
    database = connection.scalar(text("SELECT quote_ident(current_database())"))
    for statement in _GRANTS:
        connection.execute(text(statement.format(role=ROLE, database=database)))
    return True
