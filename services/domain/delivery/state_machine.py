"""The state machine of a delivery: pure transitions. The store keeps the rows and their leases.

    pending ─claim─▶ claimed ─commit─▶ sending ─▶ sent
       ▲                │                 ├─────▶ uncertain ─claim once─▶ claimed
       └─retry, down────┴─────────────────┤
                                          └─────▶ dead ─replay─▶ pending

Guarantee: no delivery is lost while its row exists. At most one extra copy is sent, and only after a send whose
outcome is unknown.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

CLAIM_LEASE = timedelta(seconds=180)
"""A claimed delivery must be committed within this time."""
RESEND_AFTER = timedelta(minutes=15)
"""An uncertain delivery is sent again, once, after this time."""
GIVE_UP_AFTER = timedelta(hours=48)
"""A delivery that only gets temporary errors is dead after this time, unless its policy lists its own pauses."""
KEPT_FOR_DISABLED_CHANNEL = timedelta(days=7)
"""The items and deliveries of a disabled channel are dropped after this time."""
FIRST_BACKOFF = timedelta(seconds=60)
MAX_BACKOFF = timedelta(hours=1)
MAX_EXPIRED_LEASES = 5
"""A delivery is dead after this many workers were lost while they had claimed it."""


class State(StrEnum):
    PENDING = "pending"
    CLAIMED = "claimed"
    SENDING = "sending"
    SENT = "sent"
    UNCERTAIN = "uncertain"
    DEAD = "dead"
    CANCELLED = "cancelled"


class DeliveryKind(StrEnum):
    MESSAGE = "message"
    """Papers of subscriptions that send immediately."""
    DIGEST = "digest"
    """Papers of a daily or weekly digest."""
    THREAD = "thread"
    """The abstracts of a sent message, as a reply to it."""
    UPDATE = "update"
    """A sent message, edited after its papers changed."""
    CONFIRM = "confirm"
    """The opt-in request."""
    TEST = "test"
    NOTICE = "notice"
    """A notice about paperwire itself."""


FINAL = frozenset({State.SENT, State.DEAD, State.CANCELLED})
AT_MOST_ONCE_KINDS = frozenset({DeliveryKind.CONFIRM, DeliveryKind.TEST, DeliveryKind.NOTICE})
"""Kinds that are never sent again after a send with an unknown outcome: a person can ask for another one."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The receiver accepted the message. `receipt` is its answer (a queue id, a timestamp), without secrets."""

    receipt: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """A temporary rejection. `after`: the seconds to wait, where the receiver named them."""

    reason: str
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A permanent rejection. `scope`: of this `delivery` alone, or of the whole `channel`."""

    reason: str
    scope: str = "delivery"


@dataclass(frozen=True, slots=True)
class TransportDown:
    """The transport (server, token) is down. All its deliveries wait, and no attempt is counted.

    `person`: the operator has to repair it, and gets a notice.
    """

    reason: str
    person: bool = False


@dataclass(frozen=True, slots=True)
class MaybeDelivered:
    """The message was committed to the network and no answer came: it may have arrived."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotDelivered:
    """Outcome of reconciliation: the receiver does not have the message."""


Outcome = Sent | Retry | Rejected | TransportDown | MaybeDelivered


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How deliveries of a channel treat failures, and sends with an unknown outcome."""

    can_reconcile: bool = False
    """The receiver can be asked whether a message arrived."""
    idempotent: bool = False
    """The receiver ignores a second copy, by its id. A send with an unknown outcome is then an ordinary failure."""
    retries: tuple[timedelta, ...] = ()
    """The pauses after each failure, in place of exponential backoff for 48 hours."""
    at_most_once: bool = False
    """The channel's owner prefers a lost message to a second copy."""


PLAIN = Policy()


@dataclass(frozen=True, slots=True)
class Delivery:
    """The fields of a delivery that the state machine reads and sets. The store's record has further fields."""

    kind: DeliveryKind
    state: State
    attempt: int
    ambiguous_resends: int
    """How often the message was sent again after a send with an unknown outcome."""
    expired_leases: int
    bytes_final: bool
    """A send had an unknown outcome, so a resend must send the same bytes."""
    refused_since: datetime | None
    next_attempt_at: datetime | None
    """None: only a person can have it sent."""
    error: str
    receipt: str


D = TypeVar("D", bound=Delivery)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """The state of a channel, which decides whether its deliveries can be claimed."""

    verified: bool = True
    disabled: bool = False
    unsubscribed: bool = False
    deleted: bool = False
    transport_down: bool = False
    sending_paused: bool = False
    """Sending is paused for the whole installation."""
    rate_limited_until: tuple[datetime | None, ...] = ()
    """Of the channel's rate limit and of the transport's; None: not limited."""


def is_claimable(delivery: Delivery, now: datetime, channel: ChannelState) -> bool:
    """Whether a worker may claim the delivery now. `store/delivery/claims.py` says the same in SQL."""
    if delivery.state not in (State.PENDING, State.UNCERTAIN):
        return False
    if delivery.next_attempt_at is None or delivery.next_attempt_at > now:
        return False
    if channel.disabled or channel.unsubscribed or channel.deleted or channel.sending_paused or channel.transport_down:
        return False
    if not channel.verified and delivery.kind != DeliveryKind.CONFIRM:
        return False
    return all(until is None or until <= now for until in channel.rate_limited_until)


def may_resend(delivery: Delivery) -> bool:
    return delivery.ambiguous_resends == 0 and delivery.kind not in AT_MOST_ONCE_KINDS


def claim(delivery: D) -> D:
    return replace(delivery, state=State.CLAIMED, attempt=delivery.attempt + 1)


def release(delivery: D) -> D:
    """Ends a claim under which nothing was sent."""
    return replace(delivery, state=State.PENDING, attempt=max(0, delivery.attempt - 1))


def commit(delivery: D) -> D:
    """Marks the delivery as being sent, right before the first byte that cannot be taken back."""
    resends = delivery.ambiguous_resends + (1 if delivery.bytes_final else 0)
    return replace(delivery, state=State.SENDING, ambiguous_resends=resends)


def record(delivery: D, outcome: Outcome, now: datetime, scale: float = 1.0, policy: Policy = PLAIN) -> D:
    """The delivery after an outcome. In `claimed` nothing was sent; in `sending` the message may have been sent."""
    match outcome:
        case Sent(receipt):
            return replace(delivery, state=State.SENT, receipt=receipt, error="", next_attempt_at=None)
        case Rejected(reason, scope="channel"):
            # The rejection disables the channel. The delivery waits until a person enables the channel again.
            return replace(_waiting(delivery, now), attempt=max(0, delivery.attempt - 1), error=reason)
        case Rejected(reason):
            return replace(delivery, state=State.DEAD, error=reason, next_attempt_at=None)
        case TransportDown(reason):
            return replace(_waiting(delivery, now), attempt=max(0, delivery.attempt - 1), error=reason)
        case MaybeDelivered(reason) if delivery.state is State.SENDING:
            return _outcome_unknown(delivery, reason, now, scale, policy)
        case MaybeDelivered(reason) if delivery.bytes_final:
            # Reconciliation gave no answer, and the channel's owner prefers a lost message to a second copy.
            return replace(delivery, state=State.UNCERTAIN, error=reason, next_attempt_at=None)
        case MaybeDelivered(reason):
            return _refused(delivery, Retry(reason), now, scale, policy)
        case Retry():
            return _refused(delivery, outcome, now, scale, policy)


def expire(delivery: D, now: datetime, scale: float = 1.0, policy: Policy = PLAIN) -> D:
    """The delivery after its lease ran out. In `claimed` nothing was sent; in `sending` it may have been sent."""
    if delivery.state is State.SENDING:
        return _outcome_unknown(delivery, "the worker was lost while sending", now, scale, policy)
    expired = delivery.expired_leases + 1
    if expired >= MAX_EXPIRED_LEASES:
        error = f"{expired} workers were lost on it"
        return replace(delivery, state=State.DEAD, expired_leases=expired, error=error, next_attempt_at=None)
    return replace(_waiting(delivery, now), expired_leases=expired)


def come_back(delivery: D, reason: str, after: float, now: datetime) -> D:
    """A sent message that came back for a cause that may pass is tried again as if it had been refused then.

    `after`: the seconds to wait.
    """
    return _refused(delivery, Retry(reason, after=after), now, 1.0, PLAIN)


def cancel(delivery: D, reason: str) -> D:
    return replace(delivery, state=State.CANCELLED, error=reason, next_attempt_at=None)


def replay(delivery: D, now: datetime) -> D:
    """Another try on a person's request: the same id and bytes, counters from zero."""
    waiting = replace(delivery, state=State.PENDING, next_attempt_at=now)
    return replace(waiting, attempt=0, expired_leases=0, ambiguous_resends=0, refused_since=None)


def backoff(attempt: int, scale: float = 1.0) -> timedelta:
    """1, 2, 4 … minutes, at most an hour, times `scale`; `attempt` counts from 1."""
    return min(FIRST_BACKOFF * (1 << min(attempt - 1, 10)), MAX_BACKOFF) * scale


def can_replay(kind: DeliveryKind, state: State, next_attempt_at: datetime | None) -> bool:
    """Whether nothing happens to a delivery any more unless a person asks for another try.

    An opt-in request is not replayed: a new one is sent, within the limits of `opt_in.py`.
    """
    is_final = state is State.DEAD or (state is State.UNCERTAIN and next_attempt_at is None)
    return is_final and kind is not DeliveryKind.CONFIRM


def _waiting(delivery: D, due: datetime) -> D:
    return replace(delivery, state=State.PENDING, next_attempt_at=due)


def _outcome_unknown(delivery: D, reason: str, now: datetime, scale: float, policy: Policy) -> D:
    if policy.idempotent:
        return _refused(replace(delivery, bytes_final=True), Retry(reason), now, scale, policy)
    claimed_again = may_resend(delivery) and (policy.can_reconcile or not policy.at_most_once)
    next_attempt_at = now + RESEND_AFTER * scale if claimed_again else None
    return replace(delivery, state=State.UNCERTAIN, bytes_final=True, error=reason, next_attempt_at=next_attempt_at)


def _refused(delivery: D, outcome: Retry, now: datetime, scale: float, policy: Policy) -> D:
    since = delivery.refused_since or now
    spent = delivery.attempt > len(policy.retries) if policy.retries else now - since >= GIVE_UP_AFTER
    if spent:
        after = f"{delivery.attempt} attempts" if policy.retries else "48 h"
        error = f"given up after {after}: {outcome.reason}"
        return replace(delivery, state=State.DEAD, error=error, next_attempt_at=None)
    if outcome.after is not None:
        pause = timedelta(seconds=max(1.0, outcome.after))
    elif policy.retries:
        pause = policy.retries[max(0, delivery.attempt - 1)] * scale
    else:
        pause = backoff(max(1, delivery.attempt), scale)
    return replace(_waiting(delivery, now + pause), refused_since=since, error=outcome.reason)
