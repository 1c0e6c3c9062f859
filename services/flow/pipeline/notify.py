"""Notify: matches become delivery items, each paper once a channel, with the moment from which it may be told."""

from collections import defaultdict
from datetime import datetime

from sqlalchemy import Connection

from services.domain.delivery.schedule import DigestSchedule, not_before
from services.settings import Settings
from services.store.db.database import Database, Row
from services.store.delivery.channels import UNSUBSCRIBED
from services.store.papers import merging
from services.store.subscriptions import matches, silences
from services.telemetry import fault_point


def work(db: Database, settings: Settings) -> bool:
    """Tells one account's complete groups to its channels; False when nobody has any."""
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
    """Plans each paper anew over all that ask for it, so that a further match, a pause or other hours count at once."""
    fresh = matches.to_notify(tx, account_id, now, scale)
    channels = defaultdict[int, list[Row]](list)
    for channel in matches.rhythms(tx, account_id):
        channels[channel["subscription_id"]].append(channel)
    asking = matches.asking(tx, account_id, {row["paper_id"] for row in fresh})
    muted = silences.muted(tx, account_id, {(row["subscription_id"], row["paper_id"]) for row in asking}, now)
    planned: dict[tuple[int, int], Row] = {}
    for row in asking:
        because = muted.get((row["subscription_id"], row["paper_id"]), "")
        for channel in channels[row["subscription_id"]]:
            item = _item(row, channel, account_id, because, now)
            key = (item["channel_id"], item["paper_id"])
            planned[key] = min(planned.get(key, item), item, key=_comes_first)
    matches.add_items(tx, list(planned.values()), now)
    matches.mark_notified(tx, [row["id"] for row in fresh], now)


def _item(row: Row, channel: Row, account_id: int, because: str, now: datetime) -> Row:
    last_digest_on = channel["last_digest_on"]
    return {
        "account_id": account_id,
        "channel_id": channel["channel_id"],
        "paper_id": row["paper_id"],
        "not_before": not_before(row["cadence"], _schedule_of(channel), now, last_digest_on, row["paused_until"]),
        "cadence": row["cadence"],
        "dropped_because": UNSUBSCRIBED if channel["unsubscribed_at"] else because,
    }


def _comes_first(item: Row) -> tuple[bool, datetime]:
    """Whoever still wants to hear of the paper goes before who does not, then the earliest."""
    return bool(item["dropped_because"]), item["not_before"]


def _schedule_of(row: Row) -> DigestSchedule:
    return DigestSchedule(**{name: row[name] for name in ("timezone", "at", "weekday", "quiet_from", "quiet_to")})
