"""Notify: matches become delivery items, one for each channel and paper, with the earliest moment to send it."""

from collections import defaultdict
from datetime import datetime

from sqlalchemy import Connection

from services.domain.delivery.schedule import not_before
from services.settings import Settings
from services.store.db.database import Database
from services.store.delivery.channels import UNSUBSCRIBED
from services.store.papers import merging
from services.store.subscriptions import matches, silences
from services.store.subscriptions.records import ChannelToNotify, NewItem
from services.telemetry import fault_point


def work(db: Database, settings: Settings) -> bool:
    """Notifies the complete groups of matches of one account; False if no account has any."""
    now = db.now()
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        account_id = matches.claim_account(tx, now, settings.time_scale)
        if account_id is None:
            return False
        _notify(tx, account_id, now, settings.time_scale)
    fault_point("notified")
    return True


def _notify(tx: Connection, account_id: int, now: datetime, scale: float) -> None:
    """Schedules each paper again, from all of its matches, so that later matches, pauses and changed hours count."""
    unnotified = matches.complete_unnotified(tx, account_id, now, scale)
    channels = defaultdict[int, list[ChannelToNotify]](list)
    for channel in matches.channels_to_notify(tx, account_id):
        channels[channel.subscription_id].append(channel)
    matched = matches.of_papers(tx, account_id, {match.paper_id for match in unnotified})
    pairs = {(match.subscription_id, match.paper_id) for match in matched}
    silenced = silences.reasons_by_match(tx, account_id, pairs, now)
    items: dict[tuple[int, int], NewItem] = {}
    for match in matched:
        silenced_because = silenced.get((match.subscription_id, match.paper_id), "")
        for channel in channels[match.subscription_id]:
            item = NewItem(
                account_id=account_id,
                channel_id=channel.channel_id,
                paper_id=match.paper_id,
                not_before=not_before(match.cadence, channel.schedule, now, channel.last_digest_on, match.paused_until),
                cadence=match.cadence,
                dropped_because=UNSUBSCRIBED if channel.unsubscribed_at else silenced_because,
            )
            key = item.channel_id, item.paper_id
            items[key] = min(items.get(key, item), item, key=_precedence)
    matches.add_items(tx, list(items.values()), now)
    matches.mark_notified(tx, [match.id for match in unnotified], now)


def _precedence(item: NewItem) -> tuple[bool, datetime]:
    """Items that are not dropped come first, and among them the earliest."""
    return bool(item.dropped_because), item.not_before
