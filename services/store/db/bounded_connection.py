"""A connection that gives up when the server does not answer in time."""

from typing import Any

from psycopg import Connection, OperationalError
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Engine, event

CONNECT_SECONDS = 3


class BoundedConnection(Connection[Any]):
    """`statement_timeout` is kept by the server. It does not help when the server or the network hangs."""

    answer_seconds: float | None = None
    """The longest wait for one answer; None waits forever."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        try:
            return super().wait(gen, interval, self.answer_seconds if timeout is None else timeout)
        except OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                # The answer may still come and must not be taken for that of the next statement.
                self.pgconn.finish()
            raise


def install(engine: Engine, answer_seconds: float) -> None:
    """Makes the engine's connections raise OperationalError after `answer_seconds` without an answer."""

    @event.listens_for(engine, "do_connect")
    def _(_: Any, __: Any, arguments: list[Any], options: dict[str, Any]) -> BoundedConnection:
        connection = BoundedConnection.connect(*arguments, **{**options, "connect_timeout": CONNECT_SECONDS})
        connection.answer_seconds = answer_seconds
        return connection
