"""The hold: everything runs but nothing is sent, until a person has looked. A database that was copied starts in it."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, and_, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.store.db.database import Row, first, rows, wake
from services.store.db.tables import account, channel, delivery, delivery_item, installation, paper

MOVED = "this database was copied from another server: what that one has sent since is not known here"
COUNTED = "counted as sent when the hold ended"


def on() -> Any:
    """SQL: whether nothing may be sent."""
    return select(installation.c.id).where(installation.c.paused_because != "").exists()


def status(tx: Connection) -> Row:
    """`paused_because` (empty: no hold) and `paused_at`."""
    found = first(tx, select(installation.c.paused_because, installation.c.paused_at))
    return found or {"paused_because": "", "paused_at": None}


def start(tx: Connection, because: str, now: datetime) -> None:
    held = {"paused_because": because, "paused_at": now}
    new = upsert(installation).values(id=1, system_identifier=_identifier(tx), **held)
    tx.execute(new.on_conflict_do_update(index_elements=["id"], set_=held))


def start_script(because: str) -> str:
    """The same as SQL to be run by a program, within the transaction that restores."""
    quoted = because.replace("'", "''")
    return f"UPDATE public.installation SET paused_because = '{quoted}', paused_at = now()"


def look(tx: Connection, now: datetime) -> bool:
    """Holds a database that does not lie on the server it is recorded for; whether it is held."""
    here = _identifier(tx)
    tx.execute(upsert(installation).values(id=1, system_identifier=here).on_conflict_do_nothing())
    recorded = first(tx, select(installation).with_for_update())
    assert recorded is not None
    if here and recorded["system_identifier"] != here:
        tx.execute(update(installation).values(system_identifier=here))
        if recorded["system_identifier"] and not recorded["paused_because"]:
            start(tx, MOVED, now)
            return True
    return bool(recorded["paused_because"])


def end(tx: Connection) -> None:
    tx.execute(update(installation).values(paused_because="", paused_at=None))
    wake(tx, "deliver")


def _identifier(tx: Connection) -> str:
    """The server's own number, which a copy made with its files keeps; empty where we may not ask."""
    may = text("SELECT has_function_privilege('pg_catalog.pg_control_system()', 'execute')")
    if not tx.scalars(may).one():
        return ""
    return str(tx.scalars(text("SELECT system_identifier FROM pg_catalog.pg_control_system()")).one())


# ── what waits ────────────────────────────────────────────────────────────────────────────────────────────────

_UNSENT = or_(delivery_item.c.delivery_id.is_(None), delivery.c.state.in_(["pending", "claimed", "uncertain"]))


def waiting(tx: Connection, now: datetime, account_id: int | None = None) -> list[Row]:
    """Channel by channel how many papers would go out at once, and the days on which they were announced."""
    due = and_(delivery_item.c.dropped_because == "", delivery_item.c.not_before <= now, _UNSENT)
    retried = or_(delivery.c.id.is_(None), delivery.c.next_attempt_at.is_not(None))
    counts = (
        func.count().label("papers"),
        func.min(paper.c.announced_on).label("first_day"),
        func.max(paper.c.announced_on).label("last_day"),
    )
    query = select(account.c.email, channel.c.kind, channel.c.label, *counts).select_from(delivery_item)
    query = query.join(channel, channel.c.id == delivery_item.c.channel_id).join(account)
    query = query.join(paper, paper.c.id == delivery_item.c.paper_id)
    query = query.outerjoin(delivery, delivery.c.id == delivery_item.c.delivery_id)
    query = query.where(due, retried, channel.c.deleted_at.is_(None), channel.c.disabled_because == "")
    query = query.where(channel.c.account_id == account_id) if account_id is not None else query
    return rows(tx, query.group_by(channel.c.id, account.c.email).order_by(channel.c.id))


def count_as_sent(tx: Connection, last_day: date) -> int:
    """Gives up what waits and was announced by that day: the lost server has told it; the number of papers."""
    unsent = delivery_item.c.id.in_(
        select(delivery_item.c.id)
        .join(paper, paper.c.id == delivery_item.c.paper_id)
        .outerjoin(delivery, delivery.c.id == delivery_item.c.delivery_id)
        .where(delivery_item.c.dropped_because == "", paper.c.announced_on <= last_day, _UNSENT)
    )
    dropped = tx.execute(update(delivery_item).where(unsent).values(dropped_because=COUNTED)).rowcount
    mine = and_(delivery_item.c.delivery_id == delivery.c.id, delivery_item.c.dropped_because == "")
    had = exists().where(delivery_item.c.delivery_id == delivery.c.id)
    empty = and_(delivery.c.state.in_(["pending", "uncertain"]), had, ~exists().where(mine))
    gone = {"state": "cancelled", "error": COUNTED, "next_attempt_at": None, "lease_token": None}
    tx.execute(update(delivery).where(empty).values(gone))
    return dropped
