"""Adds to a digest the trending papers that the channel's subscriptions choose when it is made."""

from datetime import date, datetime

from sqlalchemy import Connection

from services.domain.delivery.schedule import includes_weekday
from services.domain.subscriptions.cadence import Cadence
from services.domain.subscriptions.trending import MAX_GAP, period, reason
from services.store.delivery.records import DigestChannel
from services.store.digests import trending
from services.store.digests.trending import TrendingPaper, TrendingSubscription
from services.store.subscriptions import silences

CANDIDATES_PER_PAPER = 5
"""The number of candidates that are read for each chosen paper, since silences may cover some."""


def add_trending_items(tx: Connection, channel: DigestChannel, day: date, now: datetime) -> list[int]:
    """Chooses the trending papers of the digest of `day`; returns the ids of their items."""
    item_ids: list[int] = []
    for wanted in trending.subscriptions_on(tx, channel.id, now):
        is_weekly = wanted.cadence is Cadence.WEEKLY
        if is_weekly and not includes_weekday(channel.schedule, day, channel.last_digest_on):
            continue
        since = max(wanted.trending_since or now - period(wanted.cadence), now - MAX_GAP)
        chosen = _choose(tx, channel, wanted, since, now)
        for paper in chosen:
            why = reason(wanted.trending, paper.upvotes, f"since {since.day} {since:%B}")
            joined = "; ".join(filter(None, [paper.why, why]))
            trending.record_reason(tx, channel.account_id, wanted, paper, joined, now)
        trending.start_next_period(tx, channel.id, wanted.id, now)
        item_ids += trending.add_items(tx, channel, wanted.cadence, [paper.id for paper in chosen], now)
    return list(dict.fromkeys(item_ids))


def _choose(
    tx: Connection, channel: DigestChannel, wanted: TrendingSubscription, since: datetime, now: datetime
) -> list[TrendingPaper]:
    candidates = trending.candidates(tx, channel.id, wanted, since, CANDIDATES_PER_PAPER * wanted.trending)
    silenced = silences.reasons_by_match(tx, channel.account_id, {(wanted.id, paper.id) for paper in candidates}, now)
    return [paper for paper in candidates if (wanted.id, paper.id) not in silenced][: wanted.trending]
