"""Gates: what may follow only so fast, kept in rows so that all workers together keep to it and none sleeps."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, ScalarSelect, Select, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.errors import LeaseLost
from services.store.db.tables import gate

CATCH_UP = timedelta(seconds=1)
"""How far a shared gate makes up for turns that came late."""


def exhausted(now: datetime) -> Select[tuple[str]]:
    """SQL: the keys of the gates that nobody may pass at this moment."""
    return select(gate.c.key).where(gate.c.next_free_at > now)


def available_at(key: object) -> ScalarSelect[datetime]:
    """SQL: when the gate of a column's key opens; NULL if it never closed."""
    return select(gate.c.next_free_at).where(gate.c.key == key).scalar_subquery()


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
    new = upsert(gate).values([{"key": key, "next_free_at": now + pauses[key]} for key in sorted(pauses)])
    open_now = or_(gate.c.next_free_at.is_(None), gate.c.next_free_at <= now)
    then = func.greatest(gate.c.next_free_at, now - catch_up) + (new.excluded.next_free_at - now)
    taken = new.on_conflict_do_update(index_elements=["key"], set_={"next_free_at": then}, where=open_now)
    return {row.key: row.next_free_at for row in tx.execute(taken.returning(gate.c.key, gate.c.next_free_at))}


def restart_all(tx: Connection, turns: Mapping[str, tuple[datetime, datetime]]) -> None:
    """Uses the turns that were taken: gate → (closed until then by taking it, and now until then).

    Raises LeaseLost when somebody has passed or closed one of them since.
    """
    given = [{"gate": key, "taken": turns[key][0], "until": turns[key][1]} for key in sorted(turns)]
    if given and tx.execute(_USE, given).rowcount != len(given):
        raise LeaseLost("its turn at the gate was over before it went out")


_USE = (
    update(gate)
    .where(gate.c.key == bindparam("gate"), gate.c.next_free_at == bindparam("taken"))
    .values(next_free_at=bindparam("until"))
)


def is_available(key: str, now: datetime) -> ColumnElement[bool]:
    """SQL: whether a gate may be passed now."""
    return ~select(gate.c.key).where(gate.c.key == key, gate.c.next_free_at > now).exists()


def acquire_periodic(tx: Connection, key: str, now: datetime) -> bool:
    return bool(tx.scalars(select(is_available(key, now))).one())


def restart(tx: Connection, key: str, until: datetime) -> None:
    """Nobody passes before `until`."""
    later = func.greatest(gate.c.next_free_at, until)
    tx.execute(update(gate).where(gate.c.key == key).values(next_free_at=later))
