"""Deliveries: creating them, finding them, and another try on a person's request."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Connection, func, literal, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.delivery import state_machine
from services.domain.delivery.state_machine import State
from services.errors import NotFound
from services.store.db.database import any_id, pairs
from services.store.db.records import columns_for, fetch, fetch_all, fetch_first
from services.store.db.tables import account, channel, delivery, delivery_item
from services.store.delivery.records import Delivery, DeliveryPage, DeliverySummary, NewDelivery

_PROGRESS = tuple(field.name for field in fields(state_machine.Delivery) if field.name != "kind")


def create(tx: Connection, new: NewDelivery, host: str) -> int | None:
    """Creates a delivery that is due now, and returns its id; None when one with its idempotency key exists."""
    of_channel = select(channel.c.rate_limit_key).where(channel.c.id == new.channel_id).scalar_subquery()
    key = of_channel if new.rate_limit_key is None else new.rate_limit_key
    statement = (
        upsert(delivery)
        .values({**_columns(new, host), "next_attempt_at": func.now(), "rate_limit_key": key})
        .on_conflict_do_nothing(index_elements=["idem_key"])
        .returning(delivery.c.id)
    )
    delivery_id = tx.scalars(statement).first()
    if delivery_id is not None:
        _assign_items(tx, [(item_id, delivery_id) for item_id in new.item_ids])
    return delivery_id


def count_tests(tx: Connection, account_id: int, since: datetime) -> int:
    """How many test messages an account has asked for since a moment."""
    return tx.scalars(
        select(func.count())
        .where(
            delivery.c.account_id == account_id,
            delivery.c.kind == state_machine.DeliveryKind.TEST,
            delivery.c.created_at > since,
        )
    ).one()  # fmt: skip


def newest_of_kind(tx: Connection, channel_id: int, kind: state_machine.DeliveryKind) -> datetime | None:
    """When the newest delivery of a kind was made for a channel."""
    of_channel = (delivery.c.channel_id == channel_id, delivery.c.kind == kind)
    newest: datetime | None = tx.scalars(select(func.max(delivery.c.created_at)).where(*of_channel)).one()
    return newest


def receipts_of_kind(tx: Connection, channel_id: int, kind: state_machine.DeliveryKind) -> Sequence[str]:
    """The receipts of a channel's sent deliveries of a kind."""
    of_channel = (delivery.c.channel_id == channel_id, delivery.c.kind == kind, delivery.c.receipt != "")
    return tx.scalars(select(delivery.c.receipt).where(*of_channel)).all()


def is_waiting(tx: Connection, channel_id: int) -> bool:
    """Whether a delivery of a channel is to be sent, or is being sent."""
    states = (State.PENDING, State.CLAIMED, State.SENDING)
    of_channel = select(delivery.c.id).where(delivery.c.channel_id == channel_id, delivery.c.state.in_(states))
    return bool(tx.scalars(select(of_channel.exists())).one())


def count_replayed(tx: Connection, account_id: int, since: datetime) -> int:
    """How many deliveries of an account were sent again by a person since a moment."""
    is_counted = (delivery.c.account_id == account_id, delivery.c.replayed_at > since)
    return tx.scalars(select(func.count()).where(*is_counted)).one()


def replayed_at(tx: Connection, delivery_id: int) -> datetime | None:
    """When a person last sent the delivery again."""
    moment: datetime | None = tx.scalars(select(delivery.c.replayed_at).where(delivery.c.id == delivery_id)).one()
    return moment


def create_all(tx: Connection, new: Sequence[NewDelivery], host: str, now: datetime) -> dict[str, int]:
    """Creates deliveries that are due now; their rate limit keys are given. Returns the ids by idempotency key.

    A key of an existing delivery is missing in the result.
    """
    if not new:
        return {}
    rows = [
        {**_columns(planned, host), "next_attempt_at": now, "rate_limit_key": planned.rate_limit_key} for planned in new
    ]
    statement = upsert(delivery).on_conflict_do_nothing(index_elements=["idem_key"])
    ids = {key: id for id, key in tx.execute(statement.returning(delivery.c.id, delivery.c.idem_key), rows)}
    _assign_items(
        tx, [(item, ids[planned.idem_key]) for planned in new if planned.idem_key in ids for item in planned.item_ids]
    )
    return ids


def _columns(new: NewDelivery, host: str) -> dict[str, Any]:
    return {
        "account_id": new.account_id,
        "channel_id": new.channel_id,
        "kind": new.kind,
        "idem_key": new.idem_key,
        "message_id": f"<{new.kind}-{secrets.token_hex(12)}@{host}>",
        "about": new.about,
        "subject": new.subject,
        "notes": list(new.notes),
        **({} if new.trial is None else {"trial": new.trial}),
    }


def _assign_items(tx: Connection, assigned: Sequence[tuple[int, int]]) -> None:
    """Puts items into deliveries: pairs of item id and delivery id."""
    if assigned:
        assignments = pairs("item_id", "delivery_id", assigned)
        in_delivery = update(delivery_item).where(delivery_item.c.id == assignments.c.item_id)
        tx.execute(in_delivery.values(delivery_id=assignments.c.delivery_id))


def progress_columns(after: state_machine.Delivery) -> dict[str, State | datetime | int | bool | str | None]:
    """The columns that the state machine sets."""
    return {name: getattr(after, name) for name in _PROGRESS}


def find_all(tx: Connection, delivery_ids: Collection[int]) -> dict[int, Delivery]:
    """Deliveries by id."""
    if not delivery_ids:
        return {}
    wanted = delivery.c.id == any_id(delivery_ids)
    query = select(*columns_for(delivery, Delivery)).where(wanted)
    return {row.id: row for row in fetch(tx, Delivery, query)}


def lock(tx: Connection, delivery_id: int, account_id: int | None = None) -> Delivery:
    """Locks a delivery. Raises NotFound, also for a delivery of another account than the given one."""
    query = select(*columns_for(delivery, Delivery)).where(delivery.c.id == delivery_id).with_for_update()
    if account_id is not None:
        query = query.where(delivery.c.account_id == account_id)
    locked = fetch_first(tx, Delivery, query)
    if locked is None:
        raise NotFound(f"no delivery {delivery_id}")
    return locked


def store_replayed(tx: Connection, after: Delivery) -> None:
    """Stores another try of a locked delivery, which no worker has claimed."""
    values = {**progress_columns(after), "lease_token": None, "lease_until": None, "replayed_at": func.now()}
    tx.execute(update(delivery).where(delivery.c.id == after.id).values(values))


def store_come_back(tx: Connection, after: Delivery) -> None:
    """Stores the next state of a locked delivery that came back. It was sent, so no worker has claimed it."""
    tx.execute(update(delivery).where(delivery.c.id == after.id).values(progress_columns(after)))


def list_all(
    tx: Connection, account_id: int | None = None, state: State | None = None, limit: int = 1000
) -> list[DeliverySummary]:
    """The newest deliveries, of one account or of all."""
    paper_ids = (
        select(func.array_agg(delivery_item.c.paper_id))
        .where(delivery_item.c.delivery_id == delivery.c.id, delivery_item.c.dropped_because == "")
        .scalar_subquery()
    )
    query = (
        select(
            *columns_for(delivery, DeliverySummary),
            channel.c.kind.label("channel_kind"),
            channel.c.label,
            account.c.email,
            func.coalesce(paper_ids, literal([], ARRAY(BigInteger))).label("papers"),
        )
        .join(channel, channel.c.id == delivery.c.channel_id)
        .join(account, account.c.id == delivery.c.account_id)
        .order_by(delivery.c.id.desc())
        .limit(limit)
    )
    query = query.where(delivery.c.account_id == account_id) if account_id is not None else query
    query = query.where(delivery.c.state == state) if state is not None else query
    return fetch_all(tx, DeliverySummary, query)


def for_page(tx: Connection, account_id: int, delivery_id: int) -> DeliveryPage:
    """A delivery of an account. Raises NotFound."""
    query = (
        select(*columns_for(delivery, DeliveryPage), channel.c.kind.label("channel_kind"), channel.c.label)
        .join(channel, channel.c.id == delivery.c.channel_id)
        .where(delivery.c.id == delivery_id, delivery.c.account_id == account_id)
    )
    row = fetch_first(tx, DeliveryPage, query)
    if row is None:
        raise NotFound(f"no delivery {delivery_id}")
    return row


def count_dead(tx: Connection) -> int:
    """How many deliveries are dead. The state is a literal, so that the planner uses `ix_delivery_dead`."""
    return tx.scalars(select(func.count()).where(delivery.c.state == literal_column("'dead'"))).one()
