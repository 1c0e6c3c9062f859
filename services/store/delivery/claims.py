"""Sending: which deliveries may go, claiming them, and their steps under the lease."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Select, and_, any_, bindparam, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import TIMESTAMP, distinct_on

from services.domain.delivery import state_machine as domain
from services.domain.delivery.state_machine import Delivery, State
from services.store.db import leases, rate_limits
from services.store.db.database import Row, first, rows
from services.store.db.tables import account, channel, delivery
from services.store.delivery import channels
from services.store.delivery.deliveries import columns_of, policy_of, state_of

_UNSENT_STATES = [State.PENDING.value, State.UNCERTAIN.value]
_OTHER_STATES = [one.value for one in State if one.value not in _UNSENT_STATES]
_OPTED_IN = or_(channel.c.verified, delivery.c.kind == "confirm")
"""Nothing goes to a channel that nobody confirmed but the question whether to."""


def sendable(now: datetime) -> Any:
    """Due deliveries whose channel may be sent to now. A spent `uncertain` has no next attempt."""
    return and_(
        _is_waiting_and_due(now),
        exists().where(channel.c.id == delivery.c.channel_id, _OPTED_IN, channels.sendable_now(now)),
    )


def _is_waiting_and_due(now: datetime) -> Any:
    # Not as parameters, or a prepared statement may not know that the index of what waits will do.
    waits = delivery.c.state.in_(bindparam("waiting", _UNSENT_STATES, expanding=True, literal_execute=True))
    return and_(waits, _is_due(now))


def _is_still_due(now: datetime) -> Any:
    """The same of a few that are known by their ids: said so that no index of all that waits is gone through."""
    over: Any = bindparam("over", _OTHER_STATES, expanding=True, literal_execute=True)
    return and_(delivery.c.state.not_in(over), _is_due(now))


def _is_due(now: datetime) -> Any:
    return and_(delivery.c.next_attempt_at <= now, delivery.c.rate_limit_key.not_in(rate_limits.exhausted(now)))


def next_due_at(tx: Connection, now: datetime, within: timedelta) -> datetime | None:
    """When the next delivery may go that waits for its hour or its gates, unless that is far off."""
    turn = func.greatest(
        delivery.c.next_attempt_at,
        rate_limits.available_at(delivery.c.rate_limit_key),
        rate_limits.available_at(channel.c.transport),
        type_=TIMESTAMP,
    )
    query = select(func.min(turn)).join(channel, channel.c.id == delivery.c.channel_id)
    soon = and_(delivery.c.state.in_(_UNSENT_STATES), delivery.c.next_attempt_at <= now + within)
    return tx.scalars(query.where(soon, channels.sendable(), _OPTED_IN, turn.between(now, now + within))).one()


def due(tx: Connection, now: datetime, most: int) -> list[tuple[Row, Row]]:
    """Locks the deliveries that are due longest, with their channels; of a channel one."""
    columns = [column.name for column in channel.c]
    # It believes that few wait, and would go through all of them to put these in order.
    tx.execute(text("SET LOCAL enable_bitmapscan = off"))
    return [
        (
            {column.name: found[column] for column in delivery.c},
            {name: found[channel.c[name]] for name in columns} | {name: found[name] for name in ("timezone", "email")},
        )
        for found in tx.execute(_due(), {"now": now, "most": most, "window": most * WINDOW}).mappings()
    ]


WINDOW = 8
"""Times as many are looked at as are taken: several may be a channel's."""


@cache
def _due() -> Select[Any]:
    # Built once: it is asked all the time. Each part takes as long however many are due, even where the database does
    # not know yet that they are many: the index gives the first ones in its order, and the rest goes by their ids.
    now: Any = bindparam("now", type_=TIMESTAMP(timezone=True))
    here = channel.c.id == delivery.c.channel_id
    open_now = and_(channels.sendable_now(now), _OPTED_IN)
    waiting = select(delivery.c.id, delivery.c.channel_id, delivery.c.next_attempt_at).join(channel, here)
    waiting = waiting.where(_is_waiting_and_due(now), open_now).order_by(delivery.c.next_attempt_at)
    first_ones = waiting.limit(bindparam("window")).subquery()
    one_each = select(first_ones.c.id).ext(distinct_on(first_ones.c.channel_id))
    one_each = one_each.order_by(first_ones.c.channel_id, first_ones.c.next_attempt_at, first_ones.c.id)
    query = select(delivery, channel, account.c.timezone, account.c.email).join(channel, here)
    query = query.join(account, account.c.id == channel.c.account_id)
    query = query.where(delivery.c.id == any_(func.array(one_each.scalar_subquery())), _is_still_due(now), open_now)
    query = query.order_by(delivery.c.next_attempt_at, delivery.c.id).limit(bindparam("most"))
    return query.with_for_update(skip_locked=True, of=[delivery, channel])


def claim_all(tx: Connection, due_rows: Sequence[Row], until: datetime) -> list[Row]:
    """Takes locked deliveries, each under a lease of its own."""
    columns = ("state", "attempt", "lease_token", "lease_until")
    taken = [{**row, **columns_of(domain.claim(state_of(row)))} for row in due_rows]
    taken = [{**row, "lease_token": uuid4(), "lease_until": until} for row in taken]
    # Whoever had it has it no more; of a doubtful one that may still be somebody.
    changes = [(old, {name: new[name] for name in columns}) for old, new in zip(due_rows, taken, strict=True)]
    leases.take_all(tx, delivery, changes)
    return taken


def commit_all(tx: Connection, committed: Sequence[tuple[Row, Delivery, datetime]], now: datetime) -> None:
    """`sending`, each until its own lease ends. Raises LeaseLost when one of them is not ours any more."""
    changes = [
        (row, {"state": after.state.value, "ambiguous_resends": after.ambiguous_resends, "lease_until": until})
        for row, after, until in committed
    ]
    leases.fenced_all(tx, delivery, [(row, {**new, "committed_at": now}) for row, new in changes])


def render_all(tx: Connection, rendered: Sequence[tuple[Row, Row]]) -> None:
    """What the deliveries say: `rendered`, `subject`, `shown`."""
    leases.fenced_all(tx, delivery, rendered)


def finish_all(tx: Connection, finished: Sequence[tuple[Row, Delivery]], now: datetime) -> None:
    """The outcomes. An uncertain one keeps its token, so that a late answer still counts."""
    changes = []
    for row, after in finished:
        kept = row["lease_token"] if after.state is State.UNCERTAIN else None
        sent_at = now if after.state is State.SENT else None
        changes.append((row, {**columns_of(after), "lease_token": kept, "lease_until": None, "sent_at": sent_at}))
    leases.fenced_all(tx, delivery, changes)


def expired(now: datetime) -> Any:
    return and_(delivery.c.state.in_(["claimed", "sending"]), delivery.c.lease_until <= now)


def expire_one(tx: Connection, now: datetime, scale: float) -> bool:
    """Ends one lease that ran out; in doubt the token stays, so that the late answer still counts."""
    query = select(delivery).where(expired(now)).order_by(delivery.c.lease_until).limit(1)
    row = first(tx, query.with_for_update(skip_locked=True))
    if row is None:
        return False
    where = rows(tx, select(channel).where(channel.c.id == row["channel_id"]))[0]
    after = domain.expire(state_of(row), now, scale, policy_of(where, row["kind"]))
    kept = row["lease_token"] if after.state is State.UNCERTAIN else None
    values = {**columns_of(after), "lease_token": kept, "lease_until": None}
    tx.execute(update(delivery).where(delivery.c.id == row["id"]).values(values))
    channels.drop_if_ended(tx, row["channel_id"])
    return True
