"""Chooses the best papers of a digest, for subscriptions to the best of a query, and holds the others back."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from services.domain.delivery.schedule import includes_weekday
from services.domain.delivery.selection import ChannelPaper
from services.domain.interests.calibration import parse_volume
from services.domain.subscriptions.best import Candidate, allowance, by_worth, held_back, period_days
from services.domain.subscriptions.cadence import Cadence
from services.store.delivery import items
from services.store.delivery.records import DeliveryItem, DigestChannel
from services.store.digests import best, content
from services.store.digests.best import UndecidedPaper
from services.store.papers import archive_search

SLACK = timedelta(hours=1)
"""A digest comes some seconds earlier or later each day; the one a period ago does not count for this one."""


def hold_back(
    tx: Connection, channel: DigestChannel, due: Sequence[DeliveryItem], day: date, now: datetime
) -> set[int]:
    """Decides the papers of the digest of `day`; returns the ids of the items that are dropped from it.

    A paper that another subscription asks for as well stays in the digest.
    """
    by_subscription = defaultdict[int, list[UndecidedPaper]](list)
    for paper in best.undecided(tx, channel.id, [item.id for item in due], now):
        if paper.cadence is Cadence.DAILY or includes_weekday(channel.schedule, day, channel.last_digest_on):
            by_subscription[paper.subscription_id].append(paper)
    reasons = dict[int, str]()
    for subscription_id, papers in by_subscription.items():
        reasons |= dict.fromkeys(_decide(tx, subscription_id, papers, now), held_back(papers[0].best))
    over = [item for item in due if item.paper_id in reasons]
    selection = content.load_selection(
        tx, [ChannelPaper(item.account_id, item.channel_id, item.paper_id) for item in over], now
    )
    dropped = {item.id: reasons[item.paper_id] for item in over if selection.drop_reason(channel.id, item.paper_id)}
    items.drop(tx, dropped)
    return set(dropped)


def _decide(tx: Connection, subscription_id: int, papers: Sequence[UndecidedPaper], now: datetime) -> list[int]:
    """The papers that the subscription holds back."""
    first = papers[0]
    volume = parse_volume(first.best)
    relevance = archive_search.relevance(tx, first.query, [paper.paper_id for paper in papers])
    candidates = [Candidate(each.paper_id, relevance.get(each.paper_id, 0.0), each.upvotes) for each in papers]
    period = timedelta(days=period_days(volume, first.cadence)) - SLACK
    room = allowance(volume, first.cadence, best.taken_since(tx, subscription_id, now - period))
    taken = {each.paper_id for each in by_worth(candidates)[:room]}
    held = [paper for paper in papers if paper.paper_id not in taken]
    best.record(
        tx,
        [paper.match_id for paper in papers if paper.paper_id in taken],
        [paper.match_id for paper in held],
        held_back(first.best),
        now,
    )
    return [paper.paper_id for paper in held]
