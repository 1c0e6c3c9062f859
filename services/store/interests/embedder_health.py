"""Failures of embedders. After a failure only the slow queue retries, at the stored time; a success clears it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, select, update

from services.errors import EmbedderError
from services.store.db import circuit_breaker
from services.store.db.circuit_breaker import EMBEDDER_PREFIX
from services.store.db.database import wake
from services.store.db.records import fetch_first
from services.store.db.tables import transport

MAX_RETRY_AFTER = 3600.0
"""Seconds. A longer Retry-After is cut, so that one wrong header does not stop interests for a week."""


@dataclass(frozen=True, slots=True)
class EmbedderFailure:
    reason: str
    retry_at: datetime


def failure(tx: Connection, name: str) -> EmbedderFailure | None:
    """The last failure of an embedder; None while it works."""
    return fetch_first(
        tx,
        EmbedderFailure,
        select(transport.c.down_because.label("reason"), transport.c.check_at.label("retry_at")).where(_fails(name)),
    )


def retry_pending(name: str, now: datetime) -> ColumnElement[bool]:
    """SQL: whether an embedder failed and its next retry is in the future."""
    return select(transport.c.key).where(_fails(name), transport.c.check_at > now).exists()


def is_backing_off(tx: Connection, name: str, now: datetime) -> bool:
    return bool(tx.scalars(select(retry_pending(name, now))).one())


def record_failure(tx: Connection, name: str, error: EmbedderError, now: datetime, scale: float) -> None:
    """Sets the next retry and wakes the slow queue for it.

    The server's Retry-After decides, up to an hour. Without it the retry comes after 30 s, doubled up to 15 minutes,
    and multiplied by `scale` in tests.
    """
    after = None if error.after is None else min(error.after, MAX_RETRY_AFTER)
    circuit_breaker.open(tx, EMBEDDER_PREFIX + name, str(error), now, scale, after)
    last = failure(tx, name)
    delay = last.retry_at - now if last else timedelta()
    wake(tx, "slow", after=delay.total_seconds())


def record_success(tx: Connection, name: str) -> None:
    tx.execute(update(transport).where(_fails(name)).values(down_because="", check_at=None, failures=0))


def _fails(name: str) -> ColumnElement[bool]:
    return and_(transport.c.key == EMBEDDER_PREFIX + name, transport.c.down_because != "")
