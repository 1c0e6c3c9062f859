"""Channels: where an account's papers are sent."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.delivery.schedule import ChannelHours
from services.errors import ConfigError, NotFound
from services.settings import settings
from services.store.db import change_log, circuit_breaker, rate_limits
from services.store.db.database import wake
from services.store.db.records import columns_for, fetch_all, fetch_first
from services.store.db.tables import account, channel, delivery, delivery_item, subscription_channel, transport
from services.store.delivery import digest_schedule, sending_pause
from services.store.delivery.records import Channel, ChannelStatus, ChannelWithAccount, StoredTarget

# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────


def find(tx: Connection, channel_id: int, account_id: int | None = None) -> ChannelWithAccount:
    """A channel that is not removed. Raises NotFound, also for a channel of another account than `account_id`."""
    wanted = and_(channel.c.id == channel_id, channel.c.deleted_at.is_(None))
    if account_id is not None:
        wanted = and_(wanted, channel.c.account_id == account_id)
    row = fetch_first(
        tx, ChannelWithAccount, select(channel, account.c.email, account.c.timezone).join(account).where(wanted)
    )
    if row is None:
        raise NotFound(f"no channel {channel_id}")
    return row


def by_id(tx: Connection, channel_id: int) -> Channel | None:
    """A channel, a removed one too."""
    return fetch_first(tx, Channel, select(channel).where(channel.c.id == channel_id))


def find_by_label(tx: Connection, account_id: int, kind: str, label: str, *, lock: bool = False) -> Channel | None:
    """The account's channel with this target that is not removed. At most one exists (index uq_channel_target)."""
    query = select(channel).where(
        channel.c.account_id == account_id,
        channel.c.deleted_at.is_(None),
        channel.c.kind == kind,
        channel.c.label == label,
    )
    return fetch_first(tx, Channel, query.with_for_update() if lock else query)


def first_of_transport(tx: Connection, key: str) -> Channel | None:
    """Any channel of a transport that is not removed."""
    return fetch_first(
        tx, Channel, select(channel).where(channel.c.transport == key, channel.c.deleted_at.is_(None)).limit(1)
    )


def all_of(tx: Connection, account_id: int | None = None) -> list[ChannelStatus]:
    """The channels of one account, or of all, that are not removed."""
    return fetch_all(
        tx,
        ChannelStatus,
        select(
            *columns_for(channel, ChannelStatus),
            account.c.email,
            func.coalesce(transport.c.down_because, "").label("down_because"),
        )
        .join(account)
        .outerjoin(transport, transport.c.key == channel.c.transport)
        .where(
            channel.c.deleted_at.is_(None), *([channel.c.account_id == account_id] if account_id is not None else [])
        )
        .order_by(channel.c.id),
    )


# ── changing ──────────────────────────────────────────────────────────────────────────────────────────────────


def add(
    tx: Connection, account_id: int, target: StoredTarget, *, verified: bool, hours: ChannelHours | None = None
) -> int:
    """Adds a channel. When the account has a channel with this target, changes its secret and hours instead.

    Raises ConfigError when the account has too many channels.
    """
    existing = find_by_label(tx, account_id, target.kind, target.label, lock=True)
    if existing is not None:
        change_target(tx, existing.id, target)
        if hours is not None:
            set_hours(tx, existing, hours)
        return existing.id
    _check_room(tx, account_id)
    change_log.record(tx, account_id, "added the channel", target.label)
    channel_id = tx.scalars(
        insert(channel)
        .values(account_id=account_id, verified=verified, **asdict(target), **(asdict(hours) if hours else {}))
        .returning(channel.c.id)
    ).one()
    return int(channel_id)


def _check_room(tx: Connection, account_id: int) -> None:
    undeleted = and_(channel.c.account_id == account_id, channel.c.deleted_at.is_(None))
    most = settings().max_channels
    if tx.scalars(select(func.count()).where(undeleted)).one() >= most:
        raise ConfigError(f"an account has at most {most} channels; remove one first")


def with_secrets(tx: Connection, after: int, limit: int) -> list[tuple[int, bytes]]:
    """The id and the encrypted secrets of channels with ids above `after`, locked until the transaction ends."""
    query = (
        select(channel.c.id, channel.c.secret)
        .where(channel.c.id > after, channel.c.secret.is_not(None))
        .order_by(channel.c.id)
        .limit(limit)
        .with_for_update()
    )
    return [(row.id, bytes(row.secret)) for row in tx.execute(query)]


def set_secret(tx: Connection, channel_id: int, secret: bytes) -> None:
    tx.execute(update(channel).where(channel.c.id == channel_id).values(secret=secret))


def change_target(tx: Connection, channel_id: int, target: StoredTarget) -> None:
    """Stores another form of the same target, such as one with a new secret."""
    tx.execute(
        update(channel)
        .where(channel.c.id == channel_id)
        .values(
            target=target.target,
            secret=target.secret,
            transport=target.transport,
            rate_limit_key=target.rate_limit_key,
        )
    )


def set_hours(tx: Connection, changed: Channel, hours: ChannelHours) -> None:
    tx.execute(update(channel).where(channel.c.id == changed.id).values(asdict(hours)))
    change_log.record(tx, changed.account_id, "changed the hours of the channel", changed.label)
    digest_schedule.reschedule_all(tx, changed.account_id)


def move(tx: Connection, channel_id: int, target: StoredTarget, *, verified: bool) -> None:
    """Gives a channel another target and enables the channel. No link of an earlier opt-in request counts."""
    enabled = {"disabled_because": "", "disabled_at": None, "refusals_since": func.now()}
    tx.execute(
        update(channel)
        .where(channel.c.id == channel_id)
        .values(**asdict(target), **enabled, requests_since=func.now(), verified=verified)
    )


def hand_over(tx: Connection, from_id: int, to_id: int) -> None:
    """Links the subscriptions of one channel to another channel instead, and moves the items that are not sent."""
    links = subscription_channel
    tx.execute(
        upsert(links)
        .from_select(
            ["account_id", "subscription_id", "channel_id"],
            select(links.c.account_id, links.c.subscription_id, literal(to_id)).where(links.c.channel_id == from_id),
        )
        .on_conflict_do_nothing()
    )
    tx.execute(links.delete().where(links.c.channel_id == from_id))
    on_target = select(delivery_item.c.paper_id).where(delivery_item.c.channel_id == to_id)
    tx.execute(
        update(delivery_item)
        .where(
            delivery_item.c.channel_id == from_id,
            delivery_item.c.delivery_id.is_(None),
            delivery_item.c.dropped_because == "",
            delivery_item.c.paper_id.not_in(on_target),
        )
        .values(channel_id=to_id)
    )


def set_at_most_once(tx: Connection, channel_id: int, at_most_once: bool, *, can_reconcile: bool) -> None:
    """Whether the owner prefers to miss a message over getting it twice.

    `can_reconcile`: the notifier can look up whether a message arrived. If it cannot, uncertain deliveries are not sent
    again from now on.
    """
    tx.execute(update(channel).where(channel.c.id == channel_id).values(at_most_once=at_most_once))
    if at_most_once and not can_reconcile:
        tx.execute(
            update(delivery)
            .where(delivery.c.channel_id == channel_id, delivery.c.state == "uncertain")
            .values(next_attempt_at=None)
        )


def disable(tx: Connection, channel_id: int, reason: str) -> None:
    tx.execute(
        update(channel).where(channel.c.id == channel_id).values(disabled_because=reason, disabled_at=func.now())
    )


def disable_address(tx: Connection, address: str, reason: str) -> list[Channel]:
    """Disables the e-mail channels of all accounts that have this address (lower case); returns those it disabled."""
    enabled = fetch_all(
        tx,
        Channel,
        select(channel)
        .where(
            channel.c.kind == "email",
            func.lower(channel.c.label) == address,
            channel.c.deleted_at.is_(None),
            channel.c.disabled_because == "",
        )
        .with_for_update(),
    )
    for matching in enabled:
        disable(tx, matching.id, reason)
    return enabled


def enable(tx: Connection, channel_id: int) -> None:
    """Enables a disabled channel. What has waited for it is sent."""
    if enabled := by_id(tx, channel_id):
        change_log.record(tx, enabled.account_id, "enabled the channel", enabled.label)
    tx.execute(
        update(channel)
        .where(channel.c.id == channel_id)
        .values(disabled_because="", disabled_at=None, refusals_since=func.now())
    )
    wake(tx, "deliver")


# ── conditions ────────────────────────────────────────────────────────────────────────────────────────────────


def sendable_now(now: datetime) -> Any:
    """SQL: channels that may be sent to at `now`. The opt-in is not checked, since an opt-in request needs none."""
    return and_(sendable(), channel.c.transport.not_in(rate_limits.exhausted_keys(now)))


def sendable() -> Any:
    """SQL: channels that may be sent to as soon as their rate limit allows it."""
    return and_(
        channel.c.disabled_because == "",
        channel.c.unsubscribed_at.is_(None),
        channel.c.deleted_at.is_(None),
        circuit_breaker.is_closed(channel.c.transport),
        ~sending_pause.is_active(),
    )
