"""The sending pause: polling and matching continue, but nothing is sent until a person ends it (`paperwire hold off`).

A restored or copied database starts with the sending pause.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.delivery.sending_pause import COPIED, COUNTED_AS_SENT
from services.store.db import restored_keys
from services.store.db.database import wake
from services.store.db.records import fetch_all, fetch_first
from services.store.db.tables import account, channel, delivery, delivery_item, installation, paper
from services.store.delivery.records import PauseStatus, WaitingPapers

_UNSENT = or_(delivery_item.c.delivery_id.is_(None), delivery.c.state.in_(["pending", "claimed", "uncertain"]))


def is_active() -> Any:
    """SQL: whether nothing may be sent."""
    return select(installation.c.id).where(installation.c.paused_because != "").exists()


def status(tx: Connection) -> PauseStatus:
    recorded = fetch_first(tx, PauseStatus, select(installation.c.paused_because, installation.c.paused_at))
    return recorded or PauseStatus(paused_because="", paused_at=None)


def start(tx: Connection, reason: str, now: datetime) -> None:
    values = {"paused_because": reason, "paused_at": now}
    tx.execute(
        upsert(installation)
        .values(id=1, system_identifier=_system_identifier(tx), **values)
        .on_conflict_do_update(index_elements=["id"], set_=values)
    )


def start_script(reason: str) -> str:
    """`start` as SQL, which pg_restore's caller runs in the transaction that restores."""
    quoted = reason.replace("'", "''")
    return f"UPDATE public.installation SET paused_because = '{quoted}', paused_at = now()"


def start_if_copied(tx: Connection, now: datetime) -> bool:
    """Starts the pause when the database is not on the server that it was recorded on; returns whether it is active."""
    present = _system_identifier(tx)
    tx.execute(upsert(installation).values(id=1, system_identifier=present).on_conflict_do_nothing())
    recorded, paused_because = tx.execute(
        select(installation.c.system_identifier, installation.c.paused_because).with_for_update()
    ).one()
    if present and recorded != present:
        tx.execute(update(installation).values(system_identifier=present))
        if recorded:
            restored_keys.renew(tx)
        if recorded and not paused_because:
            start(tx, COPIED, now)
            return True
    return bool(paused_because)


def end(tx: Connection) -> None:
    tx.execute(update(installation).values(paused_because="", paused_at=None))
    wake(tx, "deliver")


def _system_identifier(tx: Connection) -> str:
    """The number that initdb gave the server, which a copy of its files keeps; empty where it may not be read."""
    may_read = text("SELECT has_function_privilege('pg_catalog.pg_control_system()', 'execute')")
    if not tx.scalars(may_read).one():
        return ""
    return str(tx.scalars(text("SELECT system_identifier FROM pg_catalog.pg_control_system()")).one())


# ── papers that wait ──────────────────────────────────────────────────────────────────────────────────────────


def waiting_papers(tx: Connection, now: datetime, account_id: int | None = None) -> list[WaitingPapers]:
    """For each channel how many papers would be sent at once, with the first and last day of their announcement."""
    return fetch_all(
        tx,
        WaitingPapers,
        select(
            account.c.email,
            channel.c.kind,
            channel.c.label,
            func.count().label("papers"),
            func.min(paper.c.announced_on).label("first_day"),
            func.max(paper.c.announced_on).label("last_day"),
        )
        .select_from(delivery_item)
        .join(channel, channel.c.id == delivery_item.c.channel_id)
        .join(account)
        .join(paper, paper.c.id == delivery_item.c.paper_id)
        .outerjoin(delivery, delivery.c.id == delivery_item.c.delivery_id)
        .where(
            delivery_item.c.dropped_because == "",
            delivery_item.c.not_before <= now,
            _UNSENT,
            or_(delivery.c.id.is_(None), delivery.c.next_attempt_at.is_not(None)),
            channel.c.deleted_at.is_(None),
            channel.c.disabled_because == "",
            *([channel.c.account_id == account_id] if account_id is not None else []),
        )
        .group_by(channel.c.id, account.c.email)
        .order_by(channel.c.id),
    )


def count_as_sent(tx: Connection, last_day: date) -> int:
    """Drops the unsent items of papers announced up to `last_day`, which the lost server has sent; returns how many."""
    unsent = (
        select(delivery_item.c.id)
        .join(paper, paper.c.id == delivery_item.c.paper_id)
        .outerjoin(delivery, delivery.c.id == delivery_item.c.delivery_id)
        .where(delivery_item.c.dropped_because == "", paper.c.announced_on <= last_day, _UNSENT)
    )
    dropped = tx.execute(
        update(delivery_item).where(delivery_item.c.id.in_(unsent)).values(dropped_because=COUNTED_AS_SENT)
    ).rowcount
    of_delivery = delivery_item.c.delivery_id == delivery.c.id
    tx.execute(
        update(delivery)
        .where(
            delivery.c.state.in_(["pending", "uncertain"]),
            exists().where(of_delivery),
            ~exists().where(of_delivery, delivery_item.c.dropped_because == ""),
        )
        .values(state="cancelled", error=COUNTED_AS_SENT, next_attempt_at=None, lease_token=None)
    )
    return dropped
