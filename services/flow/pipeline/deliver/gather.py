"""Gathers the due items of each channel into deliveries."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import Connection

from services.domain.delivery import schedule
from services.domain.delivery.selection import ChannelPaper
from services.domain.delivery.state_machine import DeliveryKind
from services.domain.subscriptions.cadence import Cadence
from services.flow.pipeline.deliver.best import hold_back
from services.flow.pipeline.deliver.trending import add_trending_items
from services.settings import Settings
from services.store.db.database import Database
from services.store.delivery import deliveries, digest_schedule, items
from services.store.delivery.digest_schedule import DigestDecision
from services.store.delivery.records import DeliveryItem, DigestChannel, NewDelivery
from services.store.digests import best, content, trending
from services.store.papers import merging
from services.telemetry import fault_point

CHANNELS_PER_BATCH = 32
"""Channels that are gathered in one transaction."""


def gather_due(db: Database, settings: Settings) -> int:
    """Creates the deliveries of some channels with due items or digests. Returns the number of channels."""
    now = db.now()
    host = settings.host
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        channels = items.lock_due_channels(tx, now, CHANNELS_PER_BATCH)
        if not channels:
            return 0
        due = _drop_unwanted(tx, items.due_on(tx, channels.keys(), now), now)
        immediate = _by_channel(item for item in due if item.cadence is Cadence.IMMEDIATE)
        messages = [_message(channels[id], [item.id for item in of]) for id, of in immediate.items()]
        deliveries.create_all(tx, messages, host, now)
        for_digest = _by_channel(item for item in due if item.cadence is not Cadence.IMMEDIATE)
        _make_digests(tx, channels, for_digest, now, host, settings.time_scale)
    for _ in channels:
        fault_point("gathered")
    return len(channels)


def _drop_unwanted(tx: Connection, due: Sequence[DeliveryItem], now: datetime) -> list[DeliveryItem]:
    """Drops the items that are not to be sent any more, and returns the others."""
    wanted = [ChannelPaper(item.account_id, item.channel_id, item.paper_id) for item in due]
    selection = content.load_selection(tx, wanted, now)
    reasons = {item.id: selection.drop_reason(item.channel_id, item.paper_id) for item in due}
    items.drop(tx, {item_id: reason for item_id, reason in reasons.items() if reason})
    return [item for item in due if not reasons[item.id]]


def _by_channel(of: Iterable[DeliveryItem]) -> dict[int, list[DeliveryItem]]:
    items_of = defaultdict[int, list[DeliveryItem]](list)
    for item in of:
        items_of[item.channel_id].append(item)
    return items_of


def _message(channel: DigestChannel, item_ids: Sequence[int]) -> NewDelivery:
    return _new(channel, DeliveryKind.MESSAGE, f"message:{channel.id}:{item_ids[0]}", item_ids)


def _digest(channel: DigestChannel, day: date, item_ids: Sequence[int]) -> NewDelivery:
    """A channel has one digest for each local date: its idempotency key."""
    return _new(channel, DeliveryKind.DIGEST, f"digest:{channel.id}:{day}", item_ids)


def _new(channel: DigestChannel, kind: DeliveryKind, idem_key: str, item_ids: Sequence[int]) -> NewDelivery:
    return NewDelivery(
        account_id=channel.account_id,
        channel_id=channel.id,
        kind=kind,
        idem_key=idem_key,
        rate_limit_key=channel.rate_limit_key,
        item_ids=item_ids,
    )


class _NextDigest(NamedTuple):
    """When the next digest of a channel is due. `day`: the local date of the digest that is made now, if one is."""

    due_at: datetime
    day: date | None = None


def _make_digests(
    tx: Connection,
    channels: Mapping[int, DigestChannel],
    due: Mapping[int, Sequence[DeliveryItem]],
    now: datetime,
    host: str,
    scale: float,
) -> None:
    """Makes the digests that are due, one for each channel and local date. Items that come later wait for the next.

    An empty digest is not sent, but its date counts as done.
    """
    is_news_coming = cache(lambda planned: digest_schedule.news_is_coming(tx, planned))
    decided = {
        channel.id: _decide(channel, bool(due.get(channel.id)), now, scale, is_news_coming)
        for channel in channels.values()
    }
    with_trends = trending.channels_with_trends(tx, channels.keys(), now)
    with_best = best.channels_with_best(tx, channels.keys(), now)
    new, postponed = [], defaultdict[datetime, list[int]](list)
    for channel in channels.values():
        due_at, day = decided[channel.id]
        ids = [item.id for item in due.get(channel.id, ())]
        if day is None:
            postponed[due_at] += ids
            continue
        if channel.id in with_best:
            held_back = hold_back(tx, channel, due.get(channel.id, ()), day, now)
            ids = [item_id for item_id in ids if item_id not in held_back]
        if channel.id in with_trends:
            ids = list(dict.fromkeys([*ids, *add_trending_items(tx, channel, day, now)]))
        if ids:
            new.append(_digest(channel, day, ids))
    created = deliveries.create_all(tx, new, host, now)
    for digest in new:
        if digest.idem_key not in created:
            postponed[decided[digest.channel_id].due_at] += digest.item_ids
    for until, ids in postponed.items():
        items.postpone(tx, ids, until)
    digest_schedule.record_decisions(
        tx,
        [
            DigestDecision(channel.id, due_at, day or channel.last_digest_on)
            for channel, (due_at, day) in zip(channels.values(), decided.values(), strict=True)
            if day or due_at != channel.next_digest_at
        ],
    )


def _decide(
    channel: DigestChannel, has_items: bool, now: datetime, scale: float, is_news_coming: Callable[[datetime], bool]
) -> _NextDigest:
    hours, last, planned = channel.schedule, channel.last_digest_on, channel.next_digest_at
    is_due = planned <= now if planned is not None else has_items
    missed = schedule.missed_digest_time(hours, now, last) if is_due else None
    if missed is None:
        if planned is not None and planned > now:
            return _NextDigest(planned)
        return _NextDigest(schedule.next_digest_time(hours, now, last))
    if planned is not None and schedule.is_late(planned, now, scale) and is_news_coming(planned):
        return _NextDigest(now + schedule.CATCH_UP_DELAY * scale)
    day = schedule.local_date(missed, hours.timezone)
    return _NextDigest(schedule.next_digest_time(hours, now, day), day)
