"""Trending papers: what a digest takes of Daily Papers when it is composed, by upvotes."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Connection, and_, any_, exists, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.delivery.schedule import DigestSchedule, includes_weekday
from services.domain.subscriptions.trending import MAX_GAP, SOURCE, period, reason
from services.store.db.database import Row, rows
from services.store.db.tables import (
    delivery_item,
    match,
    paper,
    paper_appearance,
    source,
    subscription,
    subscription_channel,
)
from services.store.subscriptions import silences

SPARE = 5
"""Times as many papers are looked at as are taken: some may be silenced."""


def take(tx: Connection, channel: Row, rhythm: DigestSchedule, day: date, now: datetime) -> list[int]:
    """Adds to the digest of `day` what the channel's subscriptions to trending papers choose; the ids of its items."""
    taken: list[int] = []
    for row in _subscriptions(tx, channel["id"], now):
        if row["cadence"] == "weekly" and not includes_weekday(rhythm, day, channel["last_digest_on"]):
            continue
        since = max(row["trending_since"] or now - period(row["cadence"]), now - MAX_GAP)
        chosen = _chosen(tx, channel, row, since, now)
        _note(tx, channel, row, chosen, since, now)
        taken += _items(tx, channel, row, [one["id"] for one in chosen], now)
    return list(dict.fromkeys(taken))


def followed_by(tx: Connection, channel_ids: Collection[int], now: datetime) -> set[int]:
    """Those of the channels whose subscriptions want trending papers."""
    here = subscription_channel.c.channel_id == any_(literal(list(channel_ids), ARRAY(BigInteger)))
    query = select(subscription_channel.c.channel_id).join(subscription, _wanted(now))
    return set(tx.scalars(query.where(here)))


def _wanted(now: datetime) -> ColumnElement[bool]:
    """SQL: the channel's subscriptions to trending papers."""
    mine = subscription_channel.c.subscription_id == subscription.c.id
    runs = or_(subscription.c.paused_until.is_(None), subscription.c.paused_until <= now)
    return and_(mine, subscription.c.trending.is_not(None), subscription.c.deleted_at.is_(None), runs)


def _subscriptions(tx: Connection, channel_id: int, now: datetime) -> Sequence[Row]:
    query = select(subscription, subscription_channel.c.trending_since).join(subscription_channel, _wanted(now))
    return rows(tx, query.where(subscription_channel.c.channel_id == channel_id).order_by(subscription.c.id))


def _chosen(tx: Connection, channel: Row, row: Row, since: datetime, now: datetime) -> list[Row]:
    """The most upvoted papers that Daily Papers has shown since, that match, and that the channel was not told of."""
    shown = exists().where(
        paper_appearance.c.paper_id == paper.c.id,
        paper_appearance.c.first_seen_at > since,
        # Days that a new source was filled with are no news.
        paper_appearance.c.announced_on >= (since - timedelta(days=1)).date(),
        paper_appearance.c.source_id == source.c.id,
        source.c.kind == SOURCE,
    )
    over = or_(delivery_item.c.delivery_id.is_not(None), delivery_item.c.dropped_because != "")
    told_of = exists().where(delivery_item.c.channel_id == channel["id"], delivery_item.c.paper_id == paper.c.id, over)
    living = and_(paper.c.merged_into.is_(None), ~paper.c.withdrawn, paper.c.upvotes >= max(1, row["min_upvotes"]))
    mine = and_(match.c.paper_id == paper.c.id, match.c.subscription_id == row["id"])
    query = select(paper.c.id, paper.c.upvotes, match.c.id.label("match"), match.c.decided)
    query = query.join(match, mine, isouter=not (row["query"] or row["volume"]))
    query = query.where(shown, living, ~told_of).order_by(paper.c.upvotes.desc(), paper.c.id.desc())
    found = rows(tx, query.limit(SPARE * row["trending"]))
    muted = silences.reasons_by_match(tx, channel["account_id"], {(row["id"], one["id"]) for one in found}, now)
    return [one for one in found if (row["id"], one["id"]) not in muted][: row["trending"]]


def _note(tx: Connection, channel: Row, row: Row, chosen: Sequence[Row], since: datetime, now: datetime) -> None:
    """Writes why each was chosen, and from when the next digest counts."""
    for one in chosen:
        why = reason(row["trending"], one["upvotes"], f"since {since.day} {since:%B}")
        earlier = (one["decided"] or {}).get("why", "")
        decided = {"why": "; ".join(filter(None, [earlier, why])), "trending": True}
        if one["match"] is not None:
            tx.execute(update(match).where(match.c.id == one["match"]).values(decided=decided))
            continue
        values = {"account_id": channel["account_id"], "subscription_id": row["id"], "paper_id": one["id"]}
        tx.execute(upsert(match).values(**values, decided=decided, revision=row["revision"], notified_at=now))
    here = and_(subscription_channel.c.subscription_id == row["id"], subscription_channel.c.channel_id == channel["id"])
    tx.execute(update(subscription_channel).where(here).values(trending_since=now))


def _items(tx: Connection, channel: Row, row: Row, paper_ids: Collection[int], now: datetime) -> list[int]:
    """The items of the papers; one that waits for a later digest comes in this one."""
    known: dict[str, Any] = {"account_id": channel["account_id"], "channel_id": channel["id"]}
    new = [{**known, "paper_id": one, "not_before": now, "cadence": row["cadence"]} for one in paper_ids]
    if new:
        tx.execute(upsert(delivery_item).on_conflict_do_nothing(), new)
    mine = and_(delivery_item.c.channel_id == channel["id"], delivery_item.c.paper_id.in_(paper_ids))
    return list(tx.scalars(select(delivery_item.c.id).where(mine)))
