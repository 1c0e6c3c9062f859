"""Runs the processes of `paperwire up`: restarts them, copies their output to one log, and ends them together."""

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
from services.local.process import Backoff, has_ended, kill_group, launch

POLL_INTERVAL_SECONDS = 0.05
TERMINATE_TIMEOUT_SECONDS = 7.0
"""The time between SIGTERM and SIGKILL. With KILL_TIMEOUT_SECONDS it stays below the ten seconds of `docker stop`."""
KILL_TIMEOUT_SECONDS = 1.0
OWN_NAME = "up"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep running, with `env` added to this environment.

    It is restarted if the file `heartbeat` was not touched for `max_silence` seconds (0: never).
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    heartbeat: Path | None = None
    max_silence: float = 0.0


class Watched:
    """A child and its restarts. All times are from the monotonic clock, so a changed wall clock kills no child."""

    def __init__(self, child: Child, console: Console) -> None:
        self._child = child
        self._console = console
        self._backoff = Backoff()
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._restart_at = 0.0
        self._last_heartbeat: tuple[float, float] = (0.0, 0.0)
        """The modification time of the heartbeat file, and the monotonic time at which it was first seen."""

    @property
    def alive(self) -> bool:
        return self._process is not None

    def check(self, now: float, *, restart: bool) -> None:
        """Reaps a child that has ended, kills one whose heartbeat stopped, and restarts it after its pause."""
        if self._process is not None:
            if has_ended(self._process):
                self._reap(self._process, now, restart)
            elif restart and self._heartbeat_stopped(now):
                self._say(f"no heartbeat for {self._child.max_silence:g} s: killing it")
                self.kill()
        elif restart and now >= self._restart_at:
            self._start(now)

    def terminate(self) -> None:
        # Only the child, which then ends its own children in order. `kill` ends the whole group.
        if self._process is not None and not has_ended(self._process):
            os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        if self._process is not None:
            kill_group(self._process.pid)

    def _start(self, now: float) -> None:
        env = {**os.environ, "PYTHONUNBUFFERED": "1", **self._child.env, "PAPERWIRE_SUPERVISED": "1"}
        try:
            self._process = launch(self._child.argv, env=env, output=subprocess.PIPE, death_signal=signal.SIGTERM)
        except OSError as error:
            self._restart_at = now + self._backoff.after(0.0)
            self._say(f"cannot be started: {error.strerror}; trying again")
            return
        self._started_at = now
        self._last_heartbeat = (self._heartbeat_mtime(), now)
        if self._process.stdout:
            self._console.copy(self._child.name, self._process.stdout)

    def _reap(self, process: "subprocess.Popen[bytes]", now: float, restart: bool) -> None:
        kill_group(process.pid)  # before wait(), which would free the group's number; ends the children that it left
        status = process.wait()
        self._process = None
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit code {status}"
        if not restart:
            return
        pause = self._backoff.after(now - self._started_at)
        self._restart_at = now + pause
        self._say(f"{how}; restarting in {pause:g} s")

    def _heartbeat_mtime(self) -> float:
        try:
            return self._child.heartbeat.stat().st_mtime if self._child.heartbeat else 0.0
        except OSError:
            return 0.0

    def _heartbeat_stopped(self, now: float) -> bool:
        if not self._child.heartbeat or not self._child.max_silence:
            return False
        if (mtime := self._heartbeat_mtime()) != self._last_heartbeat[0]:
            self._last_heartbeat = (mtime, now)
        return now - self._last_heartbeat[1] > self._child.max_silence

    def _say(self, line: str) -> None:
        self._console.say(OWN_NAME, f"{self._child.name} {line}")


class Supervisor:
    """Runs children until `stop()`, SIGINT, SIGTERM or SIGHUP. A second one kills the children at once."""

    def __init__(
        self, children: Sequence[Child], *, log: TextIO | None = None, on_started: Callable[[], None] | None = None
    ) -> None:
        self._console = Console(log or sys.stderr, [*(child.name for child in children), OWN_NAME])
        self._watched = [Watched(child, self._console) for child in children]
        self._on_started = on_started
        self._stop_requests = 0

    def say(self, line: str) -> None:
        """Writes a line of the supervisor into the log."""
        for part in line.splitlines() or [""]:
            self._console.say(OWN_NAME, part)

    def stop(self, *_: object) -> None:
        self._stop_requests += 1

    def run(self) -> int:
        """Returns 0 once every child has ended. `on_started` runs in a thread of its own."""
        with self._signals():
            self._check(restart=True)
            if self._on_started:
                threading.Thread(target=self._on_started, name="on-started", daemon=True).start()
            while not self._stop_requests:
                time.sleep(POLL_INTERVAL_SECONDS)
                self._check(restart=True)
            self._end()
        return 0

    def _check(self, *, restart: bool) -> None:
        for watched in self._watched:
            watched.check(time.monotonic(), restart=restart)

    def _end(self) -> None:
        self.say("stopping …")
        for watched in self._watched:
            watched.terminate()
        self._wait(TERMINATE_TIMEOUT_SECONDS, until_second_request=True)
        for watched in self._watched:
            watched.kill()
        self._wait(KILL_TIMEOUT_SECONDS)
        self._console.drain(0.2)

    def _wait(self, seconds: float, *, until_second_request: bool = False) -> None:
        deadline = time.monotonic() + seconds
        while any(watched.alive for watched in self._watched) and time.monotonic() < deadline:
            if until_second_request and self._stop_requests > 1:
                return
            time.sleep(POLL_INTERVAL_SECONDS)
            self._check(restart=False)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {
            number: signal.signal(number, self.stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
