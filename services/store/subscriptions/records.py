"""Rows of subscriptions as typed records; columns of the same names fill the fields."""

from dataclasses import dataclass, field
from datetime import date, datetime, time
from enum import StrEnum
from typing import Any
from uuid import UUID

from services.domain.delivery.schedule import DigestSchedule
from services.domain.subscriptions.criteria import SubscriptionCriteria


@dataclass(frozen=True, slots=True, eq=False)
class Subscription(SubscriptionCriteria):
    """A row of `subscription`."""

    account_id: int
    name: str
    for_whom: str
    interest: str
    trending: int | None
    best: str
    """The volume of a query alone, of which digests take the best; empty: they take every paper that matches."""
    wide: bool
    cadence: str
    model: str
    estimated: bool
    examples_changed: bool
    """A vote changed the examples while the embedder failed, so the interest has to be compiled again."""
    calibrated_at: datetime | None
    error: str
    shard: int
    revision: int
    feed_key: UUID = field(repr=False)
    paused_until: datetime | None
    watched_since: datetime
    reminded_at: datetime | None
    deleted_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class SubscriptionWithEmail(Subscription):
    email: str
    """The address of the account."""


@dataclass(frozen=True, slots=True, eq=False)
class SubscriptionChange(SubscriptionCriteria):
    """A subscription that was saved or deleted, as a shard reads it."""

    account_id: int
    revision: int
    deleted_at: datetime | None
    model: str


@dataclass(frozen=True, slots=True)
class SubscribedChannel:
    """A channel that a subscription sends to."""

    id: int
    kind: str
    label: str


@dataclass(frozen=True, slots=True)
class RunToEmbed:
    """A claimed row of `run`."""

    id: int
    attempts: int
    lease_token: UUID


@dataclass(frozen=True, slots=True)
class MatchJob:
    """A claimed row of `match_job`: one run to be matched in one shard."""

    run_id: int
    shard: int
    attempts: int
    error: str
    suspect: int | None
    """The paper that is matched alone, since its worker may have been lost because of it."""
    suspected: int
    """The number of attempts at matching `suspect` alone."""
    lease_token: UUID


@dataclass(frozen=True, slots=True)
class NewMatch:
    """A match to be stored."""

    account_id: int
    subscription_id: int
    paper_id: int
    score: float | None
    reason: str
    revision: int
    run_id: int | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A row of `match`."""

    id: int
    account_id: int
    subscription_id: int
    paper_id: int
    run_id: int | None
    score: float | None
    decided: dict[str, Any]
    revision: int
    notified_at: datetime | None
    created_at: datetime

    @property
    def reason(self) -> str:
        reason: str = self.decided.get("why", "")
        return reason


@dataclass(frozen=True, slots=True)
class UnnotifiedMatch:
    id: int
    paper_id: int


@dataclass(frozen=True, slots=True)
class MatchToNotify:
    """A match with what decides when its paper is sent."""

    paper_id: int
    subscription_id: int
    cadence: str
    paused_until: datetime | None


@dataclass(frozen=True, slots=True)
class ChannelToNotify:
    """A channel of a subscription with what decides when a paper is sent to it."""

    subscription_id: int
    channel_id: int
    at: time
    weekday: int
    last_digest_on: date | None
    unsubscribed_at: datetime | None
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
class NewItem:
    """A delivery item to be stored."""

    account_id: int
    channel_id: int
    paper_id: int
    not_before: datetime
    cadence: str
    dropped_because: str


@dataclass(frozen=True, slots=True)
class ActiveSilence:
    """A row of `silence` with the address of its account and the name of its subscription."""

    id: int
    email: str
    until: datetime
    query: str
    subscription_id: int | None
    name: str | None


class QuarantinedStage(StrEnum):
    MATCHING = "matching"
    EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class QuarantinedPaper:
    paper_id: int
    title: str
    stage: QuarantinedStage
    shard: int | None
    """The shard in which the paper is not matched; None where the paper is not embedded."""
    at: datetime
    error: str


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """A match as an Atom feed shows it."""

    id: int
    paper_id: int
    reason: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ListedPaper:
    """A paper in the list of an account."""

    paper_id: int
    announced_on: date
    read: bool
    starred: bool


@dataclass(frozen=True, slots=True)
class ListedDay:
    """The papers of an announcement day in the list of an account."""

    announced_on: date
    papers: int
    unread: int


@dataclass(frozen=True, slots=True)
class MatchReason:
    """Why a subscription matched a paper."""

    paper_id: int
    name: str
    """The name of the subscription."""
    for_whom: str
    reason: str
