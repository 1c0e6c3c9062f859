"""Claims due deliveries, each under a lease of its own, and acquires their rate limits."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import BaseModel
from sqlalchemy import Connection

from services import plugins
from services.domain.delivery.state_machine import CLAIM_LEASE, Policy
from services.errors import ConfigError
from services.flow.channel_targets import target_of
from services.ports import AcceptanceAwaiting, Notifier, Outcome, RateLimit, RateLimited, Rejected
from services.settings import Settings
from services.store.db import circuit_breaker, rate_limits
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
from services.store.delivery import claims
from services.store.delivery.claims import DueDelivery
from services.store.delivery.records import ChannelWithAccount, Delivery
from services.telemetry import fault_point


class ClaimedDelivery(NamedTuple):
    """A delivery that this worker has claimed, with all that is needed to send it.

    `target` is `Rejected` if the stored target cannot be read.
    """

    delivery: Delivery
    channel: ChannelWithAccount
    notifier: Notifier
    target: BaseModel | Rejected
    policy: Policy
    rate_limit: RateLimit = RateLimit()
    rate_limited_until: datetime | None = None
    """The end of the pause of the channel's rate limit, as acquired with the claim; None without a rate limit."""
    transport_recovering: bool = False
    """No message has been sent through the transport since its last failure."""

    @property
    def id(self) -> int:
        return self.delivery.id

    @property
    def follow_ups(self) -> frozenset[str]:
        """Which deliveries may follow this one: `thread`, `update`."""
        return plugins.follow_ups(self.channel.kind, self.channel.target)

    @property
    def awaits_acceptance(self) -> bool:
        """Whether the receiver has accepted no message yet, so that an attempt uses up its rate limit for long."""
        return self.channel.accepted_at is None and isinstance(self.notifier, AcceptanceAwaiting)

    @property
    def uses_channel_limit(self) -> bool:
        return bool(self.delivery.rate_limit_key and self.rate_limit.per_channel)

    @property
    def rate_limit_keys(self) -> set[str]:
        of_channel = {self.delivery.rate_limit_key} if self.uses_channel_limit else set()
        return of_channel | ({self.channel.transport} if self.rate_limit.per_transport else set())


class DeliveryOutcome(NamedTuple):
    claimed: ClaimedDelivery
    outcome: Outcome


def claim_due(db: Database, settings: Settings, secrets: SecretBox, most: int) -> tuple[bool, list[ClaimedDelivery]]:
    """Claims due deliveries, at most one for each channel and rate limit. Also returns whether any was due."""
    with db.transaction() as tx:
        now = db.now(tx)
        due = _isolate_suspect(claims.lock_due(tx, now, most))
        ready = _acquire_rate_limits(tx, [_with_notifier(delivery, secrets) for delivery in due], now)
        recovering = circuit_breaker.recovering(tx) if ready else frozenset()
        deliveries = claims.claim_all(tx, [claim.delivery for claim in ready], now + CLAIM_LEASE * settings.time_scale)
    claimed = [
        claim._replace(delivery=delivery, transport_recovering=claim.channel.transport in recovering)
        for claim, delivery in zip(ready, deliveries, strict=True)
    ]
    for _ in claimed:
        fault_point("claimed")
    return bool(due), claimed


def _isolate_suspect(due: Sequence[DueDelivery]) -> Sequence[DueDelivery]:
    """A delivery whose worker was lost is claimed alone, since losing another worker counts against all it claimed."""
    if due and due[0].delivery.expired_leases:
        return due[:1]
    return [claim for claim in due if not claim.delivery.expired_leases]


def _with_notifier(due: DueDelivery, secrets: SecretBox) -> ClaimedDelivery:
    delivery, channel = due.delivery, due.channel
    notifier = plugins.notifier(channel.kind)
    policy = plugins.policy(channel.kind, channel.target, delivery.kind, at_most_once=channel.at_most_once)
    try:
        target = target_of(channel, secrets)
    except ConfigError as error:
        return ClaimedDelivery(delivery, channel, notifier, Rejected(str(error), scope="channel"), policy)
    limit = notifier.rate_limit(target, delivery.kind) if isinstance(notifier, RateLimited) else RateLimit()
    if channel.accepted_at is None and isinstance(notifier, AcceptanceAwaiting):
        limit = replace(limit, per_transport=notifier.interval_before_acceptance())
    return ClaimedDelivery(delivery, channel, notifier, target, policy, limit)


def _acquire_rate_limits(tx: Connection, wanted: Sequence[ClaimedDelivery], now: datetime) -> list[ClaimedDelivery]:
    """Those whose rate limits, of the transport and of the channel, could be acquired."""
    first = _first_for_each_rate_limit(wanted)
    by_transport = {
        claim.channel.transport: claim.rate_limit.per_transport for claim in first if claim.rate_limit.per_transport
    }
    acquired = rate_limits.acquire_all(tx, by_transport, now, rate_limits.CATCH_UP)
    first = [claim for claim in first if not claim.rate_limit.per_transport or claim.channel.transport in acquired]
    by_channel = {
        claim.delivery.rate_limit_key: claim.rate_limit.per_channel for claim in first if claim.uses_channel_limit
    }
    until = rate_limits.acquire_all(tx, by_channel, now)
    return [
        claim._replace(rate_limited_until=until.get(claim.delivery.rate_limit_key))
        for claim in first
        if not claim.uses_channel_limit or claim.delivery.rate_limit_key in until
    ]


def _first_for_each_rate_limit(wanted: Sequence[ClaimedDelivery]) -> list[ClaimedDelivery]:
    used: set[str] = set()
    first = []
    for claim in wanted:
        if not claim.rate_limit_keys & used:
            used |= claim.rate_limit_keys
            first.append(claim)
    return first


def next_due_in(db: Database, within: timedelta) -> timedelta | None:
    """How long until a delivery that waits for its time or a rate limit can be sent; None: longer than `within`."""
    now = db.now()
    with db.transaction() as tx:
        due_at = claims.next_due_at(tx, now, within)
    return due_at - now if due_at else None
