"""Mails that came back: recorded once each, and addresses that do not exist are mailed no more."""

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.delivery.bounce import Bounce, is_hard
from services.store.db.database import Row, first, rows
from services.store.db.tables import bounce, channel, delivery, transport
from services.store.delivery import channels, opt_in

CAME_BACK = "mail to this address came back"
MAILBOX = "bounces"
"""Key of the transport's row that says what keeps the mailbox from being read. Nobody looks at it but its reader."""


def delivery_of(tx: Connection, message_ids: Collection[str]) -> Row | None:
    """The mail of ours that one of these ids names; they are random, so who knows one had the mail."""
    columns = (delivery.c.id, delivery.c.channel_id)
    return first(tx, select(*columns).where(delivery.c.message_id.in_(message_ids), delivery.c.sent_at.is_not(None)))


def record(tx: Connection, body: bytes, found: Bounce, channel_id: int, delivery_id: int | None) -> bool:
    """Writes one down; False when this mail was read before."""
    values = {
        "digest": hashlib.sha256(body).digest(), "channel_id": channel_id, "delivery_id": delivery_id,
        "status": found.status, "hard": is_hard(found.status), "diagnostic": found.said,
    }  # fmt: skip
    made = upsert(bounce).values(values).on_conflict_do_nothing(index_elements=["digest"]).returning(bounce.c.id)
    if tx.scalars(made).first() is None:
        return False
    tx.execute(update(delivery).where(delivery.c.id == delivery_id).values(error=f"came back: {found.said}"))
    return True


def stop(tx: Connection, channel_id: int, found: Bounce) -> Sequence[Row]:
    """Ends mails to the channel's address, whichever account they are for; the channels that it stopped."""
    address = rows(tx, select(channel.c.label).where(channel.c.id == channel_id))[0]["label"].lower()
    because = f"{CAME_BACK}: {found.said}"
    opt_in.suppress(tx, address, because)
    same = and_(channel.c.kind == "email", func.lower(channel.c.label) == address, channel.c.deleted_at.is_(None))
    stopped = rows(tx, select(channel).where(same, channel.c.disabled_because == "").with_for_update())
    for row in stopped:
        channels.disable(tx, row["id"], because)
    return stopped


def unreadable(tx: Connection, because: str) -> int:
    """Notes that the mailbox could not be read; how often that was in a row."""
    new = upsert(transport).values(key=MAILBOX, down_because=because, failures=1)
    again = {"down_because": because, "failures": transport.c.failures + 1}
    noted = new.on_conflict_do_update(index_elements=["key"], set_=again).returning(transport.c.failures)
    return int(tx.scalars(noted).one())


def readable(tx: Connection) -> None:
    channels.release_transport(tx, MAILBOX)


def why_unreadable(tx: Connection) -> str:
    """What keeps the mailbox from being read; empty: nothing."""
    return tx.scalars(select(transport.c.down_because).where(transport.c.key == MAILBOX)).first() or ""


def soft_since(tx: Connection, account_id: int, since: datetime) -> dict[int, tuple[int, str]]:
    """Channel → how many mails came back that may arrive next time, and what was said last."""
    query = select(bounce).join(channel, channel.c.id == bounce.c.channel_id).order_by(bounce.c.id)
    mine = and_(channel.c.account_id == account_id, ~bounce.c.hard, bounce.c.created_at >= since)
    found: dict[int, tuple[int, str]] = {}
    for row in rows(tx, query.where(mine)):
        count, _ = found.get(row["channel_id"], (0, ""))
        found[row["channel_id"]] = (count + 1, row["diagnostic"])
    return found
