"""File locks that the kernel releases when their holder ends, and the three locks of an embedded server."""

import fcntl
import os
import time
from pathlib import Path

from services.local.datadir import DataDir


class Lock:
    """An flock(2) lock, which the kernel releases when its holder ends, even by SIGKILL."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, *, shared: bool = False, wait_seconds: float = 0.0) -> bool:
        """True once this process holds the lock, False after `wait` seconds.

        Converting between shared and exclusive is not atomic (flock(2)): another process may get the lock in between.
        """
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.02)

    def held_elsewhere(self) -> bool:
        """Whether another process holds the lock exclusively. Not valid while this process holds it."""
        if not self.take(shared=True):
            return True
        self.release()
        return False

    def release(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._file)

    def write_note(self, text: str) -> None:
        """Writes a text into the lock file for processes that find the lock taken."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text.encode(), 0)

    def read_note(self) -> str:
        return os.pread(self._file, 1000, 0).decode(errors="replace").strip()

    def deleted(self) -> bool:
        """Whether the lock file was deleted or replaced, so that new processes lock another file."""
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except OSError:
            return True


class Locks:
    """The locks of one embedded server.

    `entry_lock`: held while a process starts or stops using the server. `users_lock`: shared by every process that uses
    the server. `process_lock`: held by the server process (`server_process.py`), which notes its pid in it.
    """

    def __init__(self, home: DataDir, name: str) -> None:
        self.entry_lock = Lock(home.run / f"{name}.entry")
        self.users_lock = Lock(home.run / f"{name}.users")
        self.process_lock = Lock(home.run / f"{name}.process")

    def close(self) -> None:
        for lock in (self.users_lock, self.process_lock, self.entry_lock):
            lock.close()

    def take_if_unused(self) -> bool:
        """Whether no process uses the server. If so, keeps both locks: new users wait for the end of this process."""
        if not self.entry_lock.take():
            return False
        if self.users_lock.take():
            return True
        self.entry_lock.release()
        return False
