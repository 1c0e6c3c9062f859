"""The oracle: what should have happened by now and has not. Every figure of a healthy service is zero."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, exists, func, select

from services.store.db.tables import channel, delivery, delivery_item, match, run
from services.store.delivery import channels, claims
from services.store.subscriptions import match_runs, quarantine

GRACE = timedelta(minutes=10)
LEASE_GRACE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    runs_unmatched: int
    """What was read together and is not embedded and matched in every shard."""
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
        overdue = (self.runs_unmatched, self.matches_not_notified, self.items_overdue, self.uncertain_overdue)
        return not (any(overdue) or self.leases_expired)

    def figures(self) -> dict[str, int]:
        return asdict(self)


def audit(tx: Connection, now: datetime) -> Audit:
    undelivered = ~exists().where(
        delivery.c.id == delivery_item.c.delivery_id, delivery.c.state.in_(["sent", "dead", "uncertain"])
    )
    uncertain = delivery.c.state == "uncertain"
    overdue = and_(delivery_item.c.dropped_because == "", delivery_item.c.not_before < now - GRACE, undelivered)
    doubtful = and_(uncertain, delivery.c.next_attempt_at < now - GRACE, _open(delivery.c.channel_id))
    return Audit(
        runs_unmatched=_count(
            tx, run.c.id, and_(run.c.id.in_(match_runs.unfinished_ids()), run.c.created_at < now - GRACE)
        ),
        matches_not_notified=_count(
            tx, match.c.id, and_(match.c.notified_at.is_(None), match.c.created_at < now - GRACE)
        ),
        items_overdue=_count(tx, delivery_item.c.id, and_(overdue, _open(delivery_item.c.channel_id))),
        leases_expired=_count(tx, delivery.c.id, claims.is_expired(now - LEASE_GRACE)),
        uncertain_overdue=_count(tx, delivery.c.id, doubtful),
        uncertain_spent=_count(tx, delivery.c.id, and_(uncertain, delivery.c.next_attempt_at.is_(None))),
        papers_set_aside=quarantine.count(tx),
    )


def _open(channel_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether anything may be sent there; what may not waits for a person or a server."""
    return exists().where(channel.c.id == channel_id, channel.c.verified, channels.sendable())


def _count(tx: Connection, column: ColumnElement[int], where: ColumnElement[bool]) -> int:
    return tx.scalars(select(func.count(column)).where(where)).one()
