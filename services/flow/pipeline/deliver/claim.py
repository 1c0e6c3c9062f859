"""Claiming: deliveries that may go now, each under a lease of its own, through its gates."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import BaseModel
from sqlalchemy import Connection

from services import plugins
from services.domain.delivery import state_machine as domain
from services.errors import ConfigError
from services.ports import Outcome, RateLimit, RateLimited, Rejected
from services.settings import Settings
from services.store.db import rate_limits
from services.store.db.database import Database, Row
from services.store.db.secrets import SecretBox
from services.store.delivery import channels, claims
from services.telemetry import fault_point


class ClaimedDelivery(NamedTuple):
    """A delivery of ours. Its target is told from a Refused: then it cannot be sent at all."""

    row: Row
    channel: Row
    target: BaseModel | Rejected
    rate_limit: RateLimit = RateLimit()
    turn: datetime | None = None
    """Until when its gate is closed for others; None: it has no gate."""


class DeliveryOutcome(NamedTuple):
    row: Row
    channel: Row
    outcome: Outcome


def claim_due(db: Database, settings: Settings, secrets: SecretBox, most: int) -> tuple[bool, list[ClaimedDelivery]]:
    """Whether anything was due, and what of it is ours now: of a channel one, of a gate one."""
    with db.transaction() as tx:
        now = db.now(tx)
        due = _without_suspects(claims.due(tx, now, most))
        passed = _through_gates(tx, [_opened(row, channel, secrets) for row, channel in due], now)
        rows = claims.claim_all(tx, [one.row for one in passed], now + domain.CLAIM_LEASE * settings.time_scale)
    claimed = [one._replace(row=row) for one, row in zip(passed, rows, strict=True)]
    for _ in claimed:
        fault_point("claimed")
    return bool(due), claimed


def _without_suspects(due: Sequence[tuple[Row, Row]]) -> Sequence[tuple[Row, Row]]:
    """What lost a worker may lose another, so it is claimed alone: the others would count its expired leases too."""
    if due and due[0][0]["expired_leases"]:
        return due[:1]
    return [(row, channel) for row, channel in due if not row["expired_leases"]]


def _opened(row: Row, channel: Row, secrets: SecretBox) -> ClaimedDelivery:
    try:
        target = channels.target_of(channel, secrets)
    except ConfigError as error:
        return ClaimedDelivery(row, channel, Rejected(str(error), scope="channel"))
    plugin = plugins.notifier(channel["kind"])
    rate_limit = plugin.rate_limit(target, row["kind"]) if isinstance(plugin, RateLimited) else RateLimit()
    return ClaimedDelivery(row, channel, target, rate_limit)


def _through_gates(tx: Connection, wanted: Sequence[ClaimedDelivery], now: datetime) -> list[ClaimedDelivery]:
    """Those whose gates were open: its channel's own, and the one that its transport shares."""
    firsts = _first_of_each(wanted)
    shared = {one.channel["transport"]: one.rate_limit.per_transport for one in firsts if one.rate_limit.per_transport}
    passed = rate_limits.acquire_all(tx, shared, now, rate_limits.CATCH_UP)
    firsts = [one for one in firsts if not one.rate_limit.per_transport or one.channel["transport"] in passed]
    turns = rate_limits.acquire_all(
        tx, {one.row["rate_limit_key"]: one.rate_limit.per_channel for one in firsts if _gated(one)}, now
    )
    return [
        one._replace(turn=turns.get(one.row["rate_limit_key"]))
        for one in firsts
        if not _gated(one) or one.row["rate_limit_key"] in turns
    ]


def _first_of_each(wanted: Sequence[ClaimedDelivery]) -> list[ClaimedDelivery]:
    """At most one a gate: the others find it closed."""
    taken: set[str] = set()
    firsts = []
    for one in wanted:
        gates = {one.row["rate_limit_key"]} if _gated(one) else set()
        gates |= {one.channel["transport"]} if one.rate_limit.per_transport else set()
        if not gates & taken:
            taken |= gates
            firsts.append(one)
    return firsts


def _gated(one: ClaimedDelivery) -> bool:
    return bool(one.row["rate_limit_key"] and one.rate_limit.per_channel)


def next_due_in(db: Database, within: timedelta) -> timedelta | None:
    """How long until the next delivery that waits for its hour or its rate limit; None when none is due `within`."""
    now = db.now()
    with db.transaction() as tx:
        at = claims.next_due_at(tx, now, within)
    return at - now if at else None
