"""Rows as typed records: the columns of a query become the fields of a frozen dataclass, matched by name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import Connection, Executable, FromClause

R = TypeVar("R")


def fetch_all(tx: Connection, kind: type[R], query: Executable, values: Mapping[str, object] | None = None) -> list[R]:
    """Every row of `query` as a `kind`, a dataclass whose fields name columns of the query."""
    return list(fetch(tx, kind, query, values))


def fetch_first(tx: Connection, kind: type[R], query: Executable) -> R | None:
    """The first row of `query` as a `kind`; None when there is no row."""
    return next(fetch(tx, kind, query), None)


def fetch(tx: Connection, kind: type[R], query: Executable, values: Mapping[str, object] | None = None) -> Iterator[R]:
    """As `fetch_all`, one record at a time."""
    result = tx.execute(query, values)
    names = field_names(kind)
    # Columns in the order of the fields need no reordering, which costs a third of the time.
    rows: Any = result if tuple(result.keys()) == names else result.columns(*names)
    return (kind(*row) for row in rows)


def columns_for(table: FromClause, kind: type[Any]) -> Sequence[Any]:
    """The columns of `table` that are fields of `kind`, in the order of the fields."""
    return [table.c[name] for name in field_names(kind) if name in table.c]


def field_names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
