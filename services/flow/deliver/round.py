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
from services.flow.deliver import recording
from services.flow.deliver.claiming import Answered, Claimed, claim
from services.flow.deliver.rendering import Ready, render
from services.ports import Connecting, Held, Missing, Outcome, Refused, Unknown
from services.settings import Settings
from services.store import deliveries
from services.store.database import Database, Row
from services.store.vault import Vault
from services.telemetry import STAGE_ERRORS, fault_point, log

AT_A_TIME = 16
"""Messages on their way; so many may be in doubt when the worker is lost."""
CLAIMED = 16
"""Deliveries claimed and rendered together."""
AHEAD = CLAIMED // 2
"""Fewer that are ready make it claim more."""
FRESH = 15.0
"""Seconds after which what is rendered and has found no free thread is given back."""
TOGETHER = 0.005
"""Seconds that what asks or has answered waits for others on their way, so that they share a commit."""
LOOK_AGAIN = 0.2
"""Seconds until it is asked again whether something is due, while a slow receiver is waited for."""


def send(db: Database, settings: Settings, vault: Vault, turn: float = 0.0) -> int:
    """Sends what is due, one claim of it or as long as the turn lasts; how many were. Ends when all answered."""
    return _Round(db, settings, vault).run(turn)


class _Going(NamedTuple):
    """A thread asks to commit `sending`, and waits."""

    claimed: Claimed
    may: "Future[None]"

    @property
    def row(self) -> Row:
        return self.claimed.row


class _Broken(NamedTuple):
    """A thread ended without an outcome."""

    row: Row
    error: BaseException


class _Fetched(NamedTuple):
    """What was claimed and rendered meanwhile; `found`: something was due."""

    found: bool
    ready: Sequence[Ready] = ()
    refused: Sequence[Answered] = ()
    error: Exception | None = None


_Event = _Going | Answered | _Broken


class _Round:
    def __init__(self, db: Database, settings: Settings, vault: Vault) -> None:
        self._db, self._settings, self._vault = db, settings, vault
        self._events: SimpleQueue[_Event | _Fetched] = SimpleQueue()
        self._ready: deque[tuple[Ready, float]] = deque()
        self._flying = self._count = 0
        self._fetching, self._found, self._looked = False, True, 0.0
        self._failed: Exception | None = None

    def run(self, turn: float) -> int:
        end = time.monotonic() + turn
        with _connections(), ThreadPoolExecutor(AT_A_TIME + 1, "deliver") as pool:
            try:
                while True:
                    if not self._fetching and self._may_fetch(end):
                        pool.submit(self._fetch)
                        self._fetching, self._looked = True, time.monotonic()
                    self._hand_out(pool)
                    if not (self._flying or self._fetching):
                        return self._count
                    self._write(self._happened(LOOK_AGAIN))
                    if self._failed:
                        raise self._failed
            finally:
                self._break_off()

    def _may_fetch(self, end: float) -> bool:
        """Always once; then ahead of need, for as long as there is something and the turn lasts."""
        clock = time.monotonic()
        if not self._looked:
            return True
        again = self._found or (self._flying > 0 and clock >= self._looked + LOOK_AGAIN)
        return again and clock < end and len(self._ready) < AHEAD and self._flying + len(self._ready) < 2 * AT_A_TIME

    def _hand_out(self, pool: ThreadPoolExecutor) -> None:
        while self._ready and time.monotonic() - self._ready[0][1] > FRESH:
            self._give_back(self._ready.popleft()[0])
        while self._ready and self._flying < AT_A_TIME:
            pool.submit(self._carry, self._ready.popleft()[0])
            self._flying += 1

    def _give_back(self, one: Ready) -> None:
        """Nothing was tried with it: it is claimed again, and read again, when there is room."""
        with self._caught(one.claimed.row):
            recording.give_back(self._db, [one.claimed.row])

    # ── in threads ────────────────────────────────────────────────────────────────────────────────────────────

    def _fetch(self) -> None:
        """Claims and renders what is due, while others are on their way."""
        try:
            found, claimed = claim(self._db, self._settings, self._vault, CLAIMED)
            refused = [Answered(one.row, one.channel, one.target) for one in claimed if isinstance(one.target, Refused)]
            usable = [one for one in claimed if not isinstance(one.target, Refused)]
            self._events.put(_Fetched(found, render(self._db, self._settings, self._vault, usable), refused))
        except Exception as error:
            self._events.put(_Fetched(False, error=error))

    def _carry(self, one: Ready) -> None:
        try:
            row, channel = one.claimed.row, one.claimed.channel
            self._events.put(Answered(row, channel, self._outcome(one)))
        except BaseException as error:
            self._events.put(_Broken(one.claimed.row, error))

    def _outcome(self, one: Ready) -> Outcome:
        plugin = plugins.notifier(one.claimed.channel["kind"])
        found = _look(one) if one.asks else None
        if found is not None:
            return found
        outcome = plugin.send(one.body, one.target, lambda: self._commit(one.claimed))
        fault_point("answered")
        return outcome

    def _commit(self, one: Claimed) -> None:
        """What the notifier calls before the first byte that cannot be taken back; raises LeaseLost to stop it."""
        fault_point("accepted")
        may: Future[None] = Future()
        self._events.put(_Going(one, may))
        may.result()
        fault_point("sending")

    # ── in ours ───────────────────────────────────────────────────────────────────────────────────────────────

    def _happened(self, within: float) -> list[_Event]:
        """What has come from the threads: waits for the first."""
        events: list[_Event | _Fetched] = []
        with suppress(Empty):
            events.append(self._events.get(timeout=within))
            if self._flying > 1:
                time.sleep(TOGETHER)
            while True:
                events.append(self._events.get_nowait())
        plain = [event for event in events if not isinstance(event, _Fetched)]
        self._flying -= sum(not isinstance(event, _Going) for event in plain)
        for event in events:
            if isinstance(event, _Fetched):
                plain += self._take(event)
        return plain

    def _take(self, fetched: _Fetched) -> Sequence[_Event]:
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
        if isinstance(event, _Broken):
            raise event.error
        try:
            self._write_all([event])
        except Exception as error:
            if isinstance(event, Answered):
                raise
            event.may.set_exception(error)
            if isinstance(error, LeaseLost):  # If it was its turn alone, another comes.
                recording.give_back(self._db, [event.row])
        if isinstance(event, Answered) and isinstance(event.outcome, Held):
            self._keep_from(event.channel["transport"])

    def _write_all(self, events: Sequence[_Event]) -> None:
        going = [one for one in events if isinstance(one, _Going)]
        answered = [one for one in events if isinstance(one, Answered)]
        if events:
            recording.write(self._db, self._settings, [one.claimed for one in going], answered)
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
            events = self._happened(LOOK_AGAIN)
            for event in events:
                if isinstance(event, _Going):
                    event.may.set_exception(LeaseLost("the worker broke off"))
            self._write([event for event in events if not isinstance(event, _Going)])
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
    return isinstance(event, _Going) or (isinstance(event, Answered) and recording.is_plain(event))


def _look(one: Ready) -> Outcome | None:
    """What became of a message in doubt, where its receiver can be asked; None: it is to be sent once more."""
    row, channel = one.claimed.row, one.claimed.channel
    sent_at = row["committed_at"] or row["created_at"]
    found = plugins.notifier(channel["kind"]).find(one.body, one.target, one.receipt, sent_at)
    never_twice = deliveries.policy_of(channel, row["kind"]).never_twice
    if isinstance(found, Missing) or (isinstance(found, Unknown) and not never_twice):
        return None
    return found


@contextmanager
def _connections() -> Iterator[None]:
    """What the notifiers keep open from one message to the next."""
    with ExitStack() as kept:
        for plugin in plugins.notifiers().values():
            if isinstance(plugin, Connecting):
                kept.enter_context(plugin.connected())
        yield
