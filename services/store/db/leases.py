"""Claiming a row so that one worker has it, and updating it only while that holds."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Table, Update, and_, bindparam, or_, select, update

from services.errors import LeaseLost
from services.store.db.database import Row, first


def free(table: Table, now: datetime) -> ColumnElement[bool]:
    return or_(table.c.lease_until.is_(None), table.c.lease_until <= now)


def claim(
    tx: Connection, table: Table, due: ColumnElement[bool], *, order: ColumnElement[Any], until: datetime, **values: Any
) -> Row | None:
    """Takes the first due row that no other transaction holds, with a new lease token; None if there is none."""
    oldest = select(*table.primary_key).where(due).order_by(order).limit(1).with_for_update(skip_locked=True).cte("due")
    mine = and_(*(column == oldest.c[column.name] for column in table.primary_key))
    leased = {"lease_token": uuid4(), "lease_until": until, **values}
    return first(tx, update(table).where(mine).values(leased).returning(*table.c))


def fenced(tx: Connection, table: Table, row: Row, **values: Any) -> None:
    """Updates a claimed row. Raises LeaseLost when somebody else has claimed it since."""
    query = update(table).where(_same(table, row), table.c.lease_token == row["lease_token"]).values(values)
    if tx.execute(query).rowcount == 0:
        raise LeaseLost(f"{table.name} {[row[column.name] for column in table.primary_key]} was taken over")


def take_all(tx: Connection, table: Table, changes: Sequence[tuple[Row, Row]]) -> None:
    """Updates locked rows, each (row, its new columns, the lease's too)."""
    _update_all(tx, table, changes, fence=())


def fenced_all(tx: Connection, table: Table, changes: Sequence[tuple[Row, Row]]) -> None:
    """Updates claimed rows, each (row, its new columns). Raises LeaseLost when one of them is not ours any more."""
    if _update_all(tx, table, changes, fence=("lease_token",)) != len(changes):
        raise LeaseLost(f"one of {len(changes)} rows of {table.name} was taken over")


def _update_all(tx: Connection, table: Table, changes: Sequence[tuple[Row, Row]], fence: tuple[str, ...]) -> int:
    """One statement for all that change the same columns."""
    key = tuple(column.name for column in table.primary_key)
    alike: dict[tuple[str, ...], list[Row]] = {}
    # In one order, so that two who update several never wait for each other.
    for row, values in sorted(changes, key=lambda change: [change[0][name] for name in key]):
        known = {f"old_{name}": row[name] for name in (*key, *fence)}
        alike.setdefault(tuple(values), []).append(known | {f"new_{name}": value for name, value in values.items()})
    found = (tx.execute(_updating(table, (*key, *fence), names), given) for names, given in alike.items())
    return sum(result.rowcount for result in found)


@cache
def _updating(table: Table, same: tuple[str, ...], names: tuple[str, ...]) -> Update:
    mine = [table.c[name] == bindparam(f"old_{name}") for name in same]
    return update(table).where(*mine).values({name: bindparam(f"new_{name}") for name in names})


def release(tx: Connection, table: Table, row: Row, **values: Any) -> None:
    """Ends the lease with the last update."""
    fenced(tx, table, row, lease_token=None, lease_until=None, **values)


def _same(table: Table, row: Row) -> ColumnElement[bool]:
    return and_(*(column == row[column.name] for column in table.primary_key))
