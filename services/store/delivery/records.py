"""Rows of delivery as typed records; columns of the same names fill the fields."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any
from uuid import UUID

from services.domain.delivery import state_machine
from services.domain.delivery.schedule import DigestSchedule
from services.domain.delivery.state_machine import DeliveryKind, State, can_replay
from services.domain.digests.updates import Snapshot
from services.domain.subscriptions.cadence import Cadence


@dataclass(frozen=True, slots=True)
class Channel:
    """A row of `channel`."""

    id: int
    account_id: int
    kind: str
    label: str
    target: dict[str, Any]
    secret: bytes | None
    transport: str
    at: time
    weekday: int
    rate_limit_key: str
    at_most_once: bool
    verified: bool
    disabled_because: str
    disabled_at: datetime | None
    refusals_since: datetime | None
    """Refused messages count from here on: since the channel was enabled or got its address; None: all count."""
    requests_since: datetime | None
    """The links of opt-in requests count from here on, since the owner had to opt in anew; None: all count."""
    unsubscribed_at: datetime | None
    last_digest_on: date | None
    next_digest_at: datetime | None
    deleted_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ChannelWithAccount(Channel):
    """A channel with its account's address and time zone."""

    email: str
    timezone: str


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """What lists of channels display; `down_because` is the state of the channel's transport."""

    id: int
    kind: str
    label: str
    at: time
    weekday: int
    at_most_once: bool
    verified: bool
    disabled_because: str
    disabled_at: datetime | None
    unsubscribed_at: datetime | None
    email: str
    down_because: str


@dataclass(frozen=True, slots=True)
class PlannedDigest:
    """The next digest of a channel, and the number of papers that wait for it or for their own message."""

    channel_id: int
    kind: str
    label: str
    next_digest_at: datetime | None
    waiting: int


@dataclass(frozen=True, slots=True)
class StoredTarget:
    """The columns of a channel that follow from its target. `secret` holds the encrypted fields."""

    kind: str
    label: str
    target: dict[str, Any]
    secret: bytes | None
    transport: str
    rate_limit_key: str


@dataclass(frozen=True, slots=True)
class DigestChannel:
    """A channel with what decides when its digest is made."""

    id: int
    account_id: int
    rate_limit_key: str
    at: time
    weekday: int
    last_digest_on: date | None
    next_digest_at: datetime | None
    timezone: str
    quiet_from: time | None
    quiet_to: time | None

    @property
    def schedule(self) -> DigestSchedule:
        return DigestSchedule(
            timezone=self.timezone,
            at=self.at,
            weekday=self.weekday,
            quiet_from=self.quiet_from,
            quiet_to=self.quiet_to,
        )


@dataclass(frozen=True, slots=True)
class Delivery(state_machine.Delivery):
    """A row of `delivery`."""

    id: int
    account_id: int
    channel_id: int
    idem_key: str
    rate_limit_key: str
    lease_token: UUID | None
    lease_until: datetime | None
    message_id: str
    subject: str
    rendered: bytes | None
    notes: list[str]
    sent_at: datetime | None
    created_at: datetime
    committed_at: datetime | None
    about: int | None
    """The sent message that a thread or an update belongs to."""
    snapshot: Snapshot | None
    """The properties of its papers that the message shows and an update may change."""
    trial: dict[str, Any] | None
    """What a trial digest says; None for other messages."""
    check_for_changes_at: datetime | None
    outage_unconfirmed: bool = False
    """It opened a circuit breaker, and the probe found nothing wrong. It may not open one again."""

    @property
    def local_date(self) -> date | None:
        """The local date of a digest; None for other kinds."""
        return date.fromisoformat(self.idem_key.rpartition(":")[2]) if self.kind is DeliveryKind.DIGEST else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """A delivery to be created. It is not created if a delivery has its idempotency key already."""

    account_id: int
    channel_id: int
    kind: DeliveryKind
    idem_key: str
    rate_limit_key: str | None = None
    """None: that of the channel."""
    item_ids: Sequence[int] = ()
    about: int | None = None
    subject: str = ""
    notes: Sequence[str] = ()
    trial: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class DeliverySummary:
    """A delivery as pages and commands list it, with its channel and account."""

    id: int
    kind: DeliveryKind
    state: State
    subject: str
    attempt: int
    next_attempt_at: datetime | None
    error: str
    receipt: str
    sent_at: datetime | None
    created_at: datetime
    channel_id: int
    channel_kind: str
    label: str
    """The channel's target as people see it."""
    email: str
    papers: list[int]

    @property
    def can_replay(self) -> bool:
        return can_replay(self.kind, self.state, self.next_attempt_at)


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """A delivery with its message and channel, as its page shows it."""

    id: int
    kind: DeliveryKind
    state: State
    subject: str
    attempt: int
    next_attempt_at: datetime | None
    error: str
    receipt: str
    sent_at: datetime | None
    created_at: datetime
    rendered: bytes | None
    channel_kind: str
    label: str


@dataclass(frozen=True, slots=True)
class DeliveryItem:
    """A row of `delivery_item`: a paper to be sent on a channel."""

    id: int
    account_id: int
    channel_id: int
    paper_id: int
    not_before: datetime
    cadence: Cadence
    delivery_id: int | None
    dropped_because: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What became of a paper on one channel; the fields of a delivery are None while the paper has none."""

    label: str
    not_before: datetime
    cadence: Cadence
    dropped_because: str
    delivery_id: int | None
    kind: DeliveryKind | None
    state: State | None
    sent_at: datetime | None
    error: str | None
    receipt: str | None


@dataclass(frozen=True, slots=True)
class Bounce:
    """A row of `bounce`."""

    id: int
    digest: bytes
    channel_id: int
    delivery_id: int | None
    status: str
    hard: bool
    diagnostic: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ReturnedDelivery:
    """The delivery whose mail came back."""

    id: int
    channel_id: int


@dataclass(frozen=True, slots=True)
class SoftBounces:
    """Mails of one channel that came back for a reason that may pass."""

    count: int
    last_reason: str


@dataclass(frozen=True, slots=True)
class OptInRequest:
    """A row of `confirmation`: an opt-in request to an address, made by an account from an IP address."""

    address: str
    ip: str
    account_id: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PauseStatus:
    """The sending pause; `paused_because` is empty while sending is not paused."""

    paused_because: str
    paused_at: datetime | None


@dataclass(frozen=True, slots=True)
class WaitingPapers:
    """Papers that wait on one channel for the end of the sending pause."""

    email: str
    kind: str
    label: str
    papers: int
    first_day: date
    last_day: date
