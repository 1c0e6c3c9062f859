"""Using an embedded server together with others: the first one in has it started, the last one out sees it end."""

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
"""Takes a line for the person who waits."""

READY_SECONDS = 120.0
"""Long, since recovering from a crash takes its time; a server that does not start at all is noticed at once."""
ENTER_SECONDS = 300.0
LEAVE_SECONDS = 8.0
WAIT_BEFORE_SAYING = 2.0


class SharedServer:
    """This process's use of one embedded server."""

    def __init__(self, home: DataDir, server: Server, say: Say) -> None:
        self._home = home
        self._server = server
        self._say = say
        self._locks = Locks(home, server.name)
        self._leaving = False

    @contextmanager
    def used(self, prepare: Callable[[str], None] | None = None) -> Iterator[str]:
        """The server's URL, as long as it is needed; `prepare` is run on it first, by one process at a time."""
        try:
            self._enter()
            self._locks.users.take(shared=True)
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
        """Starts the keeper again if somebody killed it; for users who stay."""
        if not self._locks.keeper.held_elsewhere() and self._locks.entry_lock.take():
            try:
                self._say(f"{self._server.title} is gone; starting it again")
                self._start()
            finally:
                self._locks.entry_lock.release()

    def _enter(self) -> None:
        if self._locks.entry_lock.take(wait=WAIT_BEFORE_SAYING):
            return
        self._say(f"waiting for another paperwire command that starts {self._server.title} on {self._home.path} …")
        if not self._locks.entry_lock.take(wait=ENTER_SECONDS):
            raise PaperwireError(f"another paperwire command has been starting {self._server.title} for too long")

    def _start(self) -> None:
        keeper = None
        log_from = 0
        if not self._locks.keeper.held_elsewhere():
            self._server.prepare()
            self._server.clear()  # before anybody takes a leftover's answer for the new server's
            rotate(self._server.log_file)
            self._server.log_file.touch(mode=0o600)
            log_from = self._server.log_file.stat().st_size
            keeper = self._spawn_keeper()
        deadline = time.monotonic() + READY_SECONDS
        say_at = time.monotonic() + WAIT_BEFORE_SAYING
        while problem := self._server.problem():
            gone = (keeper is None or keeper.poll() is not None) and not self._locks.keeper.held_elsewhere()
            if self._leaving:
                return
            if gone or time.monotonic() > deadline:
                raise PaperwireError(self._failure(problem, log_from))
            if time.monotonic() > say_at:
                self._say(f"waiting for {self._server.title}: {problem}")
                say_at = deadline
            time.sleep(0.03)

    def _spawn_keeper(self) -> "subprocess.Popen[bytes]":
        # In a session of its own: Ctrl-C in the terminal is for the commands, the keeper goes when they have gone.
        argv = [sys.executable, "-P", "-m", "services.local.server_process", self._server.name, str(self._home.path)]
        env = {name: value for name, value in os.environ.items() if name != "PAPERWIRE_SUPERVISED"}
        with self._server.log_file.open("ab") as log:
            keeper = subprocess.Popen(
                argv, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        threading.Thread(target=keeper.wait, name=f"{self._server.name}-keeper", daemon=True).start()
        return keeper

    def _failure(self, problem: str, log_from: int) -> str:
        with suppress(OSError), self._server.log_file.open("rb") as log:
            log.seek(log_from)
            lines = log.read(1_000_000).decode(errors="replace").splitlines()
            said = [line.strip() for line in lines if line.strip() and not line.startswith("paperwire:")]
            fatal = [line for line in said if "FATAL:" in line or "PANIC:" in line]
            problem = (fatal or said or [problem])[-1]
        return f"{self._server.title} does not start: {problem} (log: {self._server.log_file})"

    def _leave(self) -> None:
        if not self._locks.entry_lock.take(wait=LEAVE_SECONDS) or not self._locks.users.take():
            return  # others are in it, or on their way; they leave after us
        deadline = time.monotonic() + LEAVE_SECONDS
        told = False
        while self._locks.keeper.held_elsewhere():
            number = self._locks.keeper.read_note()
            if number.isdigit() and (not told or time.monotonic() > deadline):
                with suppress(ProcessLookupError):
                    os.kill(int(number), SIGKILL if told else SIGTERM)
                if told:
                    return
                told = True
            time.sleep(0.02)
