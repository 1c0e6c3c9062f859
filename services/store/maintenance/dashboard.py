"""Figures and lists that the pages show of one account. Read-only."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, select, true

from services.store.db.records import fetch, fetch_all
from services.store.db.tables import match, subscription, subscription_channel
from services.store.subscriptions.matches import LIVING


@dataclass(frozen=True, slots=True)
class MatchedPaper:
    paper_id: int
    newest_match: int
    """The id of the paper's newest match: the cursor of a page."""
    matched_at: datetime


@dataclass(frozen=True, slots=True)
class MatchReason:
    """Why a subscription matched a paper."""

    paper_id: int
    name: str
    for_whom: str
    why: str


def matched_papers(
    tx: Connection, account_id: int, *, before: int | None, subscription_id: int | None, limit: int
) -> Sequence[MatchedPaper]:
    """Papers that the account's subscriptions matched, the latest first.

    `before`: only papers whose newest match is older than this one.
    """
    newest = func.max(match.c.id)
    return fetch_all(
        tx,
        MatchedPaper,
        select(match.c.paper_id, newest.label("newest_match"), func.max(match.c.created_at).label("matched_at"))
        .where(
            match.c.subscription_id.in_(select(subscription.c.id).where(_is_of(account_id))),
            LIVING,
            match.c.subscription_id == subscription_id if subscription_id is not None else true(),
        )
        .group_by(match.c.paper_id)
        .having(newest < before if before is not None else true())
        .order_by(newest.desc())
        .limit(limit),
    )


def reasons(tx: Connection, account_id: int, paper_ids: Collection[int]) -> dict[int, list[MatchReason]]:
    """Paper → why it was matched, an entry for each of the account's subscriptions that matched it."""
    by_paper: dict[int, list[MatchReason]] = {}
    for reason in fetch(
        tx,
        MatchReason,
        select(
            match.c.paper_id,
            subscription.c.name,
            subscription.c.for_whom,
            func.coalesce(match.c.decided["why"].astext, "").label("why"),
        )
        .join(subscription, subscription.c.id == match.c.subscription_id)
        .where(_is_of(account_id), match.c.paper_id.in_(paper_ids))
        .order_by(match.c.id),
    ):
        by_paper.setdefault(reason.paper_id, []).append(reason)
    return by_paper


def match_counts(tx: Connection, account_id: int, since: datetime) -> dict[int, int]:
    """Subscription → the number of papers that it matched since a moment."""
    rows = tx.execute(
        select(match.c.subscription_id, func.count())
        .join(subscription, subscription.c.id == match.c.subscription_id)
        .where(_is_of(account_id), match.c.created_at >= since, LIVING)
        .group_by(match.c.subscription_id)
    )
    return {subscription_id: int(count) for subscription_id, count in rows}


def subscriptions_per_channel(tx: Connection, account_id: int) -> dict[int, int]:
    """Channel → the number of subscriptions that send to it."""
    rows = tx.execute(
        select(subscription_channel.c.channel_id, func.count())
        .join(subscription, subscription.c.id == subscription_channel.c.subscription_id)
        .where(_is_of(account_id))
        .group_by(subscription_channel.c.channel_id)
    )
    return {channel_id: int(count) for channel_id, count in rows}


def _is_of(account_id: int) -> ColumnElement[bool]:
    return and_(subscription.c.account_id == account_id, subscription.c.deleted_at.is_(None))
