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
from services.domain.papers.paper import Identifier, Listing
from services.domain.sources.polling import Timetable

# ── sources ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One GET that fetches a listing."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 30.0
    """Seconds, for the whole exchange."""


class Source(Protocol):
    """A kind of source: the requests that fetch its listings, and how these are parsed. It does no I/O.

    It is one module in `services/sources` with an instance named `plugin`.
    """

    kind: str
    summary: str
    """One line for the documentation."""
    example: str
    """A valid location."""
    formats: tuple[str, ...]
    """The formats of saved listings it reads, as `import --format` names them."""
    rank: int
    """Sources try in this order whether they recognise a file, the most specific first."""
    every: timedelta | None
    """The usual interval between two polls; None: it only reads saved files."""
    timetable: Timetable
    """When it announces."""

    def location(self, text: str) -> str:
        """The location in its canonical form. Raises SourceError with a hint when it is not valid."""

    def rate_limit(self, location: str) -> tuple[str, timedelta]:
        """The key of the rate limit that the requests share, and the pause between two requests."""

    def request(self, location: str, now: datetime) -> Request:
        """The request for the present announcement."""

    def request_day(self, location: str, day: date) -> Request | None:
        """The request for the first page of what was announced on a past `day`; None: the source cannot look back."""

    def publishes(self, identifier: Identifier) -> bool:
        """Whether this is the own source of the works with this identifier.

        No other kind of source changes the text, the version or the withdrawal of such a work.
        """

    def recognise(self, body: bytes) -> str | None:
        """Which of `formats` the content of `body` has; None for any other. It is fast and never raises."""

    def parse(self, body: bytes, *, day: date) -> Listing:
        """The listing in `body`. `day`: when it was fetched, for dates without a year.

        A damaged entry becomes a `Skipped`. Raises SourceError when `body` is not a listing.
        """


# ── notifiers ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What a rendered message needs besides its digest."""

    delivery_id: int
    message_id: str
    """The delivery's Message-ID, fixed when the delivery is created, e.g. `<delivery-12.ab34@example.org>`."""
    date: datetime
    unsubscribe_url: str = ""
    confirm_url: str = ""
    """Where the receiver opts in, or what the button of a mail of the kind `link` opens. Other messages have none."""
    about: str = ""
    """The receipt of the message that a `thread` or an `update` belongs to."""
    paper_urls: Mapping[int, str] = field(default_factory=dict)
    """By paper, its page here, which says why it came."""
    vote_urls: Mapping[int, str] = field(default_factory=dict)
    """By paper, where the receiver votes for more or less like it. Papers of no subscription have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """The least time between two messages on one channel, and between two on all channels of a transport."""

    per_channel: timedelta = timedelta()
    per_transport: timedelta = timedelta()
    shared_by_strangers: bool = False
    """Other accounts use the same key, so a pause that one receiver names holds for its own transport alone."""


class Notifier(Protocol):
    """Renders a digest as bytes and sends the bytes.

    A notifier is one module or package in `services/notifiers` with an instance named `plugin`. It owns its settings,
    payload, limits and target. What only some notifiers can do is declared by the protocols below this one.
    """

    kind: str
    summary: str
    example: str
    """A valid target as the command line takes it."""
    target: type[BaseModel]
    """The type of a channel's target. Fields of type SecretStr are stored encrypted and never displayed."""
    lease: timedelta
    """The longest time that a send may take."""

    def parse_target(self, text: str) -> BaseModel:
        """Reads a target from the command line or a form. Raises TargetError with a hint."""

    def label(self, target: BaseModel) -> str:
        """The target as people see it, without secrets; equal for equal targets."""

    def transport(self, target: BaseModel) -> str:
        """The key of the circuit breaker: `TransportDown` stops all channels with this key. Contains no secret."""

    def policy(self, public_fields: Mapping[str, Any], kind: str) -> Policy:
        """How deliveries of this kind treat failures. `public_fields`: the target's fields that are not secret."""

    def render(self, digest: Digest, envelope: Envelope, target: BaseModel) -> bytes:
        """The complete bytes of the message. A resend sends the same bytes."""

    def preview(self, body: bytes) -> str:
        """A rendered message as an HTML document, for a sandboxed frame."""

    def send(self, body: bytes, target: BaseModel, commit: Callable[[], None]) -> Outcome:
        """Sends once. Calls `commit` right before the first byte that cannot be taken back.

        After a failure before `commit` nothing was sent (Retry, Rejected, TransportDown). After it, a missing answer is
        MaybeDelivered. A network failure never raises. An exception of `commit` propagates, and nothing is sent.
        """

    def probe(self, target: BaseModel) -> TransportDown | None:
        """Checks, without sending a message, whether a transport works again. None: it does."""


@runtime_checkable
class RateLimited(Protocol):
    """A notifier whose messages to one place must keep a distance in time."""

    def rate_limit_key(self, target: BaseModel) -> str:
        """The key of the rate limit that all messages to this place share, whichever account sends them."""

    def rate_limit(self, target: BaseModel, kind: str) -> RateLimit:
        """How fast deliveries of this kind may follow each other."""


@runtime_checkable
class Updatable(Protocol):
    """A notifier whose sent messages may be followed by others that belong to them."""

    def follow_ups(self, public_fields: Mapping[str, Any]) -> frozenset[str]:
        """`thread`: a reply with the abstracts. `update`: an edit in place of a second message."""


@runtime_checkable
class Reconcilable(Protocol):
    """A notifier that can look up whether a message arrived. Its policy says for which channels (`can_reconcile`)."""

    def reconcile(self, body: bytes, target: BaseModel, receipt: str, sent_at: datetime) -> Outcome | NotDelivered:
        """Whether a message sent at `sent_at` arrived. MaybeDelivered: the lookup gave no answer.

        `receipt` is the receipt of an earlier message to the same place.
        """


@runtime_checkable
class SecretIssuing(Protocol):
    """A notifier that makes a secret for each channel, which the receiver must know."""

    def with_new_secret(self, target: BaseModel, now: datetime) -> tuple[BaseModel, str]:
        """The target with a new secret, and that secret."""


@runtime_checkable
class OptInRequiring(Protocol):
    """A notifier with targets whose readers have to agree before anything but the opt-in request is sent."""

    def needs_opt_in(self, target: BaseModel) -> bool:
        """Whether the account may name the target without having been given access to it."""

    def is_person(self, target: BaseModel) -> bool:
        """Whether the target is a person, for whom no operator's adding decides."""

    def asked_place(self, receipt: str) -> str:
        """The place that a sent opt-in request went to, in another form than the label, by its receipt."""


class Mailbox(Protocol):
    """The mailbox that returned mails arrive in."""

    def unread(self, most: int) -> list[str]:
        """The keys of at most `most` unread mails, the oldest first."""

    def body(self, key: str) -> bytes:
        """The first bytes of a mail, enough to read its report."""

    def seen(self, key: str) -> None:
        """Marks a mail as read."""


@runtime_checkable
class BounceReading(Protocol):
    """A notifier whose messages can come back after they were sent."""

    def mailbox(self) -> AbstractContextManager[Mailbox] | None:
        """None: no mailbox is configured. Entering raises ConfigError when the mailbox cannot be read."""

    def read_bounce(self, body: bytes) -> Bounce | None:
        """The failure that a mail in the mailbox reports; never raises."""

    def read_unsubscribe(self, body: bytes) -> str:
        """The unsubscribe token in a mail in the mailbox, or empty; never raises."""


@runtime_checkable
class FileKeeping(Protocol):
    """A notifier that stores its messages as files, outside the database."""

    def delete_files(self, before: datetime) -> int:
        """Deletes the files that were written before `before`; returns how many."""


@runtime_checkable
class ConnectionReusing(Protocol):
    """A notifier that can use one connection for several messages."""

    def reuse_connections(self) -> AbstractContextManager[None]:
        """Keeps connections open for every thread while the context is active, and closes them at its end."""


# ── embedders ─────────────────────────────────────────────────────────────────────────────────────────────────


class Embedder(Protocol):
    """Turns texts into unit vectors. One module in `services/embedders` with a function `plugin(argument)`."""

    name: str
    """The model's name, as stored beside each vector."""

    @property
    def dimensions(self) -> int:
        """The length of a vector. A remote model is asked once. This and the next two raise EmbedderError."""

    @property
    def score_quantiles(self) -> Sequence[tuple[float, float]]:
        """(share of papers, cosine): that share of all papers scores higher than `cosine` for a typical interest."""

    @property
    def floor(self) -> float:
        """The least threshold of an interest: papers with a lower cosine are not similar."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (len(texts), dimensions), rows of length 1. Raises EmbedderError if the model fails."""
