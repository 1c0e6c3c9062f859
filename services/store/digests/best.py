"""Subscriptions to the best papers of a query: which papers of a digest are not decided, and recording the decision."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, type_coerce, update
from sqlalchemy.dialects.postgresql import JSONB

from services.domain.subscriptions.cadence import Cadence
from services.store.db.database import any_id
from services.store.db.records import fetch_all
from services.store.db.tables import delivery_item, match, paper, subscription, subscription_channel


@dataclass(frozen=True, slots=True)
class UndecidedPaper:
    """A paper of a digest whose match no digest has taken or held back."""

    match_id: int
    subscription_id: int
    query: str
    best: str
    cadence: Cadence
    paper_id: int
    upvotes: int


def channels_with_best(tx: Connection, channel_ids: Collection[int], now: datetime) -> set[int]:
    """The given channels that a subscription to the best of a query sends to."""
    query = (
        select(subscription_channel.c.channel_id)
        .join(subscription, _wants_best(now))
        .where(subscription_channel.c.channel_id == any_id(channel_ids))
    )
    return set(tx.scalars(query))


def undecided(tx: Connection, channel_id: int, item_ids: Collection[int], now: datetime) -> list[UndecidedPaper]:
    query = (
        select(
            match.c.id.label("match_id"),
            match.c.subscription_id,
            subscription.c.query,
            subscription.c.best,
            subscription.c.cadence,
            match.c.paper_id,
            paper.c.upvotes,
        )
        .select_from(delivery_item)
        .join(subscription_channel, subscription_channel.c.channel_id == delivery_item.c.channel_id)
        .join(subscription, _wants_best(now))
        .join(match, and_(match.c.subscription_id == subscription.c.id, match.c.paper_id == delivery_item.c.paper_id))
        .join(paper, paper.c.id == match.c.paper_id)
        .where(
            delivery_item.c.channel_id == channel_id,
            delivery_item.c.id == any_id(item_ids),
            ~match.c.decided.has_key("taken"),
            ~match.c.decided.has_key("held"),
        )
        .order_by(match.c.id)
    )
    return fetch_all(tx, UndecidedPaper, query)


def taken_since(tx: Connection, subscription_id: int, since: datetime) -> int:
    """How many papers the digests of a subscription have taken since a moment."""
    # Times in UTC of one format are in the order of their text.
    taken = match.c.decided["taken"].astext > _stamp(since)
    return tx.scalars(select(func.count()).where(match.c.subscription_id == subscription_id, taken)).one()


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"


def record(tx: Connection, taken: Sequence[int], held: Sequence[int], why: str, now: datetime) -> None:
    """Records which matches a digest takes, and which it holds back and why."""
    for ids, decision in ((taken, {"taken": _stamp(now)}), (held, {"held": why})):
        if ids:
            decided = match.c.decided.concat(type_coerce(decision, JSONB))
            tx.execute(update(match).where(match.c.id == any_id(ids)).values(decided=decided))


def _wants_best(now: datetime) -> ColumnElement[bool]:
    """SQL: joins `subscription_channel` with undeleted, unpaused subscriptions to the best of a query."""
    return and_(
        subscription_channel.c.subscription_id == subscription.c.id,
        subscription.c.best != "",
        subscription.c.trending.is_(None),
        subscription.c.deleted_at.is_(None),
        or_(subscription.c.paused_until.is_(None), subscription.c.paused_until <= now),
    )
