"""Leases: a worker claims a row for some time, and updates it only while no other worker has claimed it.

A claimed row is a record whose fields name columns; the primary key and `lease_token` are among them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Table, Update, bindparam, or_, select, update

from services.errors import LeaseLost
from services.store.db.records import columns_for, fetch_first

R = TypeVar("R")
_TOKEN = "lease_token"
Change = tuple[object, Mapping[str, Any]]
"""A record, and the new values of the columns to be changed."""


def free(table: Table, now: datetime) -> ColumnElement[bool]:
    """SQL: whether no worker has claimed a row."""
    return or_(table.c.lease_until.is_(None), table.c.lease_until <= now)


def claim(
    tx: Connection,
    table: Table,
    kind: type[R],
    due: ColumnElement[bool],
    *,
    order: ColumnElement[Any],
    until: datetime,
    **values: Any,
) -> R | None:
    """Claims the first due row that no other transaction has locked, and sets `values`; None when there is none."""
    first_due = (
        select(*table.primary_key).where(due).order_by(order).limit(1).with_for_update(skip_locked=True).cte("due")
    )
    query = (
        update(table)
        .where(*(column == first_due.c[column.name] for column in table.primary_key))
        .values({"lease_token": uuid4(), "lease_until": until, **values})
        .returning(*columns_for(table, kind))
    )
    return fetch_first(tx, kind, query)


def fenced(tx: Connection, table: Table, record: object, **values: Any) -> None:
    """Updates a claimed row. Raises LeaseLost when another worker has claimed it since."""
    key = {column.name: getattr(record, column.name) for column in table.primary_key}
    query = update(table).where(
        *(table.c[name] == value for name, value in key.items()),
        table.c.lease_token == getattr(record, _TOKEN),
    )
    if tx.execute(query.values(values)).rowcount == 0:
        raise LeaseLost(f"{table.name} {list(key.values())} was claimed by another worker")


def take_all(tx: Connection, table: Table, changes: Sequence[Change]) -> None:
    """Updates locked rows; the new columns include the lease."""
    _update_all(tx, table, changes, fence=())


def fenced_all(tx: Connection, table: Table, changes: Sequence[Change]) -> None:
    """Updates claimed rows. Raises LeaseLost when another worker has claimed any of the rows since."""
    if _update_all(tx, table, changes, fence=(_TOKEN,)) != len(changes):
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


def release(tx: Connection, table: Table, record: object, **values: Any) -> None:
    """Updates a claimed row and ends its lease. Raises LeaseLost."""
    fenced(tx, table, record, lease_token=None, lease_until=None, **values)
