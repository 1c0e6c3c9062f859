"""Everything that belongs to an account, row by row, without secrets, vectors and rendered messages."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Select, Table, and_, func, select, tuple_

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
    session,
    silence,
    subscription,
    subscription_channel,
)

ROWS_AT_ONCE = 500
"""Rows that one transaction reads, so that a slow receiver holds no transaction open."""
Row = Mapping[str, Any]
_LEFT_OUT: Mapping[str, frozenset[str]] = {
    "subscription": frozenset({"weights", "terms", "threshold", "relaxed_thresholds", "feed_key", "shard", "revision"}),
    "channel": frozenset({"secret", "rate_limit_key"}),
    "session": frozenset({"digest"}),
    "delivery": frozenset({"rendered", "snapshot", "lease_token", "lease_until", "rate_limit_key", "idem_key"}),
    "match": frozenset({"revision", "run_id"}),
}
"""Columns that are secret, or mean nothing outside this database."""


def sections(db: Database, account_id: int, member_id: int | None = None) -> Iterator[tuple[str, Iterator[Row]]]:
    """The name of each section, and its rows. `member_id`: whose sessions are given; None: those of all members."""
    with db.transaction() as tx:
        subscription_ids = list(tx.scalars(select(subscription.c.id).where(subscription.c.account_id == account_id)))
    yield "account", _rows(db, _own(account, account.c.id == account_id), account, "id")
    of_member = [session.c.member_id == member_id] if member_id is not None else []
    sessions = _own(session, and_(session.c.account_id == account_id, *of_member))
    yield "sessions", _rows(db, sessions, session, "id")
    for table in (member, subscription, channel, silence, change_log, invitation):
        yield f"{table.name}s", _rows(db, _own(table, table.c.account_id == account_id), table, "id")
    links = subscription_channel
    keys = ("subscription_id", "channel_id")
    yield "subscription_channels", _rows(db, _own(links, links.c.account_id == account_id), links, *keys)
    for name, table in (("examples", interest_example), ("votes", feedback)):
        yield name, _papers_of(db, table, subscription_ids)
    yield "matches", _papers_of(db, match, subscription_ids)
    yield "deliveries", _rows(db, _deliveries(account_id), delivery, "id")


def _own(table: Table, where: Any) -> Select[Any]:
    left_out = _LEFT_OUT.get(table.name, frozenset())
    return select(*(column for column in table.c if column.name not in left_out)).where(where)


def _papers_of(db: Database, table: Table, subscription_ids: list[int]) -> Iterator[Row]:
    """The rows of a table about papers of subscriptions, with the titles, by the index of subscription and paper."""
    for subscription_id in subscription_ids:
        of_one = _own(table, table.c.subscription_id == subscription_id)
        titled = of_one.add_columns(paper.c.title).join_from(table, paper, paper.c.id == table.c.paper_id)
        yield from _rows(db, titled, table, "paper_id")


def _deliveries(account_id: int) -> Select[Any]:
    papers = select(func.array_agg(delivery_item.c.paper_id)).where(delivery_item.c.delivery_id == delivery.c.id)
    return _own(delivery, delivery.c.account_id == account_id).add_columns(papers.scalar_subquery().label("papers"))


def _rows(db: Database, query: Select[Any], table: Table, *key: str) -> Iterator[Row]:
    """The rows in the order of a unique key of the table, each part in a transaction of its own."""
    columns = [table.c[name] for name in key]
    after: tuple[Any, ...] | None = None
    while True:
        part = query.order_by(*columns).limit(ROWS_AT_ONCE)
        if after is not None:
            part = part.where(tuple_(*columns) > tuple_(*after))
        with db.transaction() as tx:
            rows = _read(tx, part)
        yield from rows
        if len(rows) < ROWS_AT_ONCE:
            return
        after = tuple(rows[-1][name] for name in key)


def _read(tx: Connection, query: Select[Any]) -> list[Row]:
    return [dict(row) for row in tx.execute(query).mappings()]
