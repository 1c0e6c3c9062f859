"""Deliver: what is due on a channel becomes one delivery, and each delivery goes out under a lease."""

from datetime import timedelta

from services.flow.deliver.gathering import gather
from services.flow.deliver.round import send
from services.store import sending
from services.store.database import Database

__all__ = ["gather", "next_turn", "send"]


def next_turn(db: Database, within: timedelta) -> timedelta | None:
    """How long until a delivery may go that only waits for its hour or its gates; None when none does soon."""
    now = db.now()
    with db.transaction() as tx:
        turn = sending.next_turn(tx, now, within)
    return turn - now if turn else None
