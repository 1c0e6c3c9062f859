"""Locks that die with their holders, and those that the users of an embedded server share."""

import fcntl
import os
import time
from pathlib import Path

from services.local.datadir import DataDir


class Lock:
    """A lock on a file that the kernel releases when its holder ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, *, shared: bool = False, wait: float = 0.0) -> bool:
        """True once it is ours, False when `wait` seconds have passed. Converting it may lose it."""
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.02)

    def held_elsewhere(self) -> bool:
        """Whether somebody holds it exclusively; not to be asked of a lock that we hold."""
        if not self.take(shared=True):
            return True
        self.release()
        return False

    def release(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._file)

    def note(self, text: str) -> None:
        """Leaves a word for those who find it taken."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text.encode(), 0)

    def read_note(self) -> str:
        return os.pread(self._file, 1000, 0).decode(errors="replace").strip()

    def deleted(self) -> bool:
        """Whether the file is gone from its place: then nobody new can meet us here."""
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except OSError:
            return True


class Locks:
    """`gate`: one enters or leaves at a time; `users`: shared by all who use a server; `keeper`: held by its keeper."""

    def __init__(self, home: DataDir, name: str) -> None:
        self.entry_lock = Lock(home.run / f"{name}.gate")
        self.users = Lock(home.run / f"{name}.users")
        self.keeper = Lock(home.run / f"{name}.keeper")

    def close(self) -> None:
        for lock in (self.users, self.keeper, self.entry_lock):
            lock.close()

    def nobody_left(self) -> bool:
        """Whether the server is unused; if so gate and users stay taken, and newcomers wait until we are gone."""
        if not self.entry_lock.take():
            return False
        if self.users.take():
            return True
        self.entry_lock.release()
        return False
