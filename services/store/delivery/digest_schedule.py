"""When the digest of a channel is made: its next time, its last date, and rescheduling after a change."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, or_, select, update

from services.store.db.database import wake
from services.store.db.tables import channel, delivery_item, listing, match, run, source
from services.store.delivery import sending_pause


class DigestDecision(NamedTuple):
    """The next digest time of a channel, and the local date of its last digest, which may be made now."""

    channel_id: int
    next_digest_at: datetime
    last_digest_on: date | None


def is_due(now: datetime) -> ColumnElement[bool]:
    """SQL: whether a channel has digests, and the next one is due or has no time yet."""
    has_come = or_(channel.c.next_digest_at.is_(None), channel.c.next_digest_at <= now)
    return and_(has_come, has_digest_schedule())


def has_digest_schedule() -> ColumnElement[bool]:
    """SQL: whether a channel has digests at all."""
    return and_(
        channel.c.deleted_at.is_(None),
        channel.c.unsubscribed_at.is_(None),
        channel.c.verified,
        channel.c.disabled_because == "",
        ~sending_pause.is_active(),
    )


def record_decisions(tx: Connection, decisions: Sequence[DigestDecision]) -> None:
    if decisions:
        tx.execute(_RECORD_DECISION, [decision._asdict() for decision in decisions])


_RECORD_DECISION = (
    update(channel)
    .where(channel.c.id == bindparam("channel_id"))
    .values(next_digest_at=bindparam("next_digest_at"), last_digest_on=bindparam("last_digest_on"))
)


def news_is_coming(tx: Connection, planned: datetime) -> bool:
    """Whether papers that were announced before a digest time are still to be read, matched or gathered."""
    conditions = (
        exists(select(source.c.id).where(source.c.polled, source.c.next_poll_at <= planned)),
        exists(select(listing.c.id).where(listing.c.done_at.is_(None))),
        exists(select(run.c.id).where(run.c.matched_at.is_(None))),
        exists(select(match.c.id).where(match.c.notified_at.is_(None))),
    )
    return any(tx.scalars(select(condition)).one() for condition in conditions)


def reschedule_all(tx: Connection, account_id: int, subscription_id: int | None = None) -> None:
    """Reschedules waiting items after a digest time, a time zone, a cadence or a pause changed.

    `subscription_id`: only the items that this subscription matched. None: all items and digests of the account.
    """
    if subscription_id is None:
        tx.execute(update(channel).where(channel.c.account_id == account_id).values(next_digest_at=None))
    has_waiting_item = exists().where(
        delivery_item.c.account_id == match.c.account_id,
        delivery_item.c.paper_id == match.c.paper_id,
        delivery_item.c.delivery_id.is_(None),
        delivery_item.c.dropped_because == "",
    )
    rescheduled = update(match).where(match.c.account_id == account_id, has_waiting_item)
    if subscription_id is not None:
        rescheduled = rescheduled.where(match.c.subscription_id == subscription_id)
    tx.execute(rescheduled.values(notified_at=None))
    wake(tx, "notify")
    wake(tx, "deliver")
