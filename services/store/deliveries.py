"""Delivery items and deliveries: gathering what is due, claiming, and recording what became of it."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Select, and_, bindparam, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.dialects.postgresql import insert as upsert

from services import plugins
from services.domain import delivery as domain
from services.domain.delivery import Delivery, Policy, State
from services.errors import NotFound
from services.store import channels, hold, leases, pace, slots
from services.store.database import Row, first, rows
from services.store.tables import account, channel, delivery, delivery_item, match, subscription, subscription_channel

# ── items ─────────────────────────────────────────────────────────────────────────────────────────────────────

WAITING = and_(delivery_item.c.delivery_id.is_(None), delivery_item.c.dropped_because == "")

_GATHERED = and_(channel.c.verified, channel.c.disabled_because == "", channel.c.deleted_at.is_(None), ~hold.on())
"""Channels whose items become deliveries; in a hold none does, so that its end brings one message, not one a day."""


def items_due(now: datetime) -> Any:
    told = exists().where(channel.c.id == delivery_item.c.channel_id, _GATHERED)
    return and_(WAITING, delivery_item.c.not_before <= now, told)


def lock_due_channel(tx: Connection, now: datetime) -> Row | None:
    """Locks one channel with something due: items first, then its digest slot. With its account's hours and address."""
    waits = exists().where(delivery_item.c.channel_id == channel.c.id, WAITING, delivery_item.c.not_before <= now)
    for due in (and_(_GATHERED, waits), slots.due(now)):
        query = select(channel).where(due).order_by(channel.c.id).limit(1)
        row = first(tx, query.with_for_update(skip_locked=True))
        if row is not None:
            hours = select(account.c.timezone, account.c.quiet_from, account.c.quiet_to, account.c.email)
            return {**row, **rows(tx, hours.where(account.c.id == row["account_id"]))[0]}
    return None


def due_items(tx: Connection, channel_id: int, now: datetime) -> Sequence[Row]:
    query = select(delivery_item).where(
        delivery_item.c.channel_id == channel_id, WAITING, delivery_item.c.not_before <= now
    )
    return rows(tx, query.order_by(delivery_item.c.id))


def postpone(tx: Connection, ids: Collection[int], until: datetime) -> None:
    if ids:
        tx.execute(update(delivery_item).where(delivery_item.c.id.in_(ids)).values(not_before=until))


def drop(tx: Connection, ids: Collection[int], because: str) -> None:
    tx.execute(
        update(delivery_item).where(delivery_item.c.id.in_(ids)).values(dropped_because=because, delivery_id=None)
    )


def reasons(tx: Connection, channel_id: int, paper_ids: Collection[int]) -> Sequence[Row]:
    """Every match of these papers that a living subscription of the channel still stands behind."""
    names = ("name", "for_whom", "query", "interest", "terms", "threshold")
    query = select(match, *(subscription.c[name] for name in names)).join(
        subscription, subscription.c.id == match.c.subscription_id
    )
    query = query.join(subscription_channel, subscription_channel.c.subscription_id == subscription.c.id)
    living = and_(subscription_channel.c.channel_id == channel_id, subscription.c.deleted_at.is_(None))
    # A match of trending papers says only what may be chosen, until it was.
    living = and_(living, or_(subscription.c.trending.is_(None), match.c.decided.has_key("trending")))
    return rows(tx, query.where(living, match.c.paper_id.in_(paper_ids)).order_by(match.c.id))


def items_of(tx: Connection, delivery_id: int) -> Sequence[Row]:
    mine = and_(delivery_item.c.delivery_id == delivery_id, delivery_item.c.dropped_because == "")
    return rows(tx, select(delivery_item).where(mine).order_by(delivery_item.c.id))


def paper_ids(tx: Connection, delivery_id: int) -> list[int]:
    return [item["paper_id"] for item in items_of(tx, delivery_id)]


# ── making ────────────────────────────────────────────────────────────────────────────────────────────────────


def create(
    tx: Connection, row: Row, kind: str, key: str, host: str, items: Collection[int] = (), **values: Any
) -> int | None:
    """A delivery on the channel `row` with its items; None when one with this idempotency key exists."""
    given = {"account_id": row["account_id"], "channel_id": row["id"], "kind": kind, "idem_key": key}
    own_gate = select(channel.c.gate).where(channel.c.id == row["id"]).scalar_subquery()
    now = {"message_id": f"<{kind}-{secrets.token_hex(12)}@{host}>", "next_attempt_at": func.now()}
    new = upsert(delivery).values({**given, **now, "gate": own_gate, **values})
    made = tx.scalars(new.on_conflict_do_nothing(index_elements=["idem_key"]).returning(delivery.c.id)).first()
    if made is not None and items:
        tx.execute(update(delivery_item).where(delivery_item.c.id.in_(items)).values(delivery_id=made))
    return made


# ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────


def state_of(row: Row) -> Delivery:
    names = (
        "kind",
        "attempt",
        "ambiguous_resends",
        "expired_leases",
        "frozen",
        "refused_since",
        "next_attempt_at",
        "error",
        "receipt",
    )
    return Delivery(state=State(row["state"]), **{name: row[name] for name in names})


def _columns(one: Delivery) -> dict[str, Any]:
    names = (
        "attempt",
        "ambiguous_resends",
        "expired_leases",
        "frozen",
        "refused_since",
        "next_attempt_at",
        "error",
        "receipt",
    )
    return {"state": one.state.value, **{name: getattr(one, name) for name in names}}


_AGREED = or_(channel.c.verified, delivery.c.kind == "confirm")
"""Nothing goes to a channel that nobody confirmed but the question whether to."""


def sendable(now: datetime) -> Any:
    """Due deliveries whose channel may be sent to now. A spent `uncertain` has no next attempt."""
    return and_(_waits(now), exists().where(channel.c.id == delivery.c.channel_id, _AGREED, channels.open_now(now)))


def _waits(now: datetime) -> Any:
    due = and_(delivery.c.state.in_(["pending", "uncertain"]), delivery.c.next_attempt_at <= now)
    return and_(due, delivery.c.gate.not_in(pace.closed(now)))


def next_turn(tx: Connection, now: datetime, within: timedelta) -> datetime | None:
    """When the next delivery may go that waits for its hour or its gates, unless that is far off."""
    turn = func.greatest(
        delivery.c.next_attempt_at, pace.free_at(delivery.c.gate), pace.free_at(channel.c.transport), type_=TIMESTAMP
    )
    query = select(func.min(turn)).join(channel, channel.c.id == delivery.c.channel_id)
    soon = and_(delivery.c.state.in_(["pending", "uncertain"]), delivery.c.next_attempt_at <= now + within)
    return tx.scalars(query.where(soon, channels.usable(), _AGREED, turn.between(now, now + within))).one()


def claim(tx: Connection, now: datetime, lease: timedelta) -> tuple[Row, Row] | None:
    """Takes the delivery that is due longest, with its channel, whose lock keeps two from going at once."""
    found = tx.execute(_next_due(), {"now": now}).mappings().first()
    if found is None:
        return None
    row = {column.name: found[column] for column in delivery.c}
    taken = {**_columns(domain.claim(state_of(row))), "lease_token": uuid4(), "lease_until": now + lease}
    tx.execute(update(delivery).where(delivery.c.id == row["id"]).values(taken))
    zone = {"timezone": found["timezone"], "email": found["email"]}
    return row | taken, {column.name: found[column] for column in channel.c} | zone


@cache
def _next_due() -> Select[Any]:
    # Built once: it is asked before every message.
    now: Any = bindparam("now", type_=TIMESTAMP(timezone=True))
    query = select(delivery, channel, account.c.timezone, account.c.email)
    query = query.join(channel, channel.c.id == delivery.c.channel_id)
    query = query.join(account, account.c.id == channel.c.account_id)
    query = query.where(_waits(now), channels.open_now(now), _AGREED)
    query = query.order_by(delivery.c.next_attempt_at, delivery.c.id)
    return query.limit(1).with_for_update(skip_locked=True, of=[delivery, channel])


def update_claimed(tx: Connection, row: Row, after: Delivery, **values: Any) -> None:
    """A step under the lease. Raises LeaseLost when it is not ours any more."""
    leases.fenced(tx, delivery, row, **_columns(after), **values)


def finish(tx: Connection, row: Row, after: Delivery, now: datetime) -> None:
    """The outcome. An uncertain one keeps its token, so that a late answer still counts."""
    kept = row["lease_token"] if after.state is State.UNCERTAIN else None
    sent_at = now if after.state is State.SENT else None
    leases.fenced(tx, delivery, row, **_columns(after), lease_token=kept, lease_until=None, sent_at=sent_at)


def expired(now: datetime) -> Any:
    return and_(delivery.c.state.in_(["claimed", "sending"]), delivery.c.lease_until <= now)


def policy_of(where: Row, kind: str) -> Policy:
    """How deliveries of this kind take failures and doubts on a channel."""
    plain = plugins.notifier(where["kind"]).policy(where["target"], kind)
    return replace(plain, never_twice=where["never_twice"])


def expire_one(tx: Connection, now: datetime, scale: float) -> bool:
    """Ends one lease that ran out; in doubt the token stays, so that the late answer still counts."""
    query = select(delivery).where(expired(now)).order_by(delivery.c.lease_until).limit(1)
    row = first(tx, query.with_for_update(skip_locked=True))
    if row is None:
        return False
    where = rows(tx, select(channel).where(channel.c.id == row["channel_id"]))[0]
    after = domain.expire(state_of(row), now, scale, policy_of(where, row["kind"]))
    kept = row["lease_token"] if after.state is State.UNCERTAIN else None
    values = {**_columns(after), "lease_token": kept, "lease_until": None}
    tx.execute(update(delivery).where(delivery.c.id == row["id"]).values(values))
    channels.drop_if_over(tx, row["channel_id"])
    return True


# ── people's views and steps ──────────────────────────────────────────────────────────────────────────────────


def all_of(tx: Connection, account_id: int | None = None, state: str | None = None, limit: int = 1000) -> Sequence[Row]:
    """The newest deliveries with their channel and the ids of their papers."""
    papers = (
        select(func.array_agg(delivery_item.c.paper_id))
        .where(delivery_item.c.delivery_id == delivery.c.id, delivery_item.c.dropped_because == "")
        .scalar_subquery()
    )
    query = select(
        delivery, channel.c.label, channel.c.kind.label("channel_kind"), account.c.email, papers.label("papers")
    )
    query = query.join(channel, channel.c.id == delivery.c.channel_id).join(
        account, account.c.id == delivery.c.account_id
    )
    query = query.where(delivery.c.account_id == account_id) if account_id is not None else query
    query = query.where(delivery.c.state == state) if state else query
    found = rows(tx, query.order_by(delivery.c.id.desc()).limit(limit))
    return [{**row, "papers": row["papers"] or []} for row in found]


def find(tx: Connection, delivery_id: int) -> Row:
    return rows(tx, select(delivery).where(delivery.c.id == delivery_id))[0]


def lock_one(tx: Connection, delivery_id: int, account_id: int | None = None) -> Row:
    wanted = delivery.c.id == delivery_id
    wanted = and_(wanted, delivery.c.account_id == account_id) if account_id is not None else wanted
    row = first(tx, select(delivery).where(wanted).with_for_update())
    if row is None:
        raise NotFound(f"no delivery {delivery_id}")
    return row


def set_state(tx: Connection, delivery_id: int, after: Delivery) -> None:
    """A person's step on a locked row that no worker holds."""
    tx.execute(
        update(delivery)
        .where(delivery.c.id == delivery_id)
        .values(**_columns(after), lease_token=None, lease_until=None)
    )


def item_of(tx: Connection, channel_ids: Collection[int], paper_id: int) -> Sequence[Row]:
    """What became of a paper on these channels, with its delivery where there is one."""
    columns = (
        delivery.c.state,
        delivery.c.sent_at,
        delivery.c.error,
        delivery.c.receipt,
        delivery.c.kind,
        delivery.c.next_attempt_at,
    )
    query = select(delivery_item, *columns, channel.c.label).join(channel, channel.c.id == delivery_item.c.channel_id)
    query = query.outerjoin(delivery, delivery.c.id == delivery_item.c.delivery_id)
    wanted = and_(delivery_item.c.channel_id.in_(channel_ids), delivery_item.c.paper_id == paper_id)
    return rows(tx, query.where(wanted))
