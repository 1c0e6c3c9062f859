"""Claiming a row so that one worker has it, and updating it only while that holds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Table, Update, and_, bindparam, or_, select, update

from services.errors import LeaseLost
from services.store.db.database import Row, first

Change = tuple[object, Mapping[str, Any]]
"""A record whose fields name columns, and the new values of the columns to be changed."""


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


def take_all(tx: Connection, table: Table, changes: Sequence[Change]) -> None:
    """Updates locked rows; the new columns include the lease."""
    _update_all(tx, table, changes, fence=())


def fenced_all(tx: Connection, table: Table, changes: Sequence[Change]) -> None:
    """Updates claimed rows. Raises LeaseLost when another worker has claimed one of them since."""
    if _update_all(tx, table, changes, fence=("lease_token",)) != len(changes):
        raise LeaseLost(f"one of {len(changes)} rows of {table.name} was claimed by another worker")


def _update_all(tx: Connection, table: Table, changes: Sequence[Change], fence: tuple[str, ...]) -> int:
    """One statement for all rows that change the same columns. Returns the number of updated rows."""
    key = tuple(column.name for column in table.primary_key)
    by_columns = defaultdict[tuple[str, ...], list[dict[str, Any]]](list)
    # All workers update rows in the order of their keys, so that two workers cannot deadlock.
    for record, values in sorted(changes, key=lambda change: [getattr(change[0], name) for name in key]):
        old = {f"old_{name}": getattr(record, name) for name in (*key, *fence)}
        by_columns[tuple(values)].append(old | {f"new_{name}": value for name, value in values.items()})
    results = (
        tx.execute(_update_by(table, (*key, *fence), names), parameters) for names, parameters in by_columns.items()
    )
    return sum(result.rowcount for result in results)


@cache
def _update_by(table: Table, same: tuple[str, ...], names: tuple[str, ...]) -> Update:
    """Cached, since every batch of deliveries uses the same few statements."""
    conditions = [table.c[name] == bindparam(f"old_{name}") for name in same]
    return update(table).where(*conditions).values({name: bindparam(f"new_{name}") for name in names})


def release(tx: Connection, table: Table, row: Row, **values: Any) -> None:
    """Ends the lease with the last update."""
    fenced(tx, table, row, lease_token=None, lease_until=None, **values)


def _same(table: Table, row: Row) -> ColumnElement[bool]:
    return and_(*(column == row[column.name] for column in table.primary_key))
