"""Notify: matches become delivery items, each paper once a channel, with the moment from which it may be told."""

from datetime import datetime

from sqlalchemy import Connection

from services.domain.cadence import Rhythm, not_before
from services.settings import Settings
from services.store import matches, merging
from services.store.consent import UNSUBSCRIBED
from services.store.database import Database, Row
from services.telemetry import fault_point


def work(db: Database, settings: Settings) -> bool:
    """Tells one account's complete groups to its channels; False when nobody has any."""
    now = db.now()
    with db.transaction() as tx:
        merging.hold_off(tx)
        account_id = matches.claim_account(tx, now, settings.time_scale)
        if account_id is None:
            return False
        _notify(tx, account_id, now, settings.time_scale)
    fault_point("notified")
    return True


def _notify(tx: Connection, account_id: int, now: datetime, scale: float) -> None:
    rows = matches.to_notify(tx, account_id, now, scale)
    channels: dict[int, list[Row]] = {}
    for rhythm in matches.rhythms(tx, account_id):
        channels.setdefault(rhythm["subscription_id"], []).append(rhythm)
    items = [
        _item(row, channel, account_id, now)
        for row in rows
        if row["deleted_at"] is None and not row["withdrawn"]
        for channel in channels.get(row["subscription_id"], ())
    ]
    matches.add_items(tx, items)
    matches.mark_notified(tx, [row["id"] for row in rows], now)


def _item(row: Row, channel: Row, account_id: int, now: datetime) -> Row:
    rhythm = Rhythm(**{name: channel[name] for name in ("timezone", "at", "weekday", "quiet_from", "quiet_to")})
    return {
        "account_id": account_id,
        "channel_id": channel["channel_id"],
        "paper_id": row["paper_id"],
        "not_before": not_before(row["cadence"], rhythm, now, channel["told_on"], row["paused_until"]),
        "cadence": row["cadence"],
        "dropped_because": UNSUBSCRIBED if channel["unsubscribed_at"] else "",
    }
