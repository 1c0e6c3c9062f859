"""Gates: what may follow only so fast, kept in rows so that all workers together keep to it and none sleeps."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, ScalarSelect, Select, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.errors import LeaseLost
from services.store.db.tables import rate_limit

CATCH_UP = timedelta(seconds=1)
"""How far a shared gate makes up for turns that came late."""


def exhausted(now: datetime) -> Select[tuple[str]]:
    """SQL: the keys of the gates that nobody may pass at this moment."""
    return select(rate_limit.c.key).where(rate_limit.c.available_at > now)


def available_at(key: object) -> ScalarSelect[datetime]:
    """SQL: when the gate of a column's key opens; NULL if it never closed."""
    return select(rate_limit.c.available_at).where(rate_limit.c.key == key).scalar_subquery()


def acquire(tx: Connection, key: str, pause: timedelta, now: datetime, catch_up: timedelta = timedelta()) -> None:
    """Passes a gate and closes it for `pause`. Raises LeaseLost when another worker was faster."""
    if key and pause and key not in acquire_all(tx, {key: pause}, now, catch_up):
        raise LeaseLost(f"another worker passed the gate {key}")


def acquire_all(
    tx: Connection, pauses: Mapping[str, timedelta], now: datetime, catch_up: timedelta = timedelta()
) -> dict[str, datetime]:
    """Passes those of the gates that are open, and closes each for its pause; until when."""
    if not pauses:
        return {}
    # In one order, so that two who take several never wait for each other.
    new = upsert(rate_limit).values([{"key": key, "available_at": now + pauses[key]} for key in sorted(pauses)])
    open_now = or_(rate_limit.c.available_at.is_(None), rate_limit.c.available_at <= now)
    then = func.greatest(rate_limit.c.available_at, now - catch_up) + (new.excluded.available_at - now)
    taken = new.on_conflict_do_update(index_elements=["key"], set_={"available_at": then}, where=open_now)
    return {
        row.key: row.available_at for row in tx.execute(taken.returning(rate_limit.c.key, rate_limit.c.available_at))
    }


def restart_all(tx: Connection, turns: Mapping[str, tuple[datetime, datetime]]) -> None:
    """Uses the turns that were taken: gate → (closed until then by taking it, and now until then).

    Raises LeaseLost when somebody has passed or closed one of them since.
    """
    given = [{"rate_limit_key": key, "taken": turns[key][0], "until": turns[key][1]} for key in sorted(turns)]
    if given and tx.execute(_USE, given).rowcount != len(given):
        raise LeaseLost("its turn at the gate was over before it went out")


_USE = (
    update(rate_limit)
    .where(rate_limit.c.key == bindparam("rate_limit_key"), rate_limit.c.available_at == bindparam("taken"))
    .values(available_at=bindparam("until"))
)


def is_available(key: str, now: datetime) -> ColumnElement[bool]:
    """SQL: whether a gate may be passed now."""
    return ~select(rate_limit.c.key).where(rate_limit.c.key == key, rate_limit.c.available_at > now).exists()


def acquire_periodic(tx: Connection, key: str, now: datetime) -> bool:
    return bool(tx.scalars(select(is_available(key, now))).one())


def restart(tx: Connection, key: str, until: datetime) -> None:
    """Nobody passes before `until`."""
    later = func.greatest(rate_limit.c.available_at, until)
    tx.execute(update(rate_limit).where(rate_limit.c.key == key).values(available_at=later))
