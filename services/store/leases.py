"""Claiming a row so that one worker has it, and updating it only while that holds."""

from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Table, and_, or_, select, update

from services.errors import LeaseLost
from services.store.database import Row, first


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


def release(tx: Connection, table: Table, row: Row, **values: Any) -> None:
    """Ends the lease with the last update."""
    fenced(tx, table, row, lease_token=None, lease_until=None, **values)


def _same(table: Table, row: Row) -> ColumnElement[bool]:
    return and_(*(column == row[column.name] for column in table.primary_key))
