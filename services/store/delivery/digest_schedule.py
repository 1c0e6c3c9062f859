"""When a channel's digest is decided: the planned slot, the date that was decided last, and planning anew."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, or_, select, update

from services.domain.delivery.schedule import DigestSchedule
from services.store.db.database import Row, wake
from services.store.db.tables import channel, delivery_item, listing, match, run, source
from services.store.delivery import sending_pause


def due(now: datetime) -> Any:
    """SQL: living channels whose slot has come, or that have none planned yet."""
    come = or_(channel.c.next_digest_at.is_(None), channel.c.next_digest_at <= now)
    return and_(come, has_digest_schedule())


def has_digest_schedule() -> Any:
    """SQL: whether the channel gets digests at all."""
    living = and_(channel.c.deleted_at.is_(None), channel.c.unsubscribed_at.is_(None))
    return and_(living, channel.c.verified, channel.c.disabled_because == "", ~sending_pause.on())


def schedule_of(row: Row) -> DigestSchedule:
    """The hours of a channel's row, which has its account's time zone and quiet hours."""
    return DigestSchedule(**{name: row[name] for name in ("timezone", "at", "weekday", "quiet_from", "quiet_to")})


def record_decisions(tx: Connection, planned: Sequence[tuple[Row, date | None, datetime]]) -> None:
    """Each channel's next slot; with the local date whose digest was decided, an empty one too, if one was."""
    changed = [
        {"channel": row["id"], "day": day or row["last_digest_on"], "next": next_digest_at}
        for row, day, next_digest_at in planned
        if day or row["next_digest_at"] != next_digest_at
    ]
    if changed:
        tx.execute(_PLAN, changed)


_PLAN = (
    update(channel)
    .where(channel.c.id == bindparam("channel"))
    .values(last_digest_on=bindparam("day"), next_digest_at=bindparam("next"))
)


def idempotency_key(channel_id: int, day: date) -> str:
    """One digest a channel and local date: the idempotency key of its delivery."""
    return f"digest:{channel_id}:{day}"


def local_day(row: Row) -> date | None:
    """The local date that a digest's delivery is for; None for other kinds."""
    return date.fromisoformat(row["idem_key"].rpartition(":")[2]) if row["kind"] == "digest" else None


def news_is_coming(tx: Connection, planned: datetime) -> bool:
    """Whether something that was due when a slot came is still to be read, matched or told."""
    questions = (
        exists(select(source.c.id).where(source.c.polled, source.c.next_poll_at <= planned)),
        exists(select(listing.c.id).where(listing.c.done_at.is_(None))),
        exists(select(run.c.id).where(run.c.matched_at.is_(None))),
        exists(select(match.c.id).where(match.c.notified_at.is_(None))),
    )
    return any(tx.scalars(select(question)).one() for question in questions)


def reschedule_all(tx: Connection, account_id: int, subscription_id: int | None = None) -> None:
    """After hours, a time zone, a cadence or a pause changed: what waits gets its moment anew.

    Of the whole account, or of what one subscription asks for.
    """
    if subscription_id is None:
        tx.execute(update(channel).where(channel.c.account_id == account_id).values(next_digest_at=None))
    held = exists().where(
        delivery_item.c.account_id == match.c.account_id,
        delivery_item.c.paper_id == match.c.paper_id,
        delivery_item.c.delivery_id.is_(None),
        delivery_item.c.dropped_because == "",
    )
    mine = and_(match.c.account_id == account_id, held)
    mine = and_(mine, match.c.subscription_id == subscription_id) if subscription_id is not None else mine
    tx.execute(update(match).where(mine).values(notified_at=None))
    wake(tx, "notify")
    wake(tx, "deliver")
