"""Claims: which deliveries can be sent now, claiming them, and updating them under their leases."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Select, and_, any_, bindparam, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import TIMESTAMP, distinct_on

from services.domain.delivery import state_machine
from services.domain.delivery.state_machine import DeliveryKind, State
from services.store.db import leases, rate_limits
from services.store.db.records import columns_for, fetch_first
from services.store.db.tables import account, channel, delivery
from services.store.delivery import channels
from services.store.delivery.deliveries import progress_columns
from services.store.delivery.records import Channel, ChannelWithAccount, Delivery

_UNSENT_STATES = [State.PENDING, State.UNCERTAIN]
_OTHER_STATES = [state for state in State if state not in _UNSENT_STATES]
_OPTED_IN = or_(channel.c.verified, delivery.c.kind == DeliveryKind.CONFIRM)
"""A channel that has not opted in gets only the opt-in request."""
CANDIDATES_PER_CLAIM = 8
"""The number of due deliveries that are read for each claimed one, since several may be on one channel."""


@dataclass(frozen=True, slots=True)
class DueDelivery:
    delivery: Delivery
    channel: ChannelWithAccount


def sendable(now: datetime) -> ColumnElement[bool]:
    """SQL: whether a delivery can be claimed now. `state_machine.is_claimable` says the same in Python."""
    can_send = exists().where(channel.c.id == delivery.c.channel_id, _OPTED_IN, channels.sendable_now(now))
    return and_(_is_due(now), can_send)


def _is_due(now: datetime) -> ColumnElement[bool]:
    # The states are literals: in a prepared statement with parameters, the planner cannot use the index of due rows.
    states: Any = bindparam("unsent", _UNSENT_STATES, expanding=True, literal_execute=True)
    return and_(delivery.c.state.in_(states), _is_attempt_due(now))


def _is_still_due(now: datetime) -> ColumnElement[bool]:
    """As `_is_due`, for rows selected by id: with NOT IN the planner uses the primary key, not `ix_delivery_due`."""
    states: Any = bindparam("other", _OTHER_STATES, expanding=True, literal_execute=True)
    return and_(delivery.c.state.not_in(states), _is_attempt_due(now))


def _is_attempt_due(now: datetime) -> ColumnElement[bool]:
    is_limited = delivery.c.rate_limit_key.in_(rate_limits.exhausted_keys(now))
    return and_(delivery.c.next_attempt_at <= now, ~is_limited)


def next_due_at(tx: Connection, now: datetime, within: timedelta) -> datetime | None:
    """When the next delivery can be sent that waits for its time or a rate limit; None when none can `within`."""
    due_at = func.greatest(
        delivery.c.next_attempt_at,
        rate_limits.available_at(delivery.c.rate_limit_key, now),
        rate_limits.available_at(channel.c.transport, now),
        type_=TIMESTAMP,
    )
    query = (
        select(func.min(due_at))
        .join(channel, channel.c.id == delivery.c.channel_id)
        .where(
            delivery.c.state.in_(_UNSENT_STATES),
            delivery.c.next_attempt_at <= now + within,
            channels.sendable(),
            _OPTED_IN,
            due_at.between(now, now + within),
        )
    )
    return tx.scalars(query).one()


def lock_due(tx: Connection, now: datetime, most: int) -> list[DueDelivery]:
    """Locks the deliveries that have been due longest, at most one on each channel, with their channels.

    Test messages follow when no other delivery is due, so that many of them delay nobody's alerts.
    """
    # The planner underestimates the number of due rows, and would sort them all for a bitmap scan.
    tx.execute(text("SET LOCAL enable_bitmapscan = off"))
    due = _lock_due(tx, now, most, is_test=False)
    if len(due) < most:
        used = {one.channel.id for one in due}
        tests = _lock_due(tx, now, most - len(due), is_test=True)
        due += [one for one in tests if one.channel.id not in used]
    return due


def _lock_due(tx: Connection, now: datetime, most: int, *, is_test: bool) -> list[DueDelivery]:
    rows = tx.execute(_due_query(is_test), {"now": now, "most": most, "candidates": most * CANDIDATES_PER_CLAIM})
    width = len(columns_for(delivery, Delivery))
    return [DueDelivery(Delivery(*row[:width]), ChannelWithAccount(*row[width:])) for row in rows]


@cache
def _due_query(is_test: bool) -> Select[Any]:
    """The columns of the deliveries, followed by those of their channels. Cached, since every claim runs it.

    Its cost does not grow with the number of due rows, even before ANALYZE has counted them: the inner query reads the
    first rows of `ix_delivery_due` in order, and the outer query reads by primary key.
    """
    now: Any = bindparam("now", type_=TIMESTAMP(timezone=True))
    on_channel = channel.c.id == delivery.c.channel_id
    can_send = and_(channels.sendable_now(now), _OPTED_IN)
    kinds = delivery.c.kind == DeliveryKind.TEST if is_test else delivery.c.kind != DeliveryKind.TEST
    candidates = (
        select(delivery.c.id, delivery.c.channel_id, delivery.c.next_attempt_at)
        .join(channel, on_channel)
        .where(_is_due(now), can_send, kinds)
        .order_by(delivery.c.next_attempt_at)
        .limit(bindparam("candidates"))
        .subquery()
    )
    first_on_each_channel = (
        select(candidates.c.id)
        .ext(distinct_on(candidates.c.channel_id))
        .order_by(candidates.c.channel_id, candidates.c.next_attempt_at, candidates.c.id)
    )
    return (
        select(*columns_for(delivery, Delivery), *columns_for(channel, Channel), account.c.email, account.c.timezone)
        .join(channel, on_channel)
        .join(account, account.c.id == channel.c.account_id)
        .where(delivery.c.id == any_(func.array(first_on_each_channel.scalar_subquery())), _is_still_due(now), can_send)
        .order_by(delivery.c.next_attempt_at, delivery.c.id)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True, of=[delivery, channel])
    )


def claim_all(tx: Connection, due: Sequence[Delivery], until: datetime) -> list[Delivery]:
    """Claims locked deliveries, each under a lease of its own. A lease that the row had before ends."""
    claimed = [replace(state_machine.claim(row), lease_token=uuid4(), lease_until=until) for row in due]
    names = ("state", "attempt", "lease_token", "lease_until")
    leases.take_all(tx, delivery, [(row, {name: getattr(row, name) for name in names}) for row in claimed])
    return claimed


def commit_all(tx: Connection, committed: Sequence[Delivery]) -> None:
    """Stores deliveries as `sending`, each until its own lease ends. Raises LeaseLost."""
    names = ("state", "ambiguous_resends", "lease_until", "committed_at")
    leases.fenced_all(tx, delivery, [(row, {name: getattr(row, name) for name in names}) for row in committed])


def store_rendered(tx: Connection, rendered: Sequence[Delivery]) -> None:
    """Stores the messages of claimed deliveries, with their subjects and snapshots. Raises LeaseLost."""
    changes = []
    for row in rendered:
        snapshot = {"snapshot": row.snapshot} if row.snapshot is not None else {}
        changes.append((row, {"rendered": row.rendered, "subject": row.subject, **snapshot}))
    leases.fenced_all(tx, delivery, changes)


def finish_all(tx: Connection, finished: Sequence[Delivery], now: datetime) -> None:
    """Ends the claims of deliveries and stores their outcomes. Raises LeaseLost."""
    changes = []
    for after in finished:
        sent_at = now if after.state is State.SENT else None
        changes.append((after, {**progress_columns(after), **_ended_lease(after), "sent_at": sent_at}))
    leases.fenced_all(tx, delivery, changes)


def _ended_lease(after: Delivery) -> dict[str, Any]:
    """An uncertain delivery keeps its token, so that an outcome that comes late is still recorded."""
    token = after.lease_token if after.state is State.UNCERTAIN else None
    return {"lease_token": token, "lease_until": None}


def mark_outage_unconfirmed(tx: Connection, delivery_id: int) -> None:
    tx.execute(update(delivery).where(delivery.c.id == delivery_id).values(outage_unconfirmed=True))


def is_expired(now: datetime) -> ColumnElement[bool]:
    """SQL: whether the lease of a delivery ran out."""
    return and_(delivery.c.state.in_([State.CLAIMED, State.SENDING]), delivery.c.lease_until <= now)


def lock_expired(tx: Connection, now: datetime) -> tuple[Delivery, Channel] | None:
    """Locks the delivery whose lease ran out first, by `ix_delivery_leased`."""
    query = (
        select(*columns_for(delivery, Delivery))
        .where(is_expired(now))
        .order_by(delivery.c.lease_until)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    expired = fetch_first(tx, Delivery, query)
    if expired is None:
        return None
    on_channel = fetch_first(
        tx, Channel, select(*columns_for(channel, Channel)).where(channel.c.id == expired.channel_id)
    )
    assert on_channel is not None
    return expired, on_channel


def store_expired(tx: Connection, after: Delivery) -> None:
    """Stores the new state of a locked delivery whose lease ran out."""
    values = {**progress_columns(after), **_ended_lease(after)}
    tx.execute(update(delivery).where(delivery.c.id == after.id).values(values))
    channels.drop_if_ended(tx, after.channel_id)
