"""Keeps the processes of `paperwire up` running, shows what they say in one log, and ends them all."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from services.local.console import Console
from services.local.process import Backoff, is_over, kill_group, launch

POLL_INTERVAL_SECONDS = 0.05
POLITE_SECONDS = 7.0
KILLED_SECONDS = 1.0
OWN_NAME = "up"


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep running; `env` is added to ours.

    It is started anew when the file `heartbeat` has not been touched for `max_silence` seconds (0: never).
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    heartbeat: Path | None = None
    max_silence: float = 0.0


class Watched:
    """A child over all its lives. Times are of the monotonic clock, so that a clock that is set kills nobody."""

    def __init__(self, child: Child, console: Console) -> None:
        self._child = child
        self._console = console
        self._backoff = Backoff()
        self._process: subprocess.Popen[bytes] | None = None
        self._born = 0.0
        self._due = 0.0
        self._beat: tuple[float, float] = (0.0, 0.0)
        """The heartbeat's mark and when we first saw that mark."""

    @property
    def alive(self) -> bool:
        return self._process is not None

    def check(self, now: float, *, revive: bool) -> None:
        """Buries the dead, ends the silent and starts what is due."""
        if self._process is not None:
            if is_over(self._process):
                self._reap(self._process, now, revive)
            elif revive and self._silent(now):
                self._say(f"no heartbeat for {self._child.max_silence:g} s: killing it")
                self.kill()
        elif revive and now >= self._due:
            self._start(now)

    def terminate(self) -> None:
        # Only the child itself: it decides what becomes of its own children, until the whole group is killed.
        if self._process is not None and not is_over(self._process):
            os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        if self._process is not None:
            kill_group(self._process.pid)

    def _start(self, now: float) -> None:
        env = {**os.environ, "PYTHONUNBUFFERED": "1", **self._child.env, "PAPERWIRE_SUPERVISED": "1"}
        try:
            self._process = launch(self._child.argv, env=env, output=subprocess.PIPE, death_signal=signal.SIGTERM)
        except OSError as error:
            self._due = now + self._backoff.after(0.0)
            self._say(f"cannot be started: {error.strerror}")
            return
        self._born = now
        self._beat = (self._mark(), now)
        if self._process.stdout:
            self._console.copy(self._child.name, self._process.stdout)

    def _reap(self, process: "subprocess.Popen[bytes]", now: float, revive: bool) -> None:
        kill_group(process.pid)  # before it is reaped: what it left behind goes with it
        status = process.wait()
        self._process = None
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit code {status}"
        if not revive:
            return
        pause = self._backoff.after(now - self._born)
        self._due = now + pause
        self._say(f"{how}; starting it again in {pause:g} s")

    def _mark(self) -> float:
        try:
            return self._child.heartbeat.stat().st_mtime if self._child.heartbeat else 0.0
        except OSError:
            return 0.0

    def _silent(self, now: float) -> bool:
        if not self._child.heartbeat or not self._child.max_silence:
            return False
        if (mark := self._mark()) != self._beat[0]:
            self._beat = (mark, now)
        return now - self._beat[1] > self._child.max_silence

    def _say(self, line: str) -> None:
        self._console.say(OWN_NAME, f"{self._child.name} {line}")


class Supervisor:
    """Runs children until it is told to stop, by `stop()`, SIGINT, SIGTERM or SIGHUP; told twice it stops at once."""

    def __init__(
        self, children: Sequence[Child], *, log: TextIO | None = None, on_started: Callable[[], None] | None = None
    ) -> None:
        self._console = Console(log or sys.stderr, [*(child.name for child in children), OWN_NAME])
        self._watched = [Watched(child, self._console) for child in children]
        self._on_started = on_started
        self._asked = 0

    def say(self, line: str) -> None:
        """Puts a line of our own into the log."""
        for part in line.splitlines() or [""]:
            self._console.say(OWN_NAME, part)

    def stop(self, *_: object) -> None:
        self._asked += 1

    def run(self) -> int:
        """Returns 0 after everything has ended in order. `on_started` is called in a thread of its own."""
        with self._signals():
            self._look(revive=True)
            if self._on_started:
                threading.Thread(target=self._on_started, name="on-started", daemon=True).start()
            while not self._asked:
                time.sleep(POLL_INTERVAL_SECONDS)
                self._look(revive=True)
            self._end()
        return 0

    def _look(self, *, revive: bool) -> None:
        for watched in self._watched:
            watched.check(time.monotonic(), revive=revive)

    def _end(self) -> None:
        self.say("stopping …")
        for watched in self._watched:
            watched.terminate()
        self._wait(POLITE_SECONDS, until_asked_again=True)
        for watched in self._watched:
            watched.kill()
        self._wait(KILLED_SECONDS)
        self._console.drain(0.2)

    def _wait(self, seconds: float, *, until_asked_again: bool = False) -> None:
        deadline = time.monotonic() + seconds
        while any(watched.alive for watched in self._watched) and time.monotonic() < deadline:
            if until_asked_again and self._asked > 1:
                return
            time.sleep(POLL_INTERVAL_SECONDS)
            self._look(revive=False)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
