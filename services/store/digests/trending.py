"""Trending papers of subscriptions: which are candidates for a digest, and recording those that it includes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    any_,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.subscriptions.cadence import Cadence
from services.domain.subscriptions.trending import SOURCE
from services.store.db.records import columns_for, fetch_all
from services.store.db.tables import (
    delivery_item,
    match,
    paper,
    paper_appearance,
    source,
    subscription,
    subscription_channel,
)
from services.store.delivery.records import DigestChannel


@dataclass(frozen=True, slots=True)
class TrendingSubscription:
    """A subscription to trending papers, with the time of the last digest that included some on a channel."""

    id: int
    query: str
    volume: str
    cadence: Cadence
    trending: int
    """The number of papers in a digest."""
    min_upvotes: int
    revision: int
    trending_since: datetime | None


@dataclass(frozen=True, slots=True)
class TrendingPaper:
    """A candidate. `match_id` and `why`: its match with the subscription, if there is one."""

    id: int
    upvotes: int
    match_id: int | None
    why: str


def channels_with_trends(tx: Connection, channel_ids: Collection[int], now: datetime) -> set[int]:
    """The given channels that a subscription to trending papers sends to."""
    query = (
        select(subscription_channel.c.channel_id)
        .join(subscription, _wants_trending(now))
        .where(subscription_channel.c.channel_id == any_(literal(list(channel_ids), ARRAY(BigInteger))))
    )
    return set(tx.scalars(query))


def subscriptions_on(tx: Connection, channel_id: int, now: datetime) -> list[TrendingSubscription]:
    """The subscriptions to trending papers that send to a channel."""
    query = (
        select(*columns_for(subscription, TrendingSubscription), subscription_channel.c.trending_since)
        .join(subscription_channel, _wants_trending(now))
        .where(subscription_channel.c.channel_id == channel_id)
        .order_by(subscription.c.id)
    )
    return fetch_all(tx, TrendingSubscription, query)


def _wants_trending(now: datetime) -> ColumnElement[bool]:
    """SQL: the join condition of `subscription_channel` with undeleted, unpaused subscriptions to trending papers."""
    return and_(
        subscription_channel.c.subscription_id == subscription.c.id,
        subscription.c.trending.is_not(None),
        subscription.c.deleted_at.is_(None),
        or_(subscription.c.paused_until.is_(None), subscription.c.paused_until <= now),
    )


def candidates(
    tx: Connection, channel_id: int, wanted: TrendingSubscription, since: datetime, limit: int
) -> list[TrendingPaper]:
    """The most upvoted papers that Daily Papers has listed since `since`, that match the subscription, and that were
    neither sent nor dropped on the channel.
    """
    is_listed = exists().where(
        paper_appearance.c.paper_id == paper.c.id,
        paper_appearance.c.first_seen_at > since,
        # Older days appear when a source is added and its past days are read. They are no news.
        paper_appearance.c.announced_on >= (since - timedelta(days=1)).date(),
        paper_appearance.c.source_id == source.c.id,
        source.c.kind == SOURCE,
    )
    is_finished = exists().where(
        delivery_item.c.channel_id == channel_id,
        delivery_item.c.paper_id == paper.c.id,
        or_(delivery_item.c.delivery_id.is_not(None), delivery_item.c.dropped_because != ""),
    )
    of_subscription = and_(match.c.paper_id == paper.c.id, match.c.subscription_id == wanted.id)
    needs_match = bool(wanted.query or wanted.volume)
    query = (
        select(
            paper.c.id,
            paper.c.upvotes,
            match.c.id.label("match_id"),
            func.coalesce(match.c.decided["why"].astext, "").label("why"),
        )
        .join(match, of_subscription, isouter=not needs_match)
        .where(
            is_listed,
            paper.c.merged_into.is_(None),
            ~paper.c.withdrawn,
            paper.c.upvotes >= max(1, wanted.min_upvotes),
            ~is_finished,
        )
        .order_by(paper.c.upvotes.desc(), paper.c.id.desc())
        .limit(limit)
    )
    return fetch_all(tx, TrendingPaper, query)


def record_reason(
    tx: Connection, account_id: int, wanted: TrendingSubscription, chosen: TrendingPaper, why: str, now: datetime
) -> None:
    """Records why a paper was chosen in its match, which is created where the subscription has none."""
    decided = {"why": why, "trending": True}
    if chosen.match_id is not None:
        tx.execute(update(match).where(match.c.id == chosen.match_id).values(decided=decided))
        return
    new = upsert(match).values(
        account_id=account_id,
        subscription_id=wanted.id,
        paper_id=chosen.id,
        decided=decided,
        revision=wanted.revision,
        notified_at=now,
    )
    tx.execute(new)


def start_next_period(tx: Connection, channel_id: int, subscription_id: int, now: datetime) -> None:
    """The next digest chooses among the papers that are listed from `now` on."""
    of_channel = update(subscription_channel).where(
        subscription_channel.c.subscription_id == subscription_id, subscription_channel.c.channel_id == channel_id
    )
    tx.execute(of_channel.values(trending_since=now))


def add_items(
    tx: Connection, channel: DigestChannel, cadence: Cadence, paper_ids: Sequence[int], now: datetime
) -> list[int]:
    """The ids of the items of papers on a channel; those that are missing are created. A waiting item keeps its row."""
    new = [
        {
            "account_id": channel.account_id,
            "channel_id": channel.id,
            "paper_id": paper_id,
            "not_before": now,
            "cadence": cadence,
        }
        for paper_id in paper_ids
    ]
    if new:
        tx.execute(upsert(delivery_item).on_conflict_do_nothing(), new)
    query = select(delivery_item.c.id).where(
        delivery_item.c.channel_id == channel.id, delivery_item.c.paper_id.in_(paper_ids)
    )
    return list(tx.scalars(query))
