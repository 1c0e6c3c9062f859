"""The audit counts rows that should have been worked on by now. Every figure of a healthy service is zero."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, exists, func, select

from services.store.db import circuit_breaker
from services.store.db.tables import channel, delivery, delivery_item, match, run
from services.store.delivery import channels, claims
from services.store.subscriptions import match_runs, quarantine

GRACE = timedelta(minutes=10)
"""A due row counts as overdue after this time."""
LEASE_GRACE = timedelta(minutes=5)
"""An expired lease counts after this time."""

OUTAGE_GRACE = timedelta(minutes=61)
"""A transport that has been down for over an hour counts; the minute is for the probe that is being made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    runs_unmatched: int
    """Runs that are not yet embedded, or not matched in every shard."""
    matches_not_notified: int
    items_overdue: int
    leases_expired: int
    uncertain_overdue: int
    transports_down: int
    """Mail servers, Slack tokens and so on that have been down for over an hour, so that their channels get nothing."""
    uncertain_spent: int
    """Deliveries that may not have arrived and are not retried. Reported only: `clean` ignores them."""
    papers_set_aside: int
    """Quarantined papers that wait for a person. Reported only: `clean` ignores them."""

    @property
    def clean(self) -> bool:
        overdue = (self.runs_unmatched, self.matches_not_notified, self.items_overdue, self.uncertain_overdue)
        return not (any(overdue) or self.leases_expired or self.transports_down)

    def figures(self) -> dict[str, int]:
        return asdict(self)


def audit(tx: Connection, now: datetime) -> Audit:
    is_undelivered = ~exists().where(
        delivery.c.id == delivery_item.c.delivery_id, delivery.c.state.in_(["sent", "dead", "uncertain"])
    )
    is_uncertain = delivery.c.state == "uncertain"
    is_overdue = and_(delivery_item.c.dropped_because == "", delivery_item.c.not_before < now - GRACE, is_undelivered)
    is_unresolved = and_(is_uncertain, delivery.c.next_attempt_at < now - GRACE, _is_open(delivery.c.channel_id))
    return Audit(
        runs_unmatched=_count(
            tx, run.c.id, and_(run.c.id.in_(match_runs.unfinished_ids()), run.c.created_at < now - GRACE)
        ),
        matches_not_notified=_count(
            tx, match.c.id, and_(match.c.notified_at.is_(None), match.c.created_at < now - GRACE)
        ),
        items_overdue=_count(tx, delivery_item.c.id, and_(is_overdue, _is_open(delivery_item.c.channel_id))),
        leases_expired=_count(tx, delivery.c.id, claims.is_expired(now - LEASE_GRACE)),
        uncertain_overdue=_count(tx, delivery.c.id, is_unresolved),
        transports_down=circuit_breaker.count_open(tx, now - OUTAGE_GRACE),
        uncertain_spent=_count(tx, delivery.c.id, and_(is_uncertain, delivery.c.next_attempt_at.is_(None))),
        papers_set_aside=quarantine.count(tx),
    )


def _is_open(channel_id: ColumnElement[int]) -> ColumnElement[bool]:
    """SQL: whether messages may be sent to the channel. Otherwise they wait for a person or a server."""
    return exists().where(channel.c.id == channel_id, channel.c.verified, channels.sendable())


def _count(tx: Connection, column: ColumnElement[int], where: ColumnElement[bool]) -> int:
    return tx.scalars(select(func.count(column)).where(where)).one()
