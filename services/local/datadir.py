"""The data directory: what lies where in it, who may enter it, and how it is kept to its owner."""

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from services.errors import ConfigError
from services.local.os_user import Account, open_way

SOCKET_PATH_BYTES = 100
"""Room in a unix socket's address: 108 bytes on Linux, 104 on macOS."""
PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+-]+")
LOG_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class DataDir:
    """Where everything embedded lives; made when missing, closed to other people."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> "DataDir":
        try:
            folder = cls(path.expanduser().resolve())
            # Root's PostgreSQL runs as another OS user, who must pass through (not read) these two.
            mode = 0o711 if os.geteuid() == 0 else 0o700
            for part in (folder.path, folder.run, folder.logs):
                part.mkdir(mode=mode, parents=True, exist_ok=True)
            os.close(os.open(folder.run / "up.lock", os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise ConfigError(
                f"cannot use the data directory {path}: {error.strerror}: {error.filename}; "
                "choose another one with PAPERWIRE_DATA_DIR or --data-dir"
            ) from None
        return folder

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def log_file(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def socket_dir(self, name: str, socket: str) -> Path:
        """The folder of a server's socket: in the data directory, or in /tmp when no socket's address can hold that.

        Paths that would need quoting in a URL go to /tmp as well: every client reads those in its own way.
        """
        here = self.run / name
        if len(os.fsencode(here / socket)) <= SOCKET_PATH_BYTES and PLAIN_PATH.fullmatch(str(here)):
            return here
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return Path("/tmp") / f"paperwire-{os.geteuid()}-{digest}-{name}"


def make_private(folder: Path, account: Account | None) -> None:
    """Makes `folder` for one OS user alone; somebody else's folder of that name is an error, never used."""
    owner = account.uid if account else os.geteuid()
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (owner, os.geteuid()):
        raise ConfigError(f"{folder} belongs to somebody else; remove it, or choose a short plain data directory")
    folder.chmod(0o700)
    if account:
        os.chown(folder, account.uid, account.gid)
        open_way(folder)


def rotate(log_file: Path) -> None:
    """Keeps one older log beside the present one."""
    if log_file.exists() and log_file.stat().st_size > LOG_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))
