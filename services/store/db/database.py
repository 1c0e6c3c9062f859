"""The one place that opens transactions and commits, and the call that wakes a stage."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    TIMESTAMP,
    BigInteger,
    Connection,
    Engine,
    Executable,
    TableValuedAlias,
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

Row = dict[str, Any]
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
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._clock = clock
        options = f"-c statement_timeout={statement_timeout_ms} -c timezone=UTC"
        self.engine: Engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=5,
            hide_parameters=True,
            connect_args={"options": options, "connect_timeout": 10},
        )
        _ping_idle_connections(self.engine)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Commits at the end, rolls back on any exception. Nothing else in paperwire commits."""
        with self.engine.begin() as connection:
            yield connection

    def now(self, tx: Connection | None = None) -> datetime:
        """The time by the database's clock, which alone decides about leases and due times; a test may replace it.

        With `tx` this costs one statement of that transaction, otherwise a transaction.
        """
        if self._clock is not None:
            return self._clock()
        if tx is not None:
            return tx.scalars(_CLOCK).one()
        with self.transaction() as own:
            return own.scalars(_CLOCK).one()

    def close(self) -> None:
        self.engine.dispose()


def _ping_idle_connections(engine: Engine) -> None:
    """Tests a pooled connection before its use, as `pool_pre_ping` does, unless it was in use a moment ago."""

    @event.listens_for(engine, "checkin")
    def _(_: Any, record: ConnectionPoolEntry) -> None:
        record.info["rested_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _(connection: DBAPIConnection, record: ConnectionPoolEntry, _: Any) -> None:
        if time.monotonic() - record.info.get("rested_since", time.monotonic()) < MAX_IDLE_WITHOUT_PING:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error  # the pool tries another


def wake(tx: Connection, stage: str, after: float = 0.0) -> None:
    """Notifies the scheduler, once the transaction commits, that `stage` has work now or in `after` seconds.

    If the notice is lost, the next sweep finds the work.
    """
    payload = f"{stage} {after:.3f}" if after > 0 else stage
    tx.execute(text("SELECT pg_notify(:channel, :stage)"), {"channel": WAKE_CHANNEL, "stage": payload})


def lock(tx: Connection, name: str, *, shared: bool = False) -> None:
    """Holds the advisory lock `name` until the transaction ends, alone or with all others that share it."""
    take = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    tx.execute(text(f"SELECT {take}(hashtextextended(:name, 0))"), {"name": f"paperwire:{name}"})


def rows(tx: Connection, query: Executable, values: Row | None = None) -> list[Row]:
    return [dict(row) for row in tx.execute(query, values).mappings()]


def first(tx: Connection, query: Executable) -> Row | None:
    row = tx.execute(query).mappings().first()
    return None if row is None else dict(row)


def pairs(first_name: str, second_name: str, given: Iterable[tuple[int, int]]) -> TableValuedAlias:
    """SQL: pairs of ids as a table, two parameters however many they are."""
    both = list(given)
    sides = (literal([pair[side] for pair in both], ARRAY(BigInteger)) for side in (0, 1))
    named = func.unnest(*sides).table_valued(column(first_name, BigInteger), column(second_name, BigInteger))
    return named.render_derived()
