"""Gathering: what is due on a channel becomes one delivery."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from functools import cache
from typing import NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import Connection

from services.domain.delivery import schedule
from services.settings import Settings
from services.store.db.database import Database, Row
from services.store.delivery import deliveries, digest_schedule
from services.store.delivery.deliveries import New
from services.store.digests import content, trending
from services.store.papers import merging
from services.telemetry import fault_point

CHANNELS_PER_BATCH = 32
"""Channels."""


def gather_due(db: Database, settings: Settings) -> int:
    """Makes the deliveries of a few channels that have something due; how many channels they are."""
    now = db.now()
    host = urlsplit(settings.base_url).hostname or "localhost"
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        due = deliveries.lock_due_channels(tx, now, CHANNELS_PER_BATCH)
        if not due:
            return 0
        found = deliveries.due_items(tx, due.keys(), now)
        heard = content.announcements_for(tx, [(due[item["channel_id"]], item["paper_id"]) for item in found], now)
        living = content.living_items(tx, heard, found)
        at_once = _by_channel(item for item in living if item["cadence"] == "immediate")
        new = [New(due[one], "message", f"message:{one}:{items[0]}", items) for one, items in at_once.items()]
        later = _by_channel(item for item in living if item["cadence"] != "immediate")
        deliveries.create_all(tx, new, host, now)
        _decide_slots(tx, [(channel, later.get(one, [])) for one, channel in due.items()], now, host, settings)
    for _ in due:
        fault_point("gathered")
    return len(due)


def _by_channel(items: Iterable[Row]) -> dict[int, list[int]]:
    """The ids of the items of each channel."""
    found = defaultdict[int, list[int]](list)
    for item in items:
        found[item["channel_id"]].append(item["id"])
    return found


class _Slot(NamedTuple):
    """What is decided of a channel's digest: the next slot; `day`, when one is made now, and of which local date."""

    following: datetime
    day: date | None = None


def _decide_slots(
    tx: Connection, waiting: Sequence[tuple[Row, list[int]]], now: datetime, host: str, settings: Settings
) -> None:
    """One digest a channel and local date, decided once, an empty one too; what comes later waits for the next."""
    is_news_coming = cache(lambda planned: digest_schedule.news_is_coming(tx, planned))
    decided = [_decide_slot(row, bool(items), now, settings.time_scale, is_news_coming) for row, items in waiting]
    follows_trends = trending.followed_by(tx, [row["id"] for row, _ in waiting], now)
    new, later = [], defaultdict[datetime, list[int]](list)
    for (channel, items), slot in zip(waiting, decided, strict=True):
        if slot.day is None:
            later[slot.following] += items
            continue
        if channel["id"] in follows_trends:
            items = list(
                dict.fromkeys(
                    [*items, *trending.take(tx, channel, digest_schedule.schedule_of(channel), slot.day, now)]
                )
            )
        if items:
            new.append(
                (
                    New(channel, "digest", digest_schedule.idempotency_key(channel["id"], slot.day), items),
                    slot.following,
                )
            )
    made = deliveries.create_all(tx, [one for one, _ in new], host, now)
    for one, following in new:
        if one.key not in made:
            later[following] += one.items
    for until, ids in later.items():
        deliveries.postpone(tx, ids, until)
    digest_schedule.record_decisions(
        tx, [(row, one.day, one.following) for (row, _), one in zip(waiting, decided, strict=True)]
    )


def _decide_slot(
    channel: Row, has_items: bool, now: datetime, scale: float, is_news_coming: Callable[[datetime], bool]
) -> _Slot:
    rhythm, told, planned = digest_schedule.schedule_of(channel), channel["last_digest_on"], channel["next_digest_at"]
    come = planned <= now if planned is not None else has_items
    slot = schedule.missed_digest_time(rhythm, now, told) if come else None
    if slot is None:
        return _Slot(planned if planned is not None and planned > now else schedule.next_digest_time(rhythm, now, told))
    if planned is not None and schedule.is_late(planned, now, scale) and is_news_coming(planned):
        return _Slot(now + schedule.CATCH_UP_DELAY * scale)
    day = schedule.local_date(slot, rhythm.timezone)
    return _Slot(schedule.next_digest_time(rhythm, now, day), day)
