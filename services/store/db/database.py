"""The one place that opens transactions and commits, and the call that wakes a stage."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    TIMESTAMP,
    BigInteger,
    CollectionAggregate,
    Connection,
    Engine,
    TableValuedAlias,
    any_,
    column,
    create_engine,
    event,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from services.store.db import bounded_connection

MAX_IDLE_WITHOUT_PING = 1.0
"""Seconds. A pooled connection that was idle for longer is tested before it is used."""
WAKE_CHANNEL = "paperwire_wake"
_CLOCK = select(func.clock_timestamp(type_=TIMESTAMP(timezone=True)))


class Database:
    """A pool of connections; make one per process, after forking."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 5,
        statement_timeout_ms: int = 0,
        answer_seconds: float | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """With `answer_seconds`, a server that hangs and a pool without a free connection are an error after that time.

        The server's own `statement_timeout_ms` should be shorter, since its error leaves the connection usable.
        """
        self._clock = clock
        options = f"-c statement_timeout={statement_timeout_ms} -c timezone=UTC"
        self.engine: Engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=5,
            pool_timeout=30 if answer_seconds is None else answer_seconds,
            hide_parameters=True,
            connect_args={"options": options, "connect_timeout": 10},
        )
        if answer_seconds is not None:
            bounded_connection.install(self.engine, answer_seconds)
        _ping_idle_connections(self.engine)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Commits at the end, rolls back on any exception. Nothing else in paperwire commits."""
        with self.engine.begin() as connection:
            yield connection

    def now(self, tx: Connection | None = None) -> datetime:
        """The time of the database's clock, which every lease and schedule uses. Tests may pass another clock.

        Within a transaction the call costs one statement, and the time advances; otherwise it costs a transaction.
        """
        if self._clock is not None:
            return self._clock()
        if tx is not None:
            return tx.scalars(_CLOCK).one()
        with self.transaction() as own_tx:
            return own_tx.scalars(_CLOCK).one()

    def close(self) -> None:
        self.engine.dispose()


def _ping_idle_connections(engine: Engine) -> None:
    """Tests a pooled connection before its use, as `pool_pre_ping` does, unless it was in use a moment ago."""

    @event.listens_for(engine, "checkin")
    def _(_: Any, record: ConnectionPoolEntry) -> None:
        record.info["idle_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _(connection: DBAPIConnection, record: ConnectionPoolEntry, _: Any) -> None:
        if time.monotonic() - record.info.get("idle_since", time.monotonic()) < MAX_IDLE_WITHOUT_PING:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error  # the pool tries another


def wake(tx: Connection, stage: str, after: float = 0.0) -> None:
    """Notifies the scheduler that `stage` has work, or will have in `after` seconds.

    PostgreSQL sends the notice at commit and never after a rollback. A lost notice delays the work
    until the next sweep.
    """
    notice = f"{stage} {after:.3f}" if after > 0 else stage
    tx.execute(text("SELECT pg_notify(:channel, :stage)"), {"channel": WAKE_CHANNEL, "stage": notice})


def lock(tx: Connection, name: str, *, shared: bool = False) -> None:
    """Holds the advisory lock `name` until the transaction ends, alone or with all others that share it."""
    take = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    tx.execute(text(f"SELECT {take}(hashtextextended(:name, 0))"), {"name": f"paperwire:{name}"})


def any_id(ids: Collection[int]) -> CollectionAggregate[Any]:
    """SQL: the ids as one array parameter. PostgreSQL would plan a list of parameters anew for each length."""
    return any_(literal(list(ids), ARRAY(BigInteger)))


def pairs(first_name: str, second_name: str, given: Iterable[tuple[int, int]]) -> TableValuedAlias:
    """SQL: pairs of ids as a table of two array parameters, so that one prepared statement serves any number."""
    pairs_of_ids = list(given)
    sides = (literal([pair[side] for pair in pairs_of_ids], ARRAY(BigInteger)) for side in (0, 1))
    named = func.unnest(*sides).table_valued(column(first_name, BigInteger), column(second_name, BigInteger))
    return named.render_derived()
