"""Whether the embedder may be asked. After a failure it rests, in a row; then the slow queue tries it alone, and what
it answers opens the way for everybody."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, select, update

from services.errors import EmbedderError
from services.store.db import circuit_breaker
from services.store.db.circuit_breaker import EMBEDDER_PREFIX
from services.store.db.database import Row, first, wake
from services.store.db.tables import transport

MAX_ASKED = 3600.0
"""Seconds: nobody is left without interests for a week by one header."""
_HELD = transport.c.down_because != ""


def failing(tx: Connection, name: str) -> Row | None:
    """`down_because` and `check_at`, the moment of the next try, while an embedder fails; None when it works."""
    return first(tx, select(transport.c.down_because, transport.c.check_at).where(_is(name)))


def reason(row: Row) -> str:
    """What people read of it."""
    return f"The embedder gives no vectors ({row['down_because']}): interests wait for it, queries go on."


def retry_pending(name: str, now: datetime) -> ColumnElement[bool]:
    """SQL: whether it failed so lately that nobody asks it."""
    return select(transport.c.key).where(_is(name), transport.c.check_at > now).exists()


def is_backing_off(tx: Connection, name: str, now: datetime) -> bool:
    return bool(tx.scalars(select(retry_pending(name, now))).one())


def failed(tx: Connection, name: str, error: EmbedderError, now: datetime, scale: float) -> None:
    """Lets it rest for as long as it asked for, an hour at most, else 30 s, doubling up to 15 minutes; then the slow
    queue is woken."""
    after = None if error.after is None else min(error.after, MAX_ASKED)
    circuit_breaker.open(tx, EMBEDDER_PREFIX + name, str(error), now, scale, after)
    row = failing(tx, name)
    pause: timedelta = row["check_at"] - now if row else timedelta()
    wake(tx, "slow", after=pause.total_seconds())


def answered(tx: Connection, name: str) -> None:
    works = {"down_because": "", "check_at": None, "failures": 0}
    tx.execute(update(transport).where(_is(name)).values(works))


def _is(name: str) -> ColumnElement[bool]:
    return and_(transport.c.key == EMBEDDER_PREFIX + name, _HELD)
