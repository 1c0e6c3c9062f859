"""Reads what decides which papers are sent on channels, a few statements for many deliveries."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, and_, func, or_, select

from services.domain.delivery import selection
from services.domain.delivery.selection import ChannelMatch, ChannelPaper, Selection
from services.store.db.database import pairs
from services.store.db.records import columns_for, fetch_all
from services.store.db.tables import match, subscription, subscription_channel
from services.store.interests import sentence_vectors
from services.store.papers import papers
from services.store.subscriptions import silences


def load_selection(tx: Connection, wanted: Collection[ChannelPaper], now: datetime) -> Selection:
    known = papers.load(tx, {paper.paper_id for paper in wanted})
    matches = _matches(tx, {(paper.channel_id, paper.paper_id) for paper in wanted})
    accounts = {paper.account_id for paper in wanted} if matches else ()
    scored = {(matched.subscription_id, matched.paper_id) for matched in matches if matched.score is not None}
    active = silences.active_by_account(tx, accounts, now)
    return selection.select(wanted, known, matches, active, sentence_vectors.sentence_scores(tx, scored))


def _matches(tx: Connection, wanted: Collection[tuple[int, int]]) -> list[ChannelMatch]:
    """Matches of pairs (channel, paper), with the undeleted subscriptions that send to the channel.

    A match of a subscription to trending papers counts only once a digest has chosen it, and a match that a digest
    held back does not count.
    """
    wanted_pairs = pairs("channel_id", "paper_id", wanted)
    is_chosen = or_(subscription.c.trending.is_(None), match.c.decided.has_key("trending"))
    query = (
        select(
            wanted_pairs.c.channel_id,
            *columns_for(match, ChannelMatch),
            *columns_for(subscription, ChannelMatch),
            func.coalesce(match.c.decided["why"].astext, "").label("why"),
        )
        .select_from(wanted_pairs)
        .join(subscription_channel, subscription_channel.c.channel_id == wanted_pairs.c.channel_id)
        .join(subscription, subscription.c.id == subscription_channel.c.subscription_id)
        .join(match, and_(match.c.subscription_id == subscription.c.id, match.c.paper_id == wanted_pairs.c.paper_id))
        .where(subscription.c.deleted_at.is_(None), is_chosen, ~match.c.decided.has_key("held"))
        .order_by(match.c.id)
    )
    return fetch_all(tx, ChannelMatch, query)
