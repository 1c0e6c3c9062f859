"""Matches: stored once for each subscription and paper, and sent through delivery items."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import islice

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    exists,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.delivery.schedule import GROUP_CLOSES_AFTER
from services.domain.subscriptions.best import HELD_BACK
from services.domain.subscriptions.silence import SILENCED
from services.store.db.database import any_id
from services.store.db.records import columns_for, fetch_all, fetch_first
from services.store.db.tables import (
    account,
    channel,
    delivery_item,
    match,
    paper,
    run,
    subscription,
    subscription_channel,
)
from services.store.papers import merging
from services.store.subscriptions.records import (
    ChannelToNotify,
    Match,
    MatchToNotify,
    NewItem,
    NewMatch,
    UnnotifiedMatch,
)

OF_CURRENT_PAPER = exists().where(paper.c.id == match.c.paper_id, paper.c.merged_into.is_(None))
"""SQL: excludes a match of a merged paper, whose subscription has another match of the current paper."""
LINES_PER_WRITE = 10_000
"""Lines sent to COPY at a time."""
_NULL = "\\N"
_COLUMNS = "account_id, subscription_id, paper_id, run_id, score, decided, revision"
_CREATE_INCOMING = text(
    f"CREATE TEMPORARY TABLE IF NOT EXISTS incoming_match ON COMMIT DELETE ROWS AS SELECT {_COLUMNS} FROM match LIMIT 0"
)
_INSERT_INCOMING = text(
    f"INSERT INTO match ({_COLUMNS}) SELECT {_COLUMNS} FROM incoming_match "
    "ON CONFLICT (subscription_id, paper_id) DO NOTHING"
)


def store(tx: Connection, matches: Sequence[NewMatch]) -> int:
    """Writes matches and returns the number of new ones. A match that exists already is not changed.

    Matches of a subscription that was deleted meanwhile are left out: its row, or its account's, may be gone. A paper
    that was merged meanwhile is written as the current one.

    COPY cannot skip rows that exist, so it fills a temporary table of this connection, from which they are inserted.
    """
    merging.lock_against_merges(tx)
    current_ids = merging.current_ids(tx, {new.paper_id for new in matches})
    subscription_ids = {new.subscription_id for new in matches}
    undeleted = (
        select(subscription.c.id)
        .where(subscription.c.id == any_id(subscription_ids), subscription.c.deleted_at.is_(None))
        # Every transaction that locks several subscriptions locks them in this order, so that none deadlock.
        .order_by(subscription.c.id)
        .with_for_update(read=True, key_share=True)
    )
    undeleted_ids = set(tx.scalars(undeleted))
    matches = [new for new in matches if new.subscription_id in undeleted_ids]
    if not matches:
        return 0
    tx.execute(_CREATE_INCOMING)
    driver = tx.connection.driver_connection
    assert driver is not None
    with driver.cursor() as cursor, cursor.copy(f"COPY incoming_match ({_COLUMNS}) FROM STDIN") as copy:
        lines = _copy_lines(matches, current_ids)
        while block := "".join(islice(lines, LINES_PER_WRITE)):
            copy.write(block)
    return tx.execute(_INSERT_INCOMING).rowcount


def _copy_lines(matches: Iterable[NewMatch], current_ids: Mapping[int, int]) -> Iterator[str]:
    """Lines in COPY's text format. The driver would look up the type of each value and take ten times as long."""
    encoded: dict[str, str] = {}
    for new in matches:
        decided = encoded.get(new.reason)
        if decided is None:
            # JSON escapes with backslashes whatever a line must not contain. COPY needs the backslashes doubled.
            decided = encoded[new.reason] = json.dumps({"why": new.reason}).replace("\\", "\\\\")
        yield (
            f"{new.account_id}\t{new.subscription_id}\t{current_ids[new.paper_id]}"
            f"\t{_NULL if new.run_id is None else new.run_id}\t{_NULL if new.score is None else new.score}"
            f"\t{decided}\t{new.revision}\n"
        )


def is_group_complete(now: datetime, scale: float) -> ColumnElement[bool]:
    """SQL: whether an unnotified match can be notified.

    Matches of one run and account are notified together, once every shard has matched the run, or
    `GROUP_CLOSES_AFTER` after the first of them.
    """
    other = match.alias()
    is_run_matched = exists().where(run.c.id == match.c.run_id, run.c.matched_at.is_not(None))
    has_waited = exists().where(
        other.c.account_id == match.c.account_id,
        other.c.notified_at.is_(None),
        other.c.run_id == match.c.run_id,
        other.c.created_at <= now - GROUP_CLOSES_AFTER * scale,
    )
    return and_(match.c.notified_at.is_(None), or_(match.c.run_id.is_(None), is_run_matched, has_waited))


def claim_account(tx: Connection, now: datetime, scale: float) -> int | None:
    """Locks one account with complete matches until the transaction ends."""
    has_complete = exists().where(match.c.account_id == account.c.id, is_group_complete(now, scale))
    query = (
        select(account.c.id)
        .where(has_complete)
        .order_by(account.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return tx.scalars(query).first()


def complete_unnotified(tx: Connection, account_id: int, now: datetime, scale: float) -> list[UnnotifiedMatch]:
    """The account's matches that can be notified."""
    query = (
        select(match.c.id, match.c.paper_id)
        .where(match.c.account_id == account_id, is_group_complete(now, scale))
        .order_by(match.c.id)
    )
    return fetch_all(tx, UnnotifiedMatch, query)


def of_papers(tx: Connection, account_id: int, paper_ids: Collection[int]) -> list[MatchToNotify]:
    """Every match of these papers with an undeleted subscription of the account.

    Subscriptions to trending papers are left out: their matches only limit what a digest may choose from. So are
    matches that a digest held back.
    """
    query = (
        select(match.c.paper_id, match.c.subscription_id, subscription.c.cadence, subscription.c.paused_until)
        .join(subscription, subscription.c.id == match.c.subscription_id)
        .join(paper, paper.c.id == match.c.paper_id)
        .where(
            match.c.account_id == account_id,
            match.c.paper_id.in_(paper_ids),
            subscription.c.deleted_at.is_(None),
            subscription.c.trending.is_(None),
            ~match.c.decided.has_key("held"),
            ~paper.c.withdrawn,
        )
        .order_by(match.c.id)
    )
    return fetch_all(tx, MatchToNotify, query)


def channels_to_notify(tx: Connection, account_id: int) -> list[ChannelToNotify]:
    """The undeleted channels of each subscription of the account.

    The channels are locked, so that no digest is gathered for them while their items are written.
    """
    query = (
        select(
            subscription_channel.c.subscription_id,
            channel.c.id.label("channel_id"),
            channel.c.at,
            channel.c.weekday,
            channel.c.last_digest_on,
            channel.c.unsubscribed_at,
            account.c.timezone,
            account.c.quiet_from,
            account.c.quiet_to,
        )
        .join(channel, channel.c.id == subscription_channel.c.channel_id)
        .join(account, account.c.id == channel.c.account_id)
        .where(channel.c.account_id == account_id, channel.c.deleted_at.is_(None))
        .order_by(channel.c.id)
        .with_for_update(read=True, key_share=True, of=channel)
    )
    return fetch_all(tx, ChannelToNotify, query)


def add_items(tx: Connection, items: Sequence[NewItem], now: datetime) -> None:
    """Adds one item per channel and paper, or reschedules the item that is there.

    An item that is due, sent or dropped is not changed, unless a silence dropped it, or it was held back, and the new
    item is not dropped.
    """
    if not items:
        return
    statement = upsert(delivery_item)
    new, old = statement.excluded, delivery_item.c
    is_waiting = and_(old.dropped_because == "", or_(old.not_before > now, new.not_before < old.not_before))
    is_changeable = and_(
        old.delivery_id.is_(None),
        new.dropped_because == "",
        or_(is_waiting, old.dropped_because.startswith(SILENCED), old.dropped_because.startswith(HELD_BACK)),
    )
    changes = {name: new[name] for name in ("not_before", "cadence", "dropped_because")}
    tx.execute(
        statement.on_conflict_do_update(index_elements=["channel_id", "paper_id"], set_=changes, where=is_changeable),
        [asdict(item) for item in items],
    )


def mark_notified(tx: Connection, ids: Iterable[int], now: datetime) -> None:
    tx.execute(update(match).where(match.c.id.in_(list(ids))).values(notified_at=now))


def find(tx: Connection, subscription_id: int, paper_id: int) -> Match | None:
    query = select(*columns_for(match, Match)).where(
        match.c.subscription_id == subscription_id, match.c.paper_id == paper_id
    )
    return fetch_first(tx, Match, query)


def recent_paper_ids(tx: Connection, account_id: int, limit: int) -> list[int]:
    """The papers of the account's newest matches, a paper once for each match."""
    query = (
        select(match.c.paper_id)
        .where(match.c.account_id == account_id, OF_CURRENT_PAPER)
        .order_by(match.c.id.desc())
        .limit(limit)
    )
    return list(tx.scalars(query))
