"""Rate limits shared by all workers, stored as rows so that no worker blocks while waiting.

A periodic job (bounce reading, nightly clean-up) keeps its next run time in a rate limit of its own. A rate limit
that was acquired later than now is void, since the clock was set back and its end may be far away.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from services.errors import LeaseLost
from services.store.db.tables import rate_limit

CATCH_UP = timedelta(seconds=1)
"""An acquisition that comes late shortens the next pause by at most this time, so that the average rate is kept."""

CLOCK_TOLERANCE = timedelta(minutes=1)
"""A rate limit acquired at most so much later than now is kept: another transaction may have read the clock later."""


class Renewal(NamedTuple):
    """An acquired rate limit whose pause starts again: the end of the pause so far, and the new end."""

    acquired_until: datetime
    until: datetime


def exhausted_keys(now: datetime) -> Select[tuple[str]]:
    """SQL: the keys that cannot be acquired now."""
    return select(rate_limit.c.key).where(is_exhausted(now))


def is_exhausted(now: datetime) -> ColumnElement[bool]:
    """SQL: whether a row cannot be acquired now."""
    return and_(rate_limit.c.available_at > now, ~_is_void(now))


def is_free(now: datetime) -> ColumnElement[bool]:
    """SQL: whether a row can be acquired now; also one that was never acquired."""
    return or_(rate_limit.c.available_at.is_(None), rate_limit.c.available_at <= now, _is_void(now))


def _is_void(now: datetime) -> ColumnElement[bool]:
    return func.coalesce(rate_limit.c.acquired_at > now + CLOCK_TOLERANCE, False)


def available_at(key: object, now: datetime) -> ScalarSelect[datetime]:
    """SQL: when the key in a column can be acquired; NULL for a key that is not limited."""
    return select(rate_limit.c.available_at).where(rate_limit.c.key == key, ~_is_void(now)).scalar_subquery()


def available(key: str, now: datetime) -> ColumnElement[bool]:
    """SQL: whether a key can be acquired now."""
    return ~select(rate_limit.c.key).where(rate_limit.c.key == key, is_exhausted(now)).exists()


def is_available(tx: Connection, key: str, now: datetime) -> bool:
    """Whether a key can be acquired now. Acquires nothing: another worker may be faster."""
    return bool(tx.scalars(select(available(key, now))).one())


def acquire(tx: Connection, key: str, pause: timedelta, now: datetime, catch_up: timedelta = timedelta()) -> None:
    """Acquires a key for `pause`. Raises LeaseLost when another worker has acquired it."""
    if key and pause and key not in acquire_all(tx, {key: pause}, now, catch_up):
        raise LeaseLost(f"another worker acquired the rate limit {key}")


def acquire_all(
    tx: Connection, pauses: Mapping[str, timedelta], now: datetime, catch_up: timedelta = timedelta()
) -> dict[str, datetime]:
    """Acquires the given keys that are available, each for its pause. Returns the ends of the pauses by key."""
    if not pauses:
        return {}
    # All workers acquire keys in alphabetical order, so that two workers cannot deadlock.
    rows = [{"key": key, "available_at": now + pauses[key], "acquired_at": now} for key in sorted(pauses)]
    new = upsert(rate_limit).values(rows)
    # `least`: the end of a void rate limit is later than now.
    begin = func.greatest(func.least(rate_limit.c.available_at, now), now - catch_up)
    pause_end = begin + (new.excluded.available_at - now)
    statement = new.on_conflict_do_update(
        index_elements=["key"], set_={"available_at": pause_end, "acquired_at": now}, where=is_free(now)
    ).returning(rate_limit.c.key, rate_limit.c.available_at)
    return {row.key: row.available_at for row in tx.execute(statement)}


def renew_all(tx: Connection, renewals: Mapping[str, Renewal]) -> None:
    """Starts the pauses of acquired keys again.

    Raises LeaseLost when another worker has acquired or postponed one of the keys since.
    """
    parameters = [{"limit": key, **renewals[key]._asdict()} for key in sorted(renewals)]
    if parameters and tx.execute(_RENEW, parameters).rowcount != len(parameters):
        raise LeaseLost("the pause of its rate limit ended before it was sent")


_RENEW = (
    update(rate_limit)
    .where(rate_limit.c.key == bindparam("limit"), rate_limit.c.available_at == bindparam("acquired_until"))
    .values(available_at=bindparam("until"))
)


def postpone(tx: Connection, key: str, until: datetime) -> None:
    """Makes a key unavailable until `until`, or longer where it is already."""
    later = func.greatest(rate_limit.c.available_at, until)
    new = upsert(rate_limit).values(key=key, available_at=until)
    tx.execute(new.on_conflict_do_update(index_elements=["key"], set_={"available_at": later}))


def release(tx: Connection, key: str) -> None:
    """Makes a key available at once."""
    tx.execute(delete(rate_limit).where(rate_limit.c.key == key))
