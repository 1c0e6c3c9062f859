"""The oracle: what should have happened by now and has not. Every figure of a healthy service is zero."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, exists, func, select

from services.store import channels, deliveries, hold, quarantine
from services.store.tables import channel, delivery, delivery_item, match

GRACE = timedelta(minutes=10)
LEASE_GRACE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    matches_not_notified: int
    items_overdue: int
    leases_expired: int
    uncertain_overdue: int
    uncertain_spent: int
    """May not have arrived, nothing left to try: listed, no failure."""
    papers_set_aside: int
    """They ended their workers and wait for a person: listed, no failure."""

    @property
    def clean(self) -> bool:
        return not (self.matches_not_notified or self.items_overdue or self.leases_expired or self.uncertain_overdue)

    def figures(self) -> dict[str, int]:
        return asdict(self)


def audit(tx: Connection, now: datetime) -> Audit:
    open_channel = exists().where(
        channel.c.id == delivery_item.c.channel_id,
        channel.c.verified,
        channel.c.disabled_because == "",
        channel.c.unsubscribed_at.is_(None),
        channel.c.deleted_at.is_(None),
        ~channels.held(channel.c.transport),
        ~hold.on(),
    )
    undelivered = ~exists().where(
        delivery.c.id == delivery_item.c.delivery_id, delivery.c.state.in_(["sent", "dead", "uncertain"])
    )
    uncertain = delivery.c.state == "uncertain"
    overdue = and_(
        delivery_item.c.dropped_because == "", delivery_item.c.not_before < now - GRACE, open_channel, undelivered
    )
    return Audit(
        matches_not_notified=_count(
            tx, match.c.id, and_(match.c.notified_at.is_(None), match.c.created_at < now - GRACE)
        ),
        items_overdue=_count(tx, delivery_item.c.id, overdue),
        leases_expired=_count(tx, delivery.c.id, deliveries.expired(now - LEASE_GRACE)),
        uncertain_overdue=_count(tx, delivery.c.id, and_(uncertain, delivery.c.next_attempt_at < now - GRACE)),
        uncertain_spent=_count(tx, delivery.c.id, and_(uncertain, delivery.c.next_attempt_at.is_(None))),
        papers_set_aside=quarantine.count(tx),
    )


def _count(tx: Connection, column: ColumnElement[int], where: ColumnElement[bool]) -> int:
    return tx.scalars(select(func.count(column)).where(where)).one()
