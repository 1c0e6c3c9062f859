"""Writing many rows with one statement that PostgreSQL plans once, whatever their number."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    CollectionAggregate,
    Connection,
    Executable,
    Table,
    TableValuedAlias,
    Text,
    any_,
    bindparam,
    cast,
    column,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.dialects.postgresql import insert as upsert


def any_id(ids: Collection[int]) -> CollectionAggregate[Any]:
    """The ids as one parameter. PostgreSQL would plan a list of parameters again for each length."""
    return any_(literal(list(ids), ARRAY(BigInteger)))


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
