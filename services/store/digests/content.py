"""Reads what decides which papers are sent on channels, a few statements for many deliveries."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, and_, func, literal, or_, select

from services.domain.delivery import selection
from services.domain.delivery.selection import ChannelMatch, ChannelPaper, Selection
from services.domain.digests.digest import DigestPaper, with_evidence
from services.store.db.database import any_id, pairs
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


def with_reasons_of(tx: Connection, account_id: int, paper_ids: Collection[int]) -> dict[int, DigestPaper]:
    """The papers as a list of the account shows them: with the reasons of all its subscriptions that matched."""
    known = papers.load(tx, paper_ids)
    found = defaultdict[int, list[ChannelMatch]](list)
    for matched in _matches_of_account(tx, account_id, known):
        found[matched.paper_id].append(matched)
    scored = {(one.subscription_id, one.paper_id) for of in found.values() for one in of if one.score is not None}
    scores = sentence_vectors.sentence_scores(tx, scored)
    return {
        paper_id: with_evidence(
            paper,
            [selection.reason_of(one, scores.get((one.subscription_id, paper_id), ())) for one in found[paper_id]],
        )
        for paper_id, paper in known.items()
    }


def _matches_of_account(tx: Connection, account_id: int, paper_ids: Collection[int]) -> list[ChannelMatch]:
    why, held = match.c.decided["why"].astext, match.c.decided["held"].astext
    query = (
        select(
            literal(0).label("channel_id"),
            *columns_for(match, ChannelMatch),
            *columns_for(subscription, ChannelMatch),
            func.concat_ws("; ", func.nullif(why, ""), held).label("why"),
        )
        .join(subscription, subscription.c.id == match.c.subscription_id)
        .where(
            subscription.c.account_id == account_id,
            subscription.c.deleted_at.is_(None),
            match.c.paper_id == any_id(paper_ids),
        )
        .order_by(match.c.id)
    )
    return fetch_all(tx, ChannelMatch, query)


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
