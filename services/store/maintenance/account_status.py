"""What the start page says about the service and the channels of an account. Read-only."""

from datetime import datetime

from sqlalchemy import Connection, exists, func, select

from services.domain.delivery.account_health import AccountHealth, ChannelHealth, TotalSilence, WatchedSource
from services.domain.delivery.state_machine import State
from services.domain.http.ssrf import without_secrets
from services.store.db.records import fetch_all
from services.store.db.tables import channel, delivery, delivery_item, source, subscription, subscription_channel
from services.store.delivery import channels, sending_pause
from services.store.delivery.items import IS_WAITING
from services.store.delivery.records import ChannelStatus, PlannedDigest
from services.store.subscriptions import silences, subscriptions


def health(tx: Connection, account_id: int, now: datetime, *, operator: bool) -> AccountHealth:
    planned = {row.channel_id: row for row in planned_digests(tx, account_id)}
    used = [row for row in channels.all_of(tx, account_id) if row.id in planned]
    of_all = [row for row in silences.list_all(tx, now, account_id) if not row.query and row.subscription_id is None]
    longest = max(of_all, key=lambda row: row.until, default=None)
    return AccountHealth(
        sources=_watched(tx),
        channels=[_channel(row, planned[row.id]) for row in used],
        silence=TotalSilence(longest.id, longest.until) if longest else None,
        sending_paused=bool(tx.scalars(select(sending_pause.is_active())).one()),
        operator=operator,
        away_until=_away_until(tx, account_id, now),
        last_digest_at=tx.scalars(
            select(func.max(delivery.c.sent_at)).where(
                delivery.c.account_id == account_id, delivery.c.kind == "digest", delivery.c.state == State.SENT
            )
        ).one(),
    )


def planned_digests(tx: Connection, account_id: int) -> list[PlannedDigest]:
    """The channels that subscriptions use, with the time of the next digest and the number of papers that wait."""
    waiting = (
        select(func.count())
        .select_from(delivery_item)
        .where(delivery_item.c.channel_id == channel.c.id, IS_WAITING)
        .scalar_subquery()
    )
    is_used = exists().where(
        subscription_channel.c.channel_id == channel.c.id,
        subscription.c.id == subscription_channel.c.subscription_id,
        subscription.c.deleted_at.is_(None),
    )
    query = (
        select(
            channel.c.id.label("channel_id"),
            channel.c.kind,
            channel.c.label,
            channel.c.next_digest_at,
            waiting.label("waiting"),
        )
        .where(channel.c.account_id == account_id, channel.c.deleted_at.is_(None), is_used)
        .order_by(channel.c.next_digest_at.nulls_last(), channel.c.id)
    )
    return fetch_all(tx, PlannedDigest, query)


def has_received(tx: Connection, account_id: int) -> bool:
    """Whether any message, such as a test, has arrived at a channel of the account."""
    arrived = (delivery.c.account_id == account_id, delivery.c.state == State.SENT, delivery.c.kind != "confirm")
    return tx.scalars(select(exists().where(*arrived))).one()


def _watched(tx: Connection) -> list[WatchedSource]:
    columns = source.c.id, source.c.kind, source.c.location, source.c.failures, source.c.succeeded_at
    query = select(*columns).where(source.c.polled).order_by(source.c.failures.desc(), source.c.id)
    return [
        WatchedSource(row.id, without_secrets(row.location) or row.kind, row.failures, row.succeeded_at)
        for row in tx.execute(query)
    ]


def _away_until(tx: Connection, account_id: int, now: datetime) -> datetime | None:
    ends = [row.paused_until for row in subscriptions.list_all(tx, account_id)]
    paused = [end for end in ends if end is not None and end > now]
    return min(paused) if ends and len(paused) == len(ends) else None


def _channel(row: ChannelStatus, planned: PlannedDigest) -> ChannelHealth:
    down = row.down_because and f"waits, since {row.down_because}"
    fault = (
        ("unsubscribed by the link in a mail" if row.unsubscribed_at else "")
        or ("not confirmed yet" if not row.verified else "")
        or (row.disabled_because and f"disabled: {row.disabled_because}")
        or down
    )
    return ChannelHealth(
        label=row.label,
        fault=fault,
        is_operators=fault == down,
        next_digest_at=planned.next_digest_at,
        waiting=planned.waiting,
    )
