"""How many previews run and wait at the same time, so that one account cannot occupy the site."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from services.errors import Busy

MAX_WAITING = 8
"""Each request that waits occupies one of the 40 threads that answer pages."""
MAX_WAITING_OF_ACCOUNT = 2


class PreviewSlots:
    """`total` previews run at the same time, at most one of each account."""

    def __init__(self, total: int, per_minute: int = 60) -> None:
        """`per_minute`: how many previews one account may start within a minute, counted by `count`."""
        self._total, self._per_minute = total, per_minute
        self._started = defaultdict[int, deque[float]](deque)
        self._running = set[int]()
        self._waiting = Counter[int]()
        self._changed = Condition()

    def count(self, account_id: int, now: float) -> None:
        """Counts a preview that begins `now` (seconds). Raises Busy, which says the limit, after too many."""
        with self._changed:
            self._forget(now - 60)
            started = self._started[account_id]
            if len(started) >= self._per_minute:
                raise Busy(f"an account runs at most {self._per_minute} previews a minute; wait a moment")
            started.append(now)

    def _forget(self, before: float) -> None:
        for account_id, started in list(self._started.items()):
            while started and started[0] <= before:
                started.popleft()
            if not started:
                del self._started[account_id]

    @contextmanager
    def taken(self, account_id: int, wait_seconds: float) -> Iterator[None]:
        """Holds a slot. Raises Busy when none becomes free within `wait_seconds`, or too many requests wait."""
        with self._changed:
            if not self._is_free(account_id):
                self._wait(account_id, wait_seconds)
            self._running.add(account_id)
        try:
            yield
        finally:
            with self._changed:
                self._running.remove(account_id)
                self._changed.notify_all()

    def _wait(self, account_id: int, seconds: float) -> None:
        if self._waiting.total() >= MAX_WAITING or self._waiting[account_id] >= MAX_WAITING_OF_ACCOUNT:
            raise Busy("too many previews run at the moment; try again in a few seconds")
        self._waiting[account_id] += 1
        try:
            if not self._changed.wait_for(lambda: self._is_free(account_id), seconds):
                raise Busy("another preview is still running; try again in a few seconds")
        finally:
            self._waiting[account_id] -= 1

    def _is_free(self, account_id: int) -> bool:
        return len(self._running) < self._total and account_id not in self._running
