"""Writing many rows with one statement that PostgreSQL plans once, whatever their number."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    Connection,
    Executable,
    Table,
    TableValuedAlias,
    Text,
    bindparam,
    cast,
    column,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.dialects.postgresql import insert as upsert


def given_rows(table: Table, names: Sequence[str]) -> TableValuedAlias:
    """The rows of `write` as a table, with the types of the columns `names` of `table`."""
    columns = [column(name, table.c[name].type) for name in names]
    rows = func.json_to_recordset(cast(bindparam("rows", type_=Text), JSON))
    return rows.table_valued(*columns).render_derived(name="given", with_types=True)


def insert_rows(table: Table, names: Sequence[str]) -> Insert:
    return upsert(table).from_select(list(names), select(given_rows(table, names)))


def write(tx: Connection, statement: Executable, values: Sequence[Mapping[str, Any]]) -> None:
    """Executes a statement of `given_rows` or `insert_rows` for these rows, which it gets as one JSON parameter."""
    if values:
        tx.execute(statement, {"rows": json.dumps(values, default=str)})
