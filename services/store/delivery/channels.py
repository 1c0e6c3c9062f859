"""Channels, and the transports that several of them share."""

import re
from collections.abc import Collection, Sequence
from datetime import datetime, time, timedelta
from typing import Any

from pydantic import BaseModel, SecretStr
from sqlalchemy import ARRAY, BigInteger, Connection, and_, any_, func, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services import plugins
from services.domain.delivery.schedule import WEEKDAYS
from services.errors import ConfigError, NotFound
from services.ports import RateLimited
from services.store.db import rate_limits
from services.store.db.database import Row, first, rows, wake
from services.store.db.secrets import SecretBox
from services.store.db.tables import account, channel, delivery, delivery_item, transport
from services.store.delivery import digest_schedule
from services.store.delivery import sending_pause as whole_hold


def parse_at(text: str) -> time:
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
    if not match:
        raise ConfigError(f"an hour reads 08:00, not {text!r}")
    return time(int(match[1]), int(match[2]))


def parse_weekday(text: str) -> int:
    if text.lower()[:3] not in WEEKDAYS:
        raise ConfigError(f"a weekday is one of {', '.join(WEEKDAYS)}, not {text!r}")
    return WEEKDAYS.index(text.lower()[:3])


def split_target(kind: str, target: BaseModel) -> tuple[dict[str, Any], dict[str, str]]:
    """The open and the secret fields of a target."""
    values = {name: getattr(target, name) for name in type(target).model_fields}
    secret = {name: value.get_secret_value() for name, value in values.items() if isinstance(value, SecretStr)}
    return {name: value for name, value in values.items() if name not in secret}, secret


def target_of(row: Row, secrets: SecretBox) -> BaseModel:
    secret_fields = secrets.decrypt(row["secret"]) if row["secret"] else {}
    return plugins.notifier(row["kind"]).target.model_validate({**row["target"], **secret_fields})


def add(
    tx: Connection, secrets: SecretBox, account_id: int, kind: str, target: BaseModel, *, verified: bool, **hours: Any
) -> int:
    """Adds a channel, or changes the hours of the one that has this target."""
    label = plugins.notifier(kind).label(target)
    settings = _columns(secrets, kind, target) | hours
    found = same(tx, account_id, kind, label)
    if found is not None:
        tx.execute(update(channel).where(channel.c.id == found["id"]).values(settings))
        if hours:
            digest_schedule.reschedule_all(tx, account_id)
        return int(found["id"])
    new = insert(channel).values(account_id=account_id, kind=kind, label=label, verified=verified, **settings)
    return int(tx.scalars(new.returning(channel.c.id)).one())


def _columns(secrets: SecretBox, kind: str, target: BaseModel) -> dict[str, Any]:
    plugin = plugins.notifier(kind)
    values, secret_fields = split_target(kind, target)
    encrypted = secrets.encrypt(secret_fields) if secret_fields else None
    return {
        "target": values,
        "secret": encrypted,
        "transport": plugin.transport(target),
        "rate_limit_key": plugin.rate_limit_key(target) if isinstance(plugin, RateLimited) else "",
    }


def same(tx: Connection, account_id: int, kind: str, label: str) -> Row | None:
    """The account's channel that this would be, locked."""
    mine = and_(channel.c.account_id == account_id, channel.c.deleted_at.is_(None))
    return first(tx, select(channel).where(mine, channel.c.kind == kind, channel.c.label == label).with_for_update())


def retarget(tx: Connection, secrets: SecretBox, row: Row, target: BaseModel) -> None:
    """Gives a channel another form of its target: a new secret."""
    tx.execute(update(channel).where(channel.c.id == row["id"]).values(_columns(secrets, row["kind"], target)))


def find(tx: Connection, channel_id: int, account_id: int | None = None) -> Row:
    """A living channel. Raises NotFound, also for another account's."""
    wanted = and_(channel.c.id == channel_id, channel.c.deleted_at.is_(None))
    if account_id is not None:
        wanted = and_(wanted, channel.c.account_id == account_id)
    row = first(tx, select(channel, account.c.email, account.c.timezone).join(account).where(wanted))
    if row is None:
        raise NotFound(f"no channel {channel_id}")
    return row


def all_of(tx: Connection, account_id: int | None = None) -> Sequence[Row]:
    """Living channels with `down_because` of their transport."""
    query = select(channel, account.c.email, func.coalesce(transport.c.down_because, "").label("down_because"))
    query = (
        query.join(account)
        .outerjoin(transport, transport.c.key == channel.c.transport)
        .where(channel.c.deleted_at.is_(None))
    )
    query = query.where(channel.c.account_id == account_id) if account_id is not None else query
    return rows(tx, query.order_by(channel.c.id))


def remove(tx: Connection, channel_id: int) -> None:
    """Deletes a channel: what waits for it is dropped and cancelled, what was sent stays on record."""
    lock_whole(tx, channel_id)
    tx.execute(update(channel).where(channel.c.id == channel_id).values(deleted_at=func.now(), secret=None))
    drop_waiting(tx, channel_id, "channel removed")


def lock_whole(tx: Connection, channel_id: int) -> None:
    """Locks a channel after its open deliveries: in that order whoever records an outcome locks them too."""
    states = ("pending", "claimed", "sending", "uncertain")
    open_ones = and_(delivery.c.channel_id == channel_id, delivery.c.state.in_(states))
    tx.execute(select(delivery.c.id).where(open_ones).order_by(delivery.c.id).with_for_update())
    tx.execute(select(channel.c.id).where(channel.c.id == channel_id).with_for_update())


def drop_waiting(tx: Connection, channel_id: int, because: str) -> None:
    """Cancels whole deliveries that are not on their way, and drops all items that were not told.

    What may have arrived stays as it is, and is not repeated.
    """
    mine = delivery.c.channel_id == channel_id
    cancelled = {"state": "cancelled", "error": because, "next_attempt_at": None, "lease_token": None}
    open_ones = and_(mine, delivery.c.state.in_(["pending", "claimed"]))
    tx.execute(update(delivery).where(open_ones).values({**cancelled, "lease_until": None}))
    tx.execute(update(delivery).where(mine, delivery.c.state == "uncertain").values(next_attempt_at=None))
    never = delivery_item.c.delivery_id.in_(select(delivery.c.id).where(mine, delivery.c.state == "cancelled"))
    waiting = and_(delivery_item.c.channel_id == channel_id, or_(delivery_item.c.delivery_id.is_(None), never))
    dropped = {"dropped_because": because, "delivery_id": None}
    tx.execute(update(delivery_item).where(waiting, delivery_item.c.dropped_because == "").values(dropped))


def over(tx: Connection, ids: Collection[int]) -> Sequence[int]:
    """Those of the channels that nothing is to be sent to any more."""
    if not ids:
        return []
    gone = or_(channel.c.deleted_at.is_not(None), channel.c.unsubscribed_at.is_not(None))
    mine = channel.c.id == any_(literal(list(ids), ARRAY(BigInteger)))
    return tx.scalars(select(channel.c.id).where(mine, gone).order_by(channel.c.id)).all()


def drop_if_over(tx: Connection, channel_id: int) -> None:
    """After a send that was under way when its channel was removed or unsubscribed: no second try."""
    row = rows(tx, select(channel).where(channel.c.id == channel_id))[0]
    if row["deleted_at"] or row["unsubscribed_at"]:
        drop_waiting(tx, channel_id, "channel removed" if row["deleted_at"] else "unsubscribed")


def disable(tx: Connection, channel_id: int, because: str) -> None:
    tx.execute(
        update(channel).where(channel.c.id == channel_id).values(disabled_because=because, disabled_at=func.now())
    )


def prefer_once(tx: Connection, channel_id: int, at_most_once: bool) -> None:
    """Whether the channel would rather miss a message than get it twice; what is in doubt follows at once."""
    tx.execute(update(channel).where(channel.c.id == channel_id).values(at_most_once=at_most_once))
    row = rows(tx, select(channel).where(channel.c.id == channel_id))[0]
    can_reconcile = plugins.notifier(row["kind"]).policy(row["target"], "message").can_reconcile
    if at_most_once and not can_reconcile:
        doubtful = and_(delivery.c.channel_id == channel_id, delivery.c.state == "uncertain")
        tx.execute(update(delivery).where(doubtful).values(next_attempt_at=None))


def enable(tx: Connection, channel_id: int) -> None:
    """Lets a disabled channel go on, with what has waited."""
    tx.execute(update(channel).where(channel.c.id == channel_id).values(disabled_because="", disabled_at=None))
    wake(tx, "deliver")


# ── transports ────────────────────────────────────────────────────────────────────────────────────────────────

FIRST_CHECK = timedelta(seconds=30)
MAX_CHECK = timedelta(minutes=15)
EMBEDDER = "embedder:"
"""How keys begin that no channel has: embedders rest under them, and are looked at by those who embed."""


def hold_transport(
    tx: Connection, key: str, because: str, now: datetime, scale: float, after: float | None = None
) -> bool:
    """Holds all channels of a transport; whether that is new.

    The next look is in `after` seconds, where that was asked for, else in 30 s, doubling up to 15 minutes.
    """
    failures = tx.scalars(select(transport.c.failures).where(transport.c.key == key).with_for_update()).first() or 0
    pause = min(FIRST_CHECK * (1 << min(failures, 8)), MAX_CHECK) * scale
    pause = pause if after is None else timedelta(seconds=max(1.0, after))
    values = {"down_because": because, "check_at": now + pause, "failures": failures + 1}
    statement = upsert(transport).values(key=key, **values)
    tx.execute(statement.on_conflict_do_update(index_elements=["key"], set_=values))
    return failures == 0


def release_transport(tx: Connection, key: str) -> None:
    tx.execute(update(transport).where(transport.c.key == key).values(down_because="", check_at=None, failures=0))


def checks_due(now: datetime) -> Any:
    return and_(transport.c.down_because != "", transport.c.check_at <= now, ~transport.c.key.startswith(EMBEDDER))


def claim_check(tx: Connection, now: datetime, lease: timedelta) -> tuple[bool, Row | None]:
    """Whether a held transport is to be looked at again, and a living channel of it; nobody else looks for `lease`."""
    due = select(transport.c.key).where(checks_due(now)).order_by(transport.c.check_at).limit(1)
    key = tx.scalars(due.with_for_update(skip_locked=True)).first()
    if key is None:
        return False, None
    tx.execute(update(transport).where(transport.c.key == key).values(check_at=now + lease))
    row = first(tx, select(channel).where(channel.c.transport == key, channel.c.deleted_at.is_(None)).limit(1))
    if row is None:  # Its channels are gone: its next user will see.
        release_transport(tx, key)
    return True, row


def is_held(tx: Connection, key: str) -> bool:
    return bool(tx.scalars(select(held(key))).one())


def held(row_transport: Any) -> Any:
    """SQL: whether the transport in a column is held."""
    return select(transport.c.key).where(transport.c.key == row_transport, transport.c.down_because != "").exists()


def open_now(now: datetime) -> Any:
    """SQL: channels that may be sent to at this moment; what is not verified, only to ask whether it wants to be."""
    return and_(usable(), channel.c.transport.not_in(rate_limits.exhausted(now)))


def usable() -> Any:
    """SQL: channels that may be sent to, when their turn comes."""
    return and_(
        channel.c.disabled_because == "",
        channel.c.unsubscribed_at.is_(None),
        channel.c.deleted_at.is_(None),
        ~held(channel.c.transport),
        ~whole_hold.on(),
    )
