"""Matches: found once per subscription and paper, and told through delivery items."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Connection, and_, any_, exists, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.delivery.schedule import GROUP_CLOSES_AFTER
from services.store.db.database import Row, first, rows
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
from services.store.subscriptions.silences import SILENCED

LIVING = exists().where(paper.c.id == match.c.paper_id, paper.c.merged_into.is_(None))
"""Not a second match that stayed with the old name of a paper."""


_COPIED = ("account_id", "subscription_id", "paper_id", "run_id", "score", "decided", "revision")
_COLUMNS = ", ".join(_COPIED)
_INCOMING = "incoming_match"
_NULL = "\\N"
LINES = 10_000
"""Sent at once."""
_BESIDE = text(
    f"CREATE TEMPORARY TABLE IF NOT EXISTS {_INCOMING} ON COMMIT DELETE ROWS AS SELECT {_COLUMNS} FROM match LIMIT 0"
)
_TAKE = text(
    f"INSERT INTO match ({_COLUMNS}) SELECT {_COLUMNS} FROM {_INCOMING} "
    "ON CONFLICT (subscription_id, paper_id) DO NOTHING"
)


def store(tx: Connection, found: Sequence[Row]) -> int:
    """Writes matches; one that exists stays as it is. The number of new ones.

    A subscription that was deleted since it was read gets none: its row, or its account's, may be gone. A paper that
    became another since is written as that.
    """
    merging.lock_against_merges(tx)
    now = merging.current_ids(tx, {row["paper_id"] for row in found})
    asked = {row["subscription_id"] for row in found}
    living = and_(
        subscription.c.id == any_(literal(list(asked), ARRAY(BigInteger))), subscription.c.deleted_at.is_(None)
    )
    # In order, as whoever else locks several of them.
    locked = select(subscription.c.id).where(living).order_by(subscription.c.id)
    still = set(tx.scalars(locked.with_for_update(read=True, key_share=True)))
    given = [row for row in found if row["subscription_id"] in still]
    return _copy(tx, given, now) if given else 0


def _copy(tx: Connection, given: Sequence[Row], now: Mapping[int, int]) -> int:
    """COPY cannot pass over what exists, so it fills a table beside, of this connection and empty after each commit."""
    tx.execute(_BESIDE)
    driver = tx.connection.driver_connection
    assert driver is not None
    with driver.cursor() as cursor, cursor.copy(f"COPY {_INCOMING} ({_COLUMNS}) FROM STDIN") as copy:
        lines = _lines(given, now)
        while block := "".join(islice(lines, LINES)):
            copy.write(block)
    return tx.execute(_TAKE).rowcount


def _lines(given: Sequence[Row], now: Mapping[int, int]) -> Iterator[str]:
    """As COPY reads them; by hand, since a driver that asks each value for its type takes ten times as long."""
    encoded: dict[tuple[tuple[str, Any], ...], str] = {}
    for row in given:
        what = tuple(row["decided"].items())
        decided = encoded.get(what)
        if decided is None:
            # JSON escapes whatever a line may not have, with backslashes, which COPY wants doubled.
            decided = encoded[what] = json.dumps(row["decided"]).replace("\\", "\\\\")
        run, score = row.get("run_id"), row["score"]
        yield (
            f"{row['account_id']}\t{row['subscription_id']}\t{now[row['paper_id']]}\t{_NULL if run is None else run}"
            f"\t{_NULL if score is None else score}\t{decided}\t{row['revision']}\n"
        )


def closed(now: datetime, scale: float) -> Any:
    """Matches whose group is complete: every shard has seen its run, or its first paper has waited long enough."""
    other = match.alias()
    whole = exists().where(run.c.id == match.c.run_id, run.c.matched_at.is_not(None))
    waited = exists().where(
        other.c.account_id == match.c.account_id,
        other.c.notified_at.is_(None),
        other.c.run_id == match.c.run_id,
        other.c.created_at <= now - GROUP_CLOSES_AFTER * scale,
    )
    return and_(match.c.notified_at.is_(None), or_(match.c.run_id.is_(None), whole, waited))


def claim_account(tx: Connection, now: datetime, scale: float) -> int | None:
    """Locks one account that has something to tell; its matches go out together or not at all."""
    query = select(account.c.id).where(exists().where(match.c.account_id == account.c.id, closed(now, scale)))
    return tx.scalars(query.order_by(account.c.id).limit(1).with_for_update(skip_locked=True, key_share=True)).first()


def to_notify(tx: Connection, account_id: int, now: datetime, scale: float) -> Sequence[Row]:
    """The account's complete, untold matches."""
    query = select(match.c.id, match.c.paper_id).where(match.c.account_id == account_id, closed(now, scale))
    return rows(tx, query.order_by(match.c.id))


def asking(tx: Connection, account_id: int, paper_ids: Collection[int]) -> Sequence[Row]:
    """Every match of these papers that a living subscription stands behind, with what decides when it is told.

    Those of a subscription to trending papers only say what its digest may choose from.
    """
    columns = (match.c.paper_id, match.c.subscription_id, subscription.c.cadence, subscription.c.paused_until)
    query = select(*columns).join(subscription, subscription.c.id == match.c.subscription_id)
    query = query.join(paper, paper.c.id == match.c.paper_id)
    living = and_(subscription.c.deleted_at.is_(None), subscription.c.trending.is_(None), ~paper.c.withdrawn)
    mine = and_(match.c.account_id == account_id, match.c.paper_id.in_(paper_ids))
    return rows(tx, query.where(mine, living).order_by(match.c.id))


def rhythms(tx: Connection, account_id: int) -> Sequence[Row]:
    """Subscription by subscription, the living channels it tells, with their hours.

    The channels are locked, so that none is being gathered while its items are written.
    """
    hours = (
        channel.c.at,
        channel.c.weekday,
        channel.c.last_digest_on,
        channel.c.unsubscribed_at,
        account.c.timezone,
        account.c.quiet_from,
        account.c.quiet_to,
    )
    query = select(subscription_channel.c.subscription_id, channel.c.id.label("channel_id"), *hours)
    query = query.join(channel, channel.c.id == subscription_channel.c.channel_id).join(
        account, account.c.id == channel.c.account_id
    )
    query = query.where(channel.c.account_id == account_id, channel.c.deleted_at.is_(None)).order_by(channel.c.id)
    return rows(tx, query.with_for_update(read=True, key_share=True, of=channel))


def add_items(tx: Connection, items: Sequence[Row], now: datetime) -> None:
    """One item per channel and paper; one that waits is planned anew, one that a silence dropped is heard after all.

    What is due already stays so, and what was told or dropped otherwise is over.
    """
    if not items:
        return
    statement = upsert(delivery_item)
    fresh, old = statement.excluded, delivery_item.c
    waiting = and_(old.dropped_because == "", or_(old.not_before > now, fresh.not_before < old.not_before))
    open_again = and_(
        old.delivery_id.is_(None), fresh.dropped_because == "", or_(waiting, old.dropped_because.startswith(SILENCED))
    )
    planned = {name: fresh[name] for name in ("not_before", "cadence", "dropped_because")}
    tx.execute(
        statement.on_conflict_do_update(index_elements=["channel_id", "paper_id"], set_=planned, where=open_again),
        items,
    )


def mark_notified(tx: Connection, ids: Iterable[int], now: datetime) -> None:
    tx.execute(update(match).where(match.c.id.in_(list(ids))).values(notified_at=now))


def one(tx: Connection, subscription_id: int, paper_id: int) -> Row | None:
    return first(tx, select(match).where(match.c.subscription_id == subscription_id, match.c.paper_id == paper_id))


def recent(tx: Connection, account_id: int, limit: int = 100, subscription_id: int | None = None) -> Sequence[Row]:
    """The newest matches with what decided them."""
    query = select(match, subscription.c.name, subscription.c.for_whom).join(
        subscription, subscription.c.id == match.c.subscription_id
    )
    query = query.where(match.c.account_id == account_id, LIVING).order_by(match.c.id.desc()).limit(limit)
    return rows(tx, query.where(match.c.subscription_id == subscription_id) if subscription_id else query)
