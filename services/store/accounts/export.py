"""Everything that belongs to an account, row by row, without secrets, vectors and rendered messages."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Select, Table, and_, func, select, tuple_

from services.store.db.database import Database
from services.store.db.tables import (
    account,
    change_log,
    channel,
    delivery,
    delivery_item,
    feedback,
    interest_example,
    invitation,
    match,
    member,
    paper,
    paper_mark,
    session,
    silence,
    subscription,
    subscription_channel,
)

ROWS_AT_ONCE = 500
"""Rows that one transaction reads, so that a slow receiver holds no transaction open."""
_LEFT_OUT: Mapping[str, frozenset[str]] = {
    "subscription": frozenset({"weights", "terms", "threshold", "relaxed_thresholds", "feed_key", "shard", "revision"}),
    "channel": frozenset({"secret", "rate_limit_key"}),
    "session": frozenset({"digest"}),
    "delivery": frozenset({"rendered", "snapshot", "lease_token", "lease_until", "rate_limit_key", "idem_key"}),
    "match": frozenset({"revision", "run_id"}),
}
"""Columns that are secret, or mean nothing outside this database."""


@dataclass(frozen=True, slots=True)
class Section:
    """The rows of one kind, each with a value for every column."""

    name: str
    columns: tuple[str, ...]
    rows: Iterator[tuple[object, ...]]


def sections(db: Database, account_id: int, member_id: int | None = None) -> Iterator[Section]:
    """Each kind of rows. `member_id`: whose sessions are given; None: those of all members."""
    with db.transaction() as tx:
        subscription_ids = list(tx.scalars(select(subscription.c.id).where(subscription.c.account_id == account_id)))
    yield _section(db, "account", _own(account, account.c.id == account_id), account, "id")
    of_member = [session.c.member_id == member_id] if member_id is not None else []
    sessions = _own(session, and_(session.c.account_id == account_id, *of_member))
    yield _section(db, "sessions", sessions, session, "id")
    for table in (member, subscription, channel, silence, invitation):
        yield _section(db, f"{table.name}s", _own(table, table.c.account_id == account_id), table, "id")
    changes = _own(change_log, change_log.c.account_id == account_id)
    yield _section(db, "changes", changes, change_log, "id")
    links = _own(subscription_channel, subscription_channel.c.account_id == account_id)
    yield _section(db, "subscription_channels", links, subscription_channel, "subscription_id", "channel_id")
    for name, table in (("examples", interest_example), ("votes", feedback), ("matches", match)):
        yield _papers_of(db, name, table, subscription_ids)
    marks = _own(paper_mark, paper_mark.c.account_id == account_id).add_columns(paper.c.title)
    titled = marks.join_from(paper_mark, paper, paper.c.id == paper_mark.c.paper_id)
    yield _section(db, "marks", titled, paper_mark, "paper_id")
    yield _section(db, "deliveries", _deliveries(account_id), delivery, "id")


def _own(table: Table, where: Any) -> Select[Any]:
    left_out = _LEFT_OUT.get(table.name, frozenset())
    return select(*(column for column in table.c if column.name not in left_out)).where(where)


def _papers_of(db: Database, name: str, table: Table, subscription_ids: list[int]) -> Section:
    """The rows of a table about papers of subscriptions, with the titles, by the index of subscription and paper."""

    def of_one(subscription_id: int) -> Section:
        own = _own(table, table.c.subscription_id == subscription_id)
        titled = own.add_columns(paper.c.title).join_from(table, paper, paper.c.id == table.c.paper_id)
        return _section(db, name, titled, table, "paper_id")

    rows = (row for subscription_id in subscription_ids for row in of_one(subscription_id).rows)
    return Section(name, of_one(0).columns, rows)


def _deliveries(account_id: int) -> Select[Any]:
    papers = select(func.array_agg(delivery_item.c.paper_id)).where(delivery_item.c.delivery_id == delivery.c.id)
    return _own(delivery, delivery.c.account_id == account_id).add_columns(papers.scalar_subquery().label("papers"))


def _section(db: Database, name: str, query: Select[Any], table: Table, *key: str) -> Section:
    columns = tuple(column.name for column in query.selected_columns)
    return Section(name, columns, _rows(db, query, columns, [table.c[part] for part in key]))


def _rows(
    db: Database, query: Select[Any], columns: Sequence[str], key: Sequence[Column[Any]]
) -> Iterator[tuple[object, ...]]:
    """The rows in the order of a unique key, each part in a transaction of its own."""
    places = [columns.index(column.name) for column in key]
    last: tuple[object, ...] | None = None
    while True:
        part = query.order_by(*key).limit(ROWS_AT_ONCE)
        if last is not None:
            part = part.where(tuple_(*key) > tuple_(*(last[place] for place in places)))
        with db.transaction() as tx:
            rows = [tuple(row) for row in tx.execute(part)]
        yield from rows
        if len(rows) < ROWS_AT_ONCE:
            return
        last = rows[-1]
