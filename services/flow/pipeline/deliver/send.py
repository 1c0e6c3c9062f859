"""The send loop: a pool of threads sends messages, and only the main thread records their outcomes.

A slow receiver occupies one thread and delays no other delivery. What several threads report at the same time is
recorded in one transaction (group commit): `sending` before the first byte that cannot be taken back, and the outcome
when it is known.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

from sqlalchemy.exc import OperationalError

from services import plugins
from services.errors import LeaseLost
from services.flow.pipeline.deliver import record
from services.flow.pipeline.deliver.claim import ClaimedDelivery, DeliveryOutcome, claim_due
from services.flow.pipeline.deliver.render import RenderedMessage, render_claimed
from services.ports import (
    ConnectionReusing,
    MaybeDelivered,
    NotDelivered,
    Outcome,
    Reconcilable,
    Rejected,
    TransportDown,
)
from services.settings import Settings
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
from services.telemetry import STAGE_ERRORS, fault_point, log

MAX_IN_FLIGHT = 16
"""Messages that are being sent at once. As many may have an unknown outcome when a worker is lost."""
CLAIM_BATCH_SIZE = 16
"""Deliveries that are claimed and rendered together."""
PREFETCH_LOW_WATER = CLAIM_BATCH_SIZE // 2
"""The next batch is claimed when fewer rendered messages than this are left."""
MAX_RENDER_AGE = 15.0
"""Seconds. A rendered message that waits longer for a free thread is released, and is rendered again later."""
COMMIT_DELAY = 0.005
"""Seconds. The time that an event waits for others, so that they share a transaction."""
POLL_INTERVAL = 0.2
"""Seconds between two searches for due deliveries while the loop waits only for slow receivers."""


def send_due(db: Database, settings: Settings, secrets: SecretBox, time_budget: float = 0.0) -> int:
    """Sends due deliveries: one batch, or as many as it can claim in `time_budget` seconds. Returns how many were due.

    Ends when all messages have an outcome.
    """
    return _SendLoop(db, settings, secrets).run(time_budget)


class _CommitRequest(NamedTuple):
    """A thread asks to have its delivery committed as `sending`, and waits for the committed delivery."""

    claimed: ClaimedDelivery
    committed: "Future[ClaimedDelivery]"


class _SendFailed(NamedTuple):
    """A thread ended with an error instead of an outcome."""

    claimed: ClaimedDelivery
    error: BaseException


class _BatchRendered(NamedTuple):
    """A batch was claimed and rendered. `any_due`: whether any delivery was due."""

    any_due: bool
    messages: Sequence[RenderedMessage] = ()
    rejected: Sequence[DeliveryOutcome] = ()
    """Deliveries whose stored target cannot be read."""
    error: Exception | None = None


_DeliveryEvent = _CommitRequest | DeliveryOutcome | _SendFailed


class _SendLoop:
    def __init__(self, db: Database, settings: Settings, secrets: SecretBox) -> None:
        self._db, self._settings, self._secrets = db, settings, secrets
        self._events: SimpleQueue[_DeliveryEvent | _BatchRendered] = SimpleQueue()
        self._ready: deque[tuple[RenderedMessage, float]] = deque()
        """Rendered messages, each with the time of the monotonic clock when it was rendered."""
        self._in_flight = self._due_count = 0
        self._is_claiming, self._any_due, self._claimed_at = False, True, 0.0
        self._claim_error: Exception | None = None

    def run(self, time_budget: float) -> int:
        deadline = time.monotonic() + time_budget
        with _reused_connections(), ThreadPoolExecutor(MAX_IN_FLIGHT + 1, "deliver") as pool:
            try:
                while True:
                    if not self._is_claiming and self._may_claim(deadline):
                        pool.submit(self._claim_and_render)
                        self._is_claiming, self._claimed_at = True, time.monotonic()
                    self._dispatch(pool)
                    if not (self._in_flight or self._is_claiming):
                        return self._due_count
                    self._record(self._next_events(POLL_INTERVAL))
                    if self._claim_error:
                        raise self._claim_error
            finally:
                self._abort()

    def _may_claim(self, deadline: float) -> bool:
        """The first batch always; others while deliveries are due, shortly before the last batch is sent."""
        now = time.monotonic()
        if not self._claimed_at:
            return True
        is_worthwhile = self._any_due or (self._in_flight > 0 and now >= self._claimed_at + POLL_INTERVAL)
        return (
            is_worthwhile
            and now < deadline
            and len(self._ready) < PREFETCH_LOW_WATER
            and self._in_flight + len(self._ready) < 2 * MAX_IN_FLIGHT
        )

    def _dispatch(self, pool: ThreadPoolExecutor) -> None:
        """Hands rendered messages to free threads, and releases those that are too old."""
        while self._ready and time.monotonic() - self._ready[0][1] > MAX_RENDER_AGE:
            self._release(self._ready.popleft()[0])
        while self._ready and self._in_flight < MAX_IN_FLIGHT:
            pool.submit(self._send_one, self._ready.popleft()[0])
            self._in_flight += 1

    def _release(self, message: RenderedMessage) -> None:
        """Ends the claim of a message that was not sent, so that it is claimed and rendered again."""
        with self._logged_errors(message.claimed):
            record.release(self._db, message.claimed)

    # ── in the threads of the pool ────────────────────────────────────────────────────────────────────────────

    def _claim_and_render(self) -> None:
        try:
            any_due, claimed = claim_due(self._db, self._settings, self._secrets, CLAIM_BATCH_SIZE)
            rejected = [DeliveryOutcome(claim, claim.target) for claim in claimed if isinstance(claim.target, Rejected)]
            sendable = [claim for claim in claimed if not isinstance(claim.target, Rejected)]
            messages = render_claimed(self._db, self._settings, self._secrets, sendable)
            self._events.put(_BatchRendered(any_due, messages, rejected))
        except Exception as error:
            self._events.put(_BatchRendered(False, error=error))

    def _send_one(self, message: RenderedMessage) -> None:
        claimed = message.claimed

        def commit() -> None:
            nonlocal claimed
            claimed = self._commit(claimed)

        try:
            outcome = _reconcile(message) if message.reconciles else None
            if outcome is None:
                outcome = claimed.notifier.send(message.body, message.target, commit)
                fault_point("answered")
            self._events.put(DeliveryOutcome(claimed, outcome))
        except BaseException as error:
            self._events.put(_SendFailed(claimed, error))

    def _commit(self, claimed: ClaimedDelivery) -> ClaimedDelivery:
        """Called by the notifier before the first byte that cannot be taken back. Raises LeaseLost to stop it."""
        fault_point("accepted")
        request = _CommitRequest(claimed, Future())
        self._events.put(request)
        committed = request.committed.result()
        fault_point("sending")
        return committed

    # ── in the main thread ────────────────────────────────────────────────────────────────────────────────────

    def _next_events(self, timeout: float) -> list[_DeliveryEvent]:
        """What the threads have reported; waits for the first event."""
        events: list[_DeliveryEvent | _BatchRendered] = []
        with suppress(Empty):
            events.append(self._events.get(timeout=timeout))
            if self._in_flight > 1:
                time.sleep(COMMIT_DELAY)
            while True:
                events.append(self._events.get_nowait())
        of_deliveries = [event for event in events if not isinstance(event, _BatchRendered)]
        self._in_flight -= sum(not isinstance(event, _CommitRequest) for event in of_deliveries)
        for event in events:
            if isinstance(event, _BatchRendered):
                self._add_batch(event)
                of_deliveries += event.rejected
        return of_deliveries

    def _add_batch(self, batch: _BatchRendered) -> None:
        self._is_claiming, self._any_due = False, batch.any_due
        self._ready += [(message, time.monotonic()) for message in batch.messages]
        self._due_count += max(len(batch.messages), int(batch.any_due))
        if batch.error:
            self._claim_error = batch.error

    def _record(self, events: Sequence[_DeliveryEvent]) -> None:
        """Records together the events that concern one delivery each, and all others one by one.

        When the transaction fails, all events are recorded one by one, so that one error affects one delivery.
        """
        alone = [event for event in events if not _can_be_grouped(event)]
        try:
            self._record_together([event for event in events if _can_be_grouped(event)])
        except Exception:
            alone = list(events)
        for event in alone:
            with self._logged_errors(event.claimed):
                self._record_one(event)

    def _record_one(self, event: _DeliveryEvent) -> None:
        if isinstance(event, _SendFailed):
            raise event.error
        try:
            self._record_together([event])
        except Exception as error:
            if isinstance(event, DeliveryOutcome):
                raise
            event.committed.set_exception(error)
            if isinstance(error, LeaseLost):  # When only the rate limit was lost, the delivery is claimed again.
                record.release(self._db, event.claimed)
        if isinstance(event, DeliveryOutcome) and isinstance(event.outcome, TransportDown):
            self._release_ready_on(event.claimed.channel.transport)

    def _record_together(self, events: Sequence[_DeliveryEvent]) -> None:
        if not events:
            return
        requests = [event for event in events if isinstance(event, _CommitRequest)]
        finished = [event for event in events if isinstance(event, DeliveryOutcome)]
        committed = record.write(self._db, self._settings, [request.claimed for request in requests], finished)
        for request, claimed in zip(requests, committed, strict=True):
            request.committed.set_result(claimed)

    def _release_ready_on(self, transport: str) -> None:
        """Releases the rendered messages of a transport that is down."""
        for message in [message for message, _ in self._ready if message.claimed.channel.transport == transport]:
            self._release(message)
        self._ready = deque(pair for pair in self._ready if pair[0].claimed.channel.transport != transport)

    def _abort(self) -> None:
        """After an error in the loop: refuses all commits, and waits for the outcomes of committed messages."""
        while self._in_flight or self._is_claiming:
            events = self._next_events(POLL_INTERVAL)
            for event in events:
                if isinstance(event, _CommitRequest):
                    event.committed.set_exception(LeaseLost("the send loop ended"))
            self._record([event for event in events if not isinstance(event, _CommitRequest)])
        while self._ready:
            self._release(self._ready.popleft()[0])

    @contextmanager
    def _logged_errors(self, claimed: ClaimedDelivery) -> Iterator[None]:
        """Logs an error of one delivery, whose lease then runs out, and lets the others go on."""
        try:
            yield
        except LeaseLost as lost:
            log.info("another worker has the delivery", delivery=claimed.id, why=str(lost))
        except OperationalError as error:
            log.warning("database connection lost", delivery=claimed.id, why=str(error.orig).splitlines()[0])
        except Exception:
            STAGE_ERRORS.labels("deliver").inc()
            log.exception("delivery failed", delivery=claimed.id)


def _can_be_grouped(event: _DeliveryEvent) -> bool:
    return isinstance(event, _CommitRequest) or (
        isinstance(event, DeliveryOutcome) and record.concerns_one_delivery(event)
    )


def _reconcile(message: RenderedMessage) -> Outcome | None:
    """Asks the receiver whether a message that may have been sent arrived. None: the message is to be sent again."""
    claimed, delivery = message.claimed, message.claimed.delivery
    assert isinstance(claimed.notifier, Reconcilable), "its policy says that it can reconcile"
    sent_at = delivery.committed_at or delivery.created_at
    outcome = claimed.notifier.reconcile(message.body, message.target, message.last_receipt, sent_at)
    if isinstance(outcome, NotDelivered):
        return None
    if isinstance(outcome, MaybeDelivered) and not claimed.policy.at_most_once:
        return None
    return outcome


@contextmanager
def _reused_connections() -> Iterator[None]:
    """Keeps connections of notifiers open from one message to the next."""
    with ExitStack() as contexts:
        for notifier in plugins.notifiers().values():
            if isinstance(notifier, ConnectionReusing):
                contexts.enter_context(notifier.reuse_connections())
        yield
