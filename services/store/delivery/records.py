"""Rows of delivery as typed records; columns of the same names fill the fields."""

from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any
from uuid import UUID


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
class StoredTarget:
    """The columns of a channel that follow from its target. `secret` holds the encrypted fields."""

    kind: str
    label: str
    target: dict[str, Any]
    secret: bytes | None
    transport: str
    rate_limit_key: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of `delivery`."""

    id: int
    account_id: int
    channel_id: int
    kind: str
    idem_key: str
    state: str
    rate_limit_key: str
    lease_token: UUID | None
    lease_until: datetime | None
    attempt: int
    ambiguous_resends: int
    expired_leases: int
    refused_since: datetime | None
    next_attempt_at: datetime | None
    bytes_final: bool
    message_id: str
    subject: str
    rendered: bytes | None
    notes: list[str]
    error: str
    receipt: str
    sent_at: datetime | None
    created_at: datetime
    committed_at: datetime | None
    about: int | None
    snapshot: dict[str, Any] | None
    check_for_changes_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryItem:
    """A row of `delivery_item`."""

    id: int
    account_id: int
    channel_id: int
    paper_id: int
    not_before: datetime
    cadence: str
    delivery_id: int | None
    dropped_because: str
    created_at: datetime


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
    """A row of `confirmation`: an opt-in request to an address, made from an IP address."""

    address: str
    ip: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PauseStatus:
    """The sending pause; `paused_because` is empty when it is not active."""

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
