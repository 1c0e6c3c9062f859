"""The shared use of an embedded server: the first user starts the server process, the last one waits for its end."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from signal import SIGKILL, SIGTERM

from services.errors import PaperwireError
from services.local.datadir import DataDir, rotate
from services.local.file_locks import Locks
from services.local.server import Server

Say = Callable[[str], None]
"""Prints a line for the person who waits."""

STARTUP_TIMEOUT_SECONDS = 120.0
"""Crash recovery of PostgreSQL can take this long. A server process that exits is noticed without this timeout."""
ENTRY_TIMEOUT_SECONDS = 300.0
EXIT_TIMEOUT_SECONDS = 8.0
QUIET_SECONDS = 2.0
"""A wait is reported once it lasts longer than this."""


class SharedServer:
    """The use of one embedded server by this process."""

    def __init__(self, home: DataDir, server: Server, say: Say) -> None:
        self._home = home
        self._server = server
        self._say = say
        self._locks = Locks(home, server.name)
        self._leaving = False

    @contextmanager
    def used(self, prepare: Callable[[str], None] | None = None) -> Iterator[str]:
        """Yields the URL of the running server. `prepare` runs on it first, in one process at a time."""
        try:
            self._enter()
            self._locks.users_lock.take(shared=True)
            try:
                self._start()
                if prepare:
                    prepare(self._server.url)
                self._locks.entry_lock.release()
                yield self._server.url
            finally:
                self._leaving = True
                self._leave()
        finally:
            self._locks.close()

    def revive(self) -> None:
        """Starts the server process again if it was killed."""
        if not self._locks.process_lock.held_elsewhere() and self._locks.entry_lock.take():
            try:
                self._say(f"{self._server.title} has ended; restarting it")
                self._start()
            finally:
                self._locks.entry_lock.release()

    def _enter(self) -> None:
        if self._locks.entry_lock.take(wait_seconds=QUIET_SECONDS):
            return
        self._say(f"waiting for another paperwire command to start {self._server.title} on {self._home.path} …")
        if not self._locks.entry_lock.take(wait_seconds=ENTRY_TIMEOUT_SECONDS):
            raise PaperwireError(
                f"another paperwire command has been starting {self._server.title} for {ENTRY_TIMEOUT_SECONDS:g} s; "
                "end that command and try again"
            )

    def _start(self) -> None:
        server_process = None
        log_start = 0
        if not self._locks.process_lock.held_elsewhere():
            self._server.prepare()
            self._server.clear()  # before problem(), which an old server would answer
            rotate(self._server.log_file)
            self._server.log_file.touch(mode=0o600)
            log_start = self._server.log_file.stat().st_size
            server_process = self._spawn_server_process()
        deadline = time.monotonic() + STARTUP_TIMEOUT_SECONDS
        say_at = time.monotonic() + QUIET_SECONDS
        while problem := self._server.problem():
            exited = server_process is None or server_process.poll() is not None
            if self._leaving:
                return
            if (exited and not self._locks.process_lock.held_elsewhere()) or time.monotonic() > deadline:
                raise PaperwireError(self._failure(problem, log_start))
            if time.monotonic() > say_at:
                self._say(f"{self._server.title} is still starting; the log is {self._server.log_file}")
                say_at = deadline
            time.sleep(0.03)

    def _spawn_server_process(self) -> "subprocess.Popen[bytes]":
        # A new session, so that Ctrl-C in the terminal ends only the commands. The server process ends after them.
        argv = [sys.executable, "-P", "-m", "services.local.server_process", self._server.name, str(self._home.path)]
        env = {name: value for name, value in os.environ.items() if not name.startswith("PAPERWIRE_")}
        with self._server.log_file.open("ab") as log:
            server_process = subprocess.Popen(
                argv, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        threading.Thread(target=server_process.wait, name=f"{self._server.name}-process", daemon=True).start()
        return server_process

    def _failure(self, problem: str, log_start: int) -> str:
        with suppress(OSError), self._server.log_file.open("rb") as log:
            log.seek(log_start)
            lines = log.read(1_000_000).decode(errors="replace").splitlines()
            messages = [line.strip() for line in lines if line.strip() and not line.startswith("paperwire:")]
            fatal = [line for line in messages if "FATAL:" in line or "PANIC:" in line]
            problem = (fatal or messages or [problem])[-1]
        return f"{self._server.title} does not start: {problem} (log: {self._server.log_file})"

    def _leave(self) -> None:
        if not self._locks.entry_lock.take(wait_seconds=EXIT_TIMEOUT_SECONDS) or not self._locks.users_lock.take():
            return  # other processes use the server or are about to
        deadline = time.monotonic() + EXIT_TIMEOUT_SECONDS
        terminated = False
        while self._locks.process_lock.held_elsewhere():
            pid = self._locks.process_lock.read_note()
            if pid.isdigit() and (not terminated or time.monotonic() > deadline):
                with suppress(ProcessLookupError):
                    os.kill(int(pid), SIGKILL if terminated else SIGTERM)
                if terminated:
                    return
                terminated = True
            time.sleep(0.02)
