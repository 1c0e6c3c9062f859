"""The three kinds of plugins and what passes through their ports: nothing here does anything."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from services.domain.delivery.bounce import Bounce as Bounce
from services.domain.delivery.state_machine import MaybeDelivered as MaybeDelivered
from services.domain.delivery.state_machine import NotDelivered as NotDelivered
from services.domain.delivery.state_machine import Outcome as Outcome
from services.domain.delivery.state_machine import Policy as Policy
from services.domain.delivery.state_machine import Rejected as Rejected
from services.domain.delivery.state_machine import Retry as Retry
from services.domain.delivery.state_machine import Sent as Sent
from services.domain.delivery.state_machine import TransportDown as TransportDown
from services.domain.digests.digest import Digest
from services.domain.papers.paper import Listing
from services.domain.sources.polling import Timetable

# ── sources ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One GET that a source wants made. `timeout` in seconds, for everything together."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 30.0


class Source(Protocol):
    """Knows where a listing is announced and how its bytes read; it does no I/O.

    One module in `services/sources` with an instance named `plugin`.
    """

    kind: str
    summary: str
    """One line for the documentation."""
    example: str
    """A valid location."""
    formats: tuple[str, ...]
    """The formats of saved listings it reads, as `import --format` names them."""
    rank: int
    """Sources are asked in this order whether they recognise a file: the most particular first."""
    every: timedelta | None
    """How often it is polled unless told otherwise; None: it only reads saved files."""
    timetable: Timetable
    """When it announces."""

    def location(self, text: str) -> str:
        """The location in its canonical form. Raises SourceError with a hint when it cannot be one."""

    def rate_limit(self, location: str) -> tuple[str, timedelta]:
        """The key of the politeness gate that the requests share, and the pause between two of them."""

    def request(self, location: str, now: datetime) -> Request:
        """What to fetch for the present announcement."""

    def request_day(self, location: str, day: date) -> Request | None:
        """What to fetch, first page, for all that was announced on a past `day`; None: it cannot look back."""

    def recognise(self, body: bytes) -> str | None:
        """The format of `body` if it is one of `formats`, judged by content; quick, never raises."""

    def parse(self, body: bytes, *, day: date) -> Listing:
        """Reads a listing; `day` is the day of fetching, for dates without a year.

        A damaged entry becomes a `Skipped`. Raises SourceError when the whole is not a listing.
        """


# ── notifiers ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What a rendered message needs besides its digest."""

    delivery_id: int
    message_id: str
    """Fixed at creation, e.g. `<delivery-12.ab34@example.org>`."""
    date: datetime
    unsubscribe_url: str = ""
    confirm_url: str = ""
    """Of a message of the kind `confirm`, which asks its receiver whether there should be others."""
    about: str = ""
    """The receipt of the message that a `thread` or an `update` belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """The least time between two messages: `own` at one gate (a channel), `shared` by all of a transport."""

    own: timedelta = timedelta()
    shared: timedelta = timedelta()


class Notifier(Protocol):
    """Turns a digest into bytes, and bytes into an outcome.

    One module in `services/notifiers` with an instance named `plugin`. Its settings, payload, limits and target
    belong to it alone.
    """

    kind: str
    summary: str
    example: str
    """A valid target as the command line takes it."""
    target: type[BaseModel]
    """Of a channel's target; fields of type SecretStr are stored encrypted and never shown."""
    lease: timedelta
    """The longest a send may take."""

    def parse_target(self, text: str) -> BaseModel:
        """The target from the command line's word. Raises TargetError with a hint."""

    def label(self, target: BaseModel) -> str:
        """The target as people see it, without secrets; equal for equal targets."""

    def transport(self, target: BaseModel) -> str:
        """The key of what `Held` holds: all channels with this key wait together. Carries no secret."""

    def rate_limit_key(self, target: BaseModel) -> str:
        """The key of the gate that messages to this place pass one by one, whoever sends them; empty: there is none."""

    def policy(self, known: Mapping[str, Any], kind: str) -> Policy:
        """How failures and doubts of such deliveries are taken; `known` are the target's open fields."""

    def follow_ups(self, known: Mapping[str, Any]) -> frozenset[str]:
        """What may follow a message: a `thread` with the abstracts, an `update` in place of a second message."""

    def pace(self, target: BaseModel, kind: str) -> RateLimit:
        """How fast deliveries of this kind may follow each other."""

    def render(self, digest: Digest, envelope: Envelope, target: BaseModel) -> bytes:
        """The message's bytes, complete: a resend sends the same."""

    def shown(self, body: bytes) -> str:
        """A rendered message as a whole HTML document, for a frame that runs nothing."""

    def send(self, body: bytes, target: BaseModel, commit: Callable[[], None]) -> Outcome:
        """Sends once. Calls `commit` right before the first byte that cannot be taken back.

        What fails before `commit` is provably unsent (Retry, Refused, Held); after it, silence is Unknown.
        Never raises for a network failure; an exception of `commit` passes through and nothing is sent.
        """

    def with_new_secret(self, target: BaseModel, now: datetime) -> tuple[BaseModel, str] | None:
        """The target with a new secret that its receiver must know, and that secret; None: this kind has none."""

    def find(self, body: bytes, target: BaseModel, receipt: str, sent_at: datetime) -> Outcome | NotDelivered:
        """Looks for a message in doubt where the policy says it can. Unknown: it cannot be told.

        `receipt`: of an earlier message to the same place, `sent_at`: when the one in doubt went out.
        """

    def check(self, target: BaseModel) -> TransportDown | None:
        """Whether a held transport answers again, without sending anything."""


class Mailbox(Protocol):
    """Where what comes back arrives."""

    def unread(self, most: int) -> list[str]:
        """Keys of what nobody read, the oldest first."""

    def body(self, key: str) -> bytes:
        """Its bytes, or the first of them."""

    def seen(self, key: str) -> None:
        """It is not unread any more."""


@runtime_checkable
class Returning(Protocol):
    """What a notifier may have besides: messages of its kind can come back after they were sent."""

    def mailbox(self) -> AbstractContextManager[Mailbox] | None:
        """None: nobody reads what comes back. Entering raises ConfigError when it cannot be read."""

    def read_bounce(self, body: bytes) -> Bounce | None:
        """The failure that something in the mailbox reports; never raises."""

    def read_unsubscribe(self, body: bytes) -> str:
        """The token by which something in the mailbox asks to unsubscribe, or empty; never raises."""


@runtime_checkable
class Keeping(Protocol):
    """What a notifier may have besides: it keeps something of its messages outside the database."""

    def forget(self, before: datetime) -> int:
        """Deletes what is older; how many."""


@runtime_checkable
class Connecting(Protocol):
    """What a notifier may have besides: it can keep connections from one message to the next."""

    def connected(self) -> AbstractContextManager[None]:
        """Within it they are kept, for whichever thread sends next; at its end they are closed."""


# ── embedders ─────────────────────────────────────────────────────────────────────────────────────────────────


class Embedder(Protocol):
    """Turns texts into unit vectors. One module in `services/embedders` with a function `plugin(argument)`."""

    name: str
    """Of the model, as stored beside each vector."""

    @property
    def dimensions(self) -> int:
        """Of a remote model it is asked for, once. Raises EmbedderError when that fails, as do the other two."""

    @property
    def score_quantiles(self) -> Sequence[tuple[float, float]]:
        """(share of papers, cosine): a typical interest scores higher than `cosine` on that share of all papers."""

    @property
    def floor(self) -> float:
        """A cosine below which nothing is similar."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (len(texts), dimensions), rows of length 1. Raises EmbedderError when it cannot."""
