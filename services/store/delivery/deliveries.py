"""Delivery items and deliveries: gathering what is due, claiming, and recording what became of it."""

import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    Select,
    and_,
    any_,
    bindparam,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.dialects.postgresql import insert as upsert

from services import plugins
from services.domain.delivery.state_machine import Delivery, Policy, State
from services.errors import NotFound
from services.store.db.database import Row, first, pairs, rows
from services.store.db.tables import (
    account,
    channel,
    delivery,
    delivery_item,
    match,
    subscription,
    subscription_channel,
)
from services.store.delivery import digest_schedule, sending_pause

# ── items ─────────────────────────────────────────────────────────────────────────────────────────────────────

WAITING = and_(delivery_item.c.delivery_id.is_(None), delivery_item.c.dropped_because == "")

_GATHERED = and_(
    channel.c.verified, channel.c.disabled_because == "", channel.c.deleted_at.is_(None), ~sending_pause.is_active()
)
"""Channels whose items become deliveries; in a hold none does, so that its end brings one message, not one a day."""


def items_due(now: datetime) -> Any:
    told = exists().where(channel.c.id == delivery_item.c.channel_id, _GATHERED)
    return and_(WAITING, delivery_item.c.not_before <= now, told)


def lock_due_channels(tx: Connection, now: datetime, most: int) -> dict[int, Row]:
    """Locks channels with something due: items first, then their digests' slots. With their accounts' hours, by id."""
    for query in _DUE_CHANNELS:
        found = rows(tx, query, {"now": now, "most": most, "window": most * ITEMS_EACH})
        if found:
            return {row["id"]: row for row in sorted(found, key=lambda row: row["id"])}
    return {}


ITEMS_EACH = 16
"""So many of the items that are due longest are looked at for each channel."""


def _due_channels() -> Iterator[Select[Any]]:
    """Asked in turn, each by an index on what is due: channels that are done with are not passed over and over."""
    now: Any = bindparam("now", type_=TIMESTAMP(timezone=True))
    hours = (account.c.timezone, account.c.quiet_from, account.c.quiet_to, account.c.email)
    whole = select(channel, *hours).join(account, account.c.id == channel.c.account_id)
    whole = whole.limit(bindparam("most")).with_for_update(skip_locked=True, of=channel)
    items = select(delivery_item.c.channel_id).join(channel, channel.c.id == delivery_item.c.channel_id)
    items = items.where(WAITING, delivery_item.c.not_before <= now, _GATHERED)
    longest = items.order_by(delivery_item.c.not_before).limit(bindparam("window")).subquery()
    yield whole.where(_GATHERED, channel.c.id.in_(select(longest.c.channel_id)))
    yield whole.where(digest_schedule.has_digest_schedule(), channel.c.next_digest_at <= now).order_by(
        channel.c.next_digest_at
    )
    yield whole.where(digest_schedule.has_digest_schedule(), channel.c.next_digest_at.is_(None))


_DUE_CHANNELS = tuple(_due_channels())


def due_items(tx: Connection, channel_ids: Collection[int], now: datetime) -> Sequence[Row]:
    here = delivery_item.c.channel_id == any_(literal(list(channel_ids), ARRAY(BigInteger)))
    query = select(delivery_item).where(here, WAITING, delivery_item.c.not_before <= now)
    return rows(tx, query.order_by(delivery_item.c.id))


def postpone(tx: Connection, ids: Collection[int], until: datetime) -> None:
    if ids:
        tx.execute(update(delivery_item).where(delivery_item.c.id.in_(ids)).values(not_before=until))


def drop(tx: Connection, ids: Collection[int], because: str) -> None:
    tx.execute(
        update(delivery_item).where(delivery_item.c.id.in_(ids)).values(dropped_because=because, delivery_id=None)
    )


def reasons(tx: Connection, told: Collection[tuple[int, int]]) -> Sequence[Row]:
    """For pairs (channel, paper) every match of the paper that a living subscription of the channel stands behind."""
    names = ("name", "for_whom", "query", "interest", "terms", "threshold")
    asked = pairs("channel_id", "paper_id", told)
    query = select(asked.c.channel_id, match, *(subscription.c[name] for name in names)).select_from(asked)
    query = query.join(subscription_channel, subscription_channel.c.channel_id == asked.c.channel_id)
    query = query.join(subscription, subscription.c.id == subscription_channel.c.subscription_id)
    query = query.join(match, and_(match.c.subscription_id == subscription.c.id, match.c.paper_id == asked.c.paper_id))
    # A match of trending papers says only what may be chosen, until it was.
    said = or_(subscription.c.trending.is_(None), match.c.decided.has_key("trending"))
    return rows(tx, query.where(subscription.c.deleted_at.is_(None), said).order_by(match.c.id))


def items_of_all(tx: Connection, delivery_ids: Collection[int]) -> dict[int, list[Row]]:
    """The items of each delivery that were not dropped."""
    mine = delivery_item.c.delivery_id == any_(literal(list(delivery_ids), ARRAY(BigInteger)))
    query = select(delivery_item).where(mine, delivery_item.c.dropped_because == "").order_by(delivery_item.c.id)
    found: dict[int, list[Row]] = {one: [] for one in delivery_ids}
    for row in rows(tx, query):
        found[row["delivery_id"]].append(row)
    return found


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
    own_gate = select(channel.c.rate_limit_key).where(channel.c.id == row["id"]).scalar_subquery()
    now = {"message_id": _message_id(kind, host), "next_attempt_at": func.now()}
    new = upsert(delivery).values({**given, **now, "rate_limit_key": own_gate, **values})
    made = tx.scalars(new.on_conflict_do_nothing(index_elements=["idem_key"]).returning(delivery.c.id)).first()
    if made is not None and items:
        tx.execute(update(delivery_item).where(delivery_item.c.id.in_(items)).values(delivery_id=made))
    return made


class New(NamedTuple):
    """A delivery to be made on a channel, of these items."""

    channel: Row
    kind: str
    key: str
    items: Sequence[int]


def create_all(tx: Connection, wanted: Sequence[New], host: str, now: datetime) -> dict[str, int]:
    """Deliveries that are due now, by their idempotency keys; none of a key that there was."""
    if not wanted:
        return {}
    given = [
        {
            "account_id": one.channel["account_id"],
            "channel_id": one.channel["id"],
            "kind": one.kind,
            "idem_key": one.key,
            "rate_limit_key": one.channel["rate_limit_key"],
            "message_id": _message_id(one.kind, host),
            "next_attempt_at": now,
        }
        for one in wanted
    ]
    new = upsert(delivery).on_conflict_do_nothing(index_elements=["idem_key"])
    made = {key: id for id, key in tx.execute(new.returning(delivery.c.id, delivery.c.idem_key), given)}
    mine = pairs("item", "told_in", ((item, made[one.key]) for one in wanted if one.key in made for item in one.items))
    tx.execute(update(delivery_item).where(delivery_item.c.id == mine.c.item).values(delivery_id=mine.c.told_in))
    return made


def _message_id(kind: str, host: str) -> str:
    return f"<{kind}-{secrets.token_hex(12)}@{host}>"


# ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────


def state_of(row: Row) -> Delivery:
    names = (
        "kind",
        "attempt",
        "ambiguous_resends",
        "expired_leases",
        "bytes_final",
        "refused_since",
        "next_attempt_at",
        "error",
        "receipt",
    )
    return Delivery(state=State(row["state"]), **{name: row[name] for name in names})


def columns_of(one: Delivery) -> dict[str, Any]:
    names = (
        "attempt",
        "ambiguous_resends",
        "expired_leases",
        "bytes_final",
        "refused_since",
        "next_attempt_at",
        "error",
        "receipt",
    )
    return {"state": one.state.value, **{name: getattr(one, name) for name in names}}


def policy_of(where: Row, kind: str) -> Policy:
    """How deliveries of this kind take failures and doubts on a channel."""
    plain = plugins.notifier(where["kind"]).policy(where["target"], kind)
    return replace(plain, at_most_once=where["at_most_once"])


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
        .values(**columns_of(after), lease_token=None, lease_until=None)
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
