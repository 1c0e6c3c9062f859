"""The state machine of a delivery: pure transitions; the rows, leases and fencing are the store's.

    pending ─claim─▶ claimed ─commit─▶ sending ─▶ sent
       ▲                │                 ├─────▶ uncertain ─claim once─▶ claimed
       └──retry, held───┴─────────────────┤
                                          └─────▶ dead ─replay─▶ pending

Guarantee: no delivery is lost while its row lives, and at most one extra copy goes out, only after a doubtful send.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

CLAIM_LEASE = timedelta(seconds=180)
RESEND_AFTER = timedelta(minutes=15)
GIVE_UP_AFTER = timedelta(hours=48)
DISABLED_FOR = timedelta(days=7)
"""So long what waits for a disabled channel is kept."""
FIRST_BACKOFF = timedelta(seconds=60)
MAX_BACKOFF = timedelta(hours=1)
MAX_EXPIRED_LEASES = 5


class State(StrEnum):
    PENDING = "pending"
    CLAIMED = "claimed"
    SENDING = "sending"
    SENT = "sent"
    UNCERTAIN = "uncertain"
    DEAD = "dead"
    CANCELLED = "cancelled"


FINAL = frozenset({State.SENT, State.DEAD, State.CANCELLED})
AT_MOST_ONCE_KINDS = frozenset({"signin", "confirm", "test", "notice"})
"""Kinds whose receiver simply asks again: a doubtful send is never repeated."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The receiver said yes. `receipt` is what it answered (a queue id, a timestamp), without secrets."""

    receipt: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """A definite no that may pass; `after` in seconds when the receiver named one."""

    reason: str
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A definite no for good. `scope`: this `delivery` alone, or the whole `channel`."""

    reason: str
    scope: str = "delivery"


@dataclass(frozen=True, slots=True)
class TransportDown:
    """The transport itself (server, token) is down: everything that goes through it waits, no attempt is burnt.

    `person`: it will not come back by itself, so the operator is told.
    """

    reason: str
    person: bool = False


@dataclass(frozen=True, slots=True)
class MaybeDelivered:
    """The irreversible byte is out and no answer came: it may or may not have arrived."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotDelivered:
    """Asked for a message in doubt, the receiver knows of none."""


Outcome = Sent | Retry | Rejected | TransportDown | MaybeDelivered


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a kind of channel takes failures and doubts."""

    can_reconcile: bool = False
    """The receiver can be asked whether a message in doubt arrived."""
    idempotent: bool = False
    """A second copy does nothing: the receiver knows it by its id. A doubt is then one more failure."""
    retries: tuple[timedelta, ...] = ()
    """Pauses after each failure, in place of a doubling backoff for 48 hours."""
    at_most_once: bool = False
    """The channel's owner would rather miss a message than read it twice."""


PLAIN = Policy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The part of a delivery's row that decides. `next_attempt_at` None: no step is left without a person."""

    kind: str
    state: State = State.PENDING
    attempt: int = 0
    ambiguous_resends: int = 0
    expired_leases: int = 0
    bytes_final: bool = False
    """A send was in doubt: its bytes stay as they are."""
    refused_since: datetime | None = None
    next_attempt_at: datetime | None = None
    error: str = ""
    receipt: str = ""


def claimable(delivery: Delivery, now: datetime) -> bool:
    """Whether a worker may claim it now: waiting and due, or in doubt with its one resend unspent."""
    waits = delivery.state is State.PENDING or (delivery.state is State.UNCERTAIN and may_resend(delivery))
    return waits and delivery.next_attempt_at is not None and delivery.next_attempt_at <= now


def may_resend(delivery: Delivery) -> bool:
    return delivery.ambiguous_resends == 0 and delivery.kind not in AT_MOST_ONCE_KINDS


def claim(delivery: Delivery) -> Delivery:
    return replace(delivery, state=State.CLAIMED, attempt=delivery.attempt + 1)


def release(delivery: Delivery) -> Delivery:
    """Claimed, but nothing was tried: due as it was."""
    return replace(delivery, state=State.PENDING, attempt=max(0, delivery.attempt - 1))


def commit(delivery: Delivery) -> Delivery:
    """Right before the first byte that cannot be taken back."""
    resends = delivery.ambiguous_resends + (1 if delivery.bytes_final else 0)
    return replace(delivery, state=State.SENDING, ambiguous_resends=resends)


def record(delivery: Delivery, outcome: Outcome, now: datetime, scale: float = 1.0, policy: Policy = PLAIN) -> Delivery:
    """What follows from an outcome in `claimed` (provably unsent) or `sending`."""
    match outcome:
        case Sent(receipt):
            return replace(delivery, state=State.SENT, receipt=receipt, error="", next_attempt_at=None)
        case Rejected(reason, scope="channel"):
            # The channel is disabled by it; what waits goes on when a person enables it again.
            return replace(_waiting(delivery, now), attempt=max(0, delivery.attempt - 1), error=reason)
        case Rejected(reason):
            return replace(delivery, state=State.DEAD, error=reason, next_attempt_at=None)
        case TransportDown(reason):
            return replace(_waiting(delivery, now), attempt=max(0, delivery.attempt - 1), error=reason)
        case MaybeDelivered(reason) if delivery.state is State.SENDING:
            return _in_doubt(delivery, reason, now, scale, policy)
        case MaybeDelivered(reason) if delivery.bytes_final:
            # Looked for in vain; it would be resent but for the owner's wish.
            return replace(delivery, state=State.UNCERTAIN, error=reason, next_attempt_at=None)
        case MaybeDelivered(reason):
            return _refused(delivery, Retry(reason), now, scale, policy)
        case Retry():
            return _refused(delivery, outcome, now, scale, policy)


def expire(delivery: Delivery, now: datetime, scale: float = 1.0, policy: Policy = PLAIN) -> Delivery:
    """The lease ran out: claimed was provably unsent, sending is in doubt."""
    if delivery.state is State.SENDING:
        return _in_doubt(delivery, "the worker was lost while sending", now, scale, policy)
    expired = delivery.expired_leases + 1
    if expired >= MAX_EXPIRED_LEASES:
        error = f"{expired} workers were lost on it"
        return replace(delivery, state=State.DEAD, expired_leases=expired, error=error, next_attempt_at=None)
    return replace(_waiting(delivery, now), expired_leases=expired)


def cancel(delivery: Delivery, reason: str) -> Delivery:
    return replace(delivery, state=State.CANCELLED, error=reason, next_attempt_at=None)


def replay(delivery: Delivery, now: datetime) -> Delivery:
    """A person asks for another try of a dead or doubtful one: same id and bytes, counters from zero."""
    waiting = replace(delivery, state=State.PENDING, next_attempt_at=now)
    return replace(waiting, attempt=0, expired_leases=0, ambiguous_resends=0, refused_since=None)


def backoff(attempt: int, scale: float = 1.0) -> timedelta:
    """1, 2, 4 … minutes, at most an hour, times `scale`; `attempt` counts from 1."""
    return min(FIRST_BACKOFF * (1 << min(attempt - 1, 10)), MAX_BACKOFF) * scale


def _waiting(delivery: Delivery, due: datetime) -> Delivery:
    """Back to where it was claimed from: a doubt that was never cleared up stays a doubt."""
    return replace(delivery, state=State.PENDING, next_attempt_at=due)


def _in_doubt(delivery: Delivery, reason: str, now: datetime, scale: float, policy: Policy) -> Delivery:
    if policy.idempotent:
        return _refused(replace(delivery, bytes_final=True), Retry(reason), now, scale, policy)
    open_yet = may_resend(delivery) and (policy.can_reconcile or not policy.at_most_once)
    again = now + RESEND_AFTER * scale if open_yet else None
    return replace(delivery, state=State.UNCERTAIN, bytes_final=True, error=reason, next_attempt_at=again)


def _refused(delivery: Delivery, outcome: Retry, now: datetime, scale: float, policy: Policy) -> Delivery:
    since = delivery.refused_since or now
    spent = delivery.attempt > len(policy.retries) if policy.retries else now - since >= GIVE_UP_AFTER
    if spent:
        after = f"{delivery.attempt} attempts" if policy.retries else "48 h"
        error = f"given up after {after}: {outcome.reason}"
        return replace(delivery, state=State.DEAD, error=error, next_attempt_at=None)
    # Who names a time is taken at their word.
    if outcome.after is not None:
        pause = timedelta(seconds=max(1.0, outcome.after))
    elif policy.retries:
        pause = policy.retries[max(0, delivery.attempt - 1)] * scale
    else:
        pause = backoff(max(1, delivery.attempt), scale)
    return replace(_waiting(delivery, now + pause), refused_since=since, error=outcome.reason)
