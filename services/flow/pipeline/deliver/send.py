"""A round of sending: threads carry the messages, and one alone, ours, reads and writes the rows.

So a slow receiver keeps one thread and nobody else, and what comes together is committed together: `sending` before
the byte that cannot be taken back, the answer at once when it has come.
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
from services.store.db.database import Database, Row
from services.store.db.secrets import SecretBox
from services.store.delivery import deliveries
from services.telemetry import STAGE_ERRORS, fault_point, log

MAX_IN_FLIGHT = 16
"""Messages on their way; so many may be in doubt when the worker is lost."""
CLAIM_BATCH_SIZE = 16
"""Deliveries claimed and rendered together."""
PREFETCH_LOW_WATER = CLAIM_BATCH_SIZE // 2
"""Fewer that are ready make it claim more."""
MAX_RENDER_AGE = 15.0
"""Seconds after which what is rendered and has found no free thread is given back."""
COMMIT_DELAY = 0.005
"""Seconds that what asks or has answered waits for others on their way, so that they share a commit."""
POLL_INTERVAL = 0.2
"""Seconds until it is asked again whether something is due, while a slow receiver is waited for."""


def send_due(db: Database, settings: Settings, secrets: SecretBox, turn: float = 0.0) -> int:
    """Sends what is due, one claim of it or as long as the turn lasts; how many were. Ends when all answered."""
    return _SendLoop(db, settings, secrets).run(turn)


class _CommitRequest(NamedTuple):
    """A thread asks to commit `sending`, and waits."""

    claimed: ClaimedDelivery
    may: "Future[None]"

    @property
    def row(self) -> Row:
        return self.claimed.row


class _SendFailed(NamedTuple):
    """A thread ended without an outcome."""

    row: Row
    error: BaseException


class _Rendered(NamedTuple):
    """What was claimed and rendered meanwhile; `found`: something was due."""

    found: bool
    ready: Sequence[RenderedMessage] = ()
    refused: Sequence[DeliveryOutcome] = ()
    error: Exception | None = None


_Event = _CommitRequest | DeliveryOutcome | _SendFailed


class _SendLoop:
    def __init__(self, db: Database, settings: Settings, secrets: SecretBox) -> None:
        self._db, self._settings, self._vault = db, settings, secrets
        self._events: SimpleQueue[_Event | _Rendered] = SimpleQueue()
        self._ready: deque[tuple[RenderedMessage, float]] = deque()
        self._flying = self._count = 0
        self._fetching, self._found, self._looked = False, True, 0.0
        self._failed: Exception | None = None

    def run(self, turn: float) -> int:
        end = time.monotonic() + turn
        with _connections(), ThreadPoolExecutor(MAX_IN_FLIGHT + 1, "deliver") as pool:
            try:
                while True:
                    if not self._fetching and self._may_fetch(end):
                        pool.submit(self._fetch)
                        self._fetching, self._looked = True, time.monotonic()
                    self._hand_out(pool)
                    if not (self._flying or self._fetching):
                        return self._count
                    self._write(self._happened(POLL_INTERVAL))
                    if self._failed:
                        raise self._failed
            finally:
                self._break_off()

    def _may_fetch(self, end: float) -> bool:
        """Always once; then ahead of need, for as long as there is something and the turn lasts."""
        clock = time.monotonic()
        if not self._looked:
            return True
        again = self._found or (self._flying > 0 and clock >= self._looked + POLL_INTERVAL)
        return (
            again
            and clock < end
            and len(self._ready) < PREFETCH_LOW_WATER
            and self._flying + len(self._ready) < 2 * MAX_IN_FLIGHT
        )

    def _hand_out(self, pool: ThreadPoolExecutor) -> None:
        while self._ready and time.monotonic() - self._ready[0][1] > MAX_RENDER_AGE:
            self._give_back(self._ready.popleft()[0])
        while self._ready and self._flying < MAX_IN_FLIGHT:
            pool.submit(self._carry, self._ready.popleft()[0])
            self._flying += 1

    def _give_back(self, one: RenderedMessage) -> None:
        """Nothing was tried with it: it is claimed again, and read again, when there is room."""
        with self._caught(one.claimed.row):
            record.release(self._db, [one.claimed.row])

    # ── in threads ────────────────────────────────────────────────────────────────────────────────────────────

    def _fetch(self) -> None:
        """Claims and renders what is due, while others are on their way."""
        try:
            found, claimed = claim_due(self._db, self._settings, self._vault, CLAIM_BATCH_SIZE)
            refused = [
                DeliveryOutcome(one.row, one.channel, one.target) for one in claimed if isinstance(one.target, Rejected)
            ]
            usable = [one for one in claimed if not isinstance(one.target, Rejected)]
            self._events.put(_Rendered(found, render_claimed(self._db, self._settings, self._vault, usable), refused))
        except Exception as error:
            self._events.put(_Rendered(False, error=error))

    def _carry(self, one: RenderedMessage) -> None:
        try:
            row, channel = one.claimed.row, one.claimed.channel
            self._events.put(DeliveryOutcome(row, channel, self._outcome(one)))
        except BaseException as error:
            self._events.put(_SendFailed(one.claimed.row, error))

    def _outcome(self, one: RenderedMessage) -> Outcome:
        plugin = plugins.notifier(one.claimed.channel["kind"])
        found = _reconcile(one) if one.asks else None
        if found is not None:
            return found
        outcome = plugin.send(one.body, one.target, lambda: self._commit(one.claimed))
        fault_point("answered")
        return outcome

    def _commit(self, one: ClaimedDelivery) -> None:
        """What the notifier calls before the first byte that cannot be taken back; raises LeaseLost to stop it."""
        fault_point("accepted")
        may: Future[None] = Future()
        self._events.put(_CommitRequest(one, may))
        may.result()
        fault_point("sending")

    # ── in ours ───────────────────────────────────────────────────────────────────────────────────────────────

    def _happened(self, within: float) -> list[_Event]:
        """What has come from the threads: waits for the first."""
        events: list[_Event | _Rendered] = []
        with suppress(Empty):
            events.append(self._events.get(timeout=within))
            if self._flying > 1:
                time.sleep(COMMIT_DELAY)
            while True:
                events.append(self._events.get_nowait())
        plain = [event for event in events if not isinstance(event, _Rendered)]
        self._flying -= sum(not isinstance(event, _CommitRequest) for event in plain)
        for event in events:
            if isinstance(event, _Rendered):
                plain += self._take(event)
        return plain

    def _take(self, fetched: _Rendered) -> Sequence[_Event]:
        self._fetching, self._found = False, fetched.found
        self._ready += [(one, time.monotonic()) for one in fetched.ready]
        self._count += max(len(fetched.ready), int(fetched.found))
        if fetched.error:
            self._failed = fetched.error
        return fetched.refused

    def _write(self, events: Sequence[_Event]) -> None:
        """What is plain together; all else, and all of it when that fails, one by one, so that none costs another."""
        together = [event for event in events if _is_plain(event)]
        alone = [event for event in events if not _is_plain(event)]
        try:
            self._write_all(together)
        except Exception:
            alone = list(events)
        for event in alone:
            with self._caught(event.row):
                self._write_one(event)

    def _write_one(self, event: _Event) -> None:
        if isinstance(event, _SendFailed):
            raise event.error
        try:
            self._write_all([event])
        except Exception as error:
            if isinstance(event, DeliveryOutcome):
                raise
            event.may.set_exception(error)
            if isinstance(error, LeaseLost):  # If it was its turn alone, another comes.
                record.release(self._db, [event.row])
        if isinstance(event, DeliveryOutcome) and isinstance(event.outcome, TransportDown):
            self._keep_from(event.channel["transport"])

    def _write_all(self, events: Sequence[_Event]) -> None:
        going = [one for one in events if isinstance(one, _CommitRequest)]
        answered = [one for one in events if isinstance(one, DeliveryOutcome)]
        if events:
            record.write(self._db, self._settings, [one.claimed for one in going], answered)
        for one in going:
            one.may.set_result(None)

    def _keep_from(self, transport: str) -> None:
        """A transport that is down: what was to go through it next is not tried."""
        for one in [one for one, _ in self._ready if one.claimed.channel["transport"] == transport]:
            self._give_back(one)
        self._ready = deque(pair for pair in self._ready if pair[0].claimed.channel["transport"] != transport)

    def _break_off(self) -> None:
        """After an error of ours: who has not sent yet does not, and who has is waited for."""
        while self._flying or self._fetching:
            events = self._happened(POLL_INTERVAL)
            for event in events:
                if isinstance(event, _CommitRequest):
                    event.may.set_exception(LeaseLost("the worker broke off"))
            self._write([event for event in events if not isinstance(event, _CommitRequest)])
        while self._ready:
            self._give_back(self._ready.popleft()[0])

    @contextmanager
    def _caught(self, row: Row) -> Iterator[None]:
        """One delivery's error is its own: its lease runs out, and the others go on."""
        try:
            yield
        except LeaseLost as lost:
            log.info("delivery left to another worker", delivery=row["id"], why=str(lost))
        except OperationalError as error:
            log.warning("database lost", delivery=row["id"], why=str(error.orig).splitlines()[0])
        except Exception:
            STAGE_ERRORS.labels("deliver").inc()
            log.exception("delivery failed", delivery=row["id"])


def _is_plain(event: _Event) -> bool:
    return isinstance(event, _CommitRequest) or (isinstance(event, DeliveryOutcome) and record.is_plain(event))


def _reconcile(one: RenderedMessage) -> Outcome | None:
    """What became of a message in doubt, where its receiver can be asked; None: it is to be sent once more."""
    row, channel = one.claimed.row, one.claimed.channel
    sent_at = row["committed_at"] or row["created_at"]
    plugin = plugins.notifier(channel["kind"])
    assert isinstance(plugin, Reconcilable), "its policy says that it can reconcile"
    found = plugin.reconcile(one.body, one.target, one.receipt, sent_at)
    at_most_once = deliveries.policy_of(channel, row["kind"]).at_most_once
    if isinstance(found, NotDelivered) or (isinstance(found, MaybeDelivered) and not at_most_once):
        return None
    return found


@contextmanager
def _connections() -> Iterator[None]:
    """What the notifiers keep open from one message to the next."""
    with ExitStack() as kept:
        for plugin in plugins.notifiers().values():
            if isinstance(plugin, ConnectionReusing):
                kept.enter_context(plugin.reuse_connections())
        yield
