"""The data directory: its layout and its file permissions."""

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from services.errors import ConfigError
from services.local.os_user import OsUser, allow_traversal

MAX_SOCKET_PATH_BYTES = 100
"""The longest path of a unix socket: `sun_path` has 108 bytes on Linux and 104 on macOS."""
URL_SAFE_PATH = re.compile(r"[A-Za-z0-9_./+-]+")
MAX_LOG_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class DataDir:
    """The directory of the embedded servers. `at` creates it; other OS users cannot read it."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> "DataDir":
        try:
            folder = cls(path.expanduser().resolve())
            # If paperwire runs as root, PostgreSQL runs as another OS user, which must traverse these folders.
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
        """The folder of a server's socket: in the data directory, or in /tmp if that path is too long for a socket.

        A path that needs quoting in a URL goes to /tmp too, since clients unquote socket paths differently.
        """
        preferred = self.run / name
        if len(os.fsencode(preferred / socket)) <= MAX_SOCKET_PATH_BYTES and URL_SAFE_PATH.fullmatch(str(preferred)):
            return preferred
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return Path("/tmp") / f"paperwire-{os.geteuid()}-{digest}-{name}"


def make_private(folder: Path, user: OsUser | None) -> None:
    """Creates `folder` with mode 0700 for one OS user. Raises ConfigError if another user owns it."""
    owner = user.uid if user else os.geteuid()
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (owner, os.geteuid()):
        raise ConfigError(
            f"{folder} belongs to another OS user; remove it, or choose a short data directory in plain ASCII"
        )
    folder.chmod(0o700)
    if user:
        os.chown(folder, user.uid, user.gid)
        allow_traversal(folder)


def rotate(log_file: Path) -> None:
    """Renames a log above MAX_LOG_BYTES to `.log.1`, which replaces the previous one."""
    if log_file.exists() and log_file.stat().st_size > MAX_LOG_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))
