"""The OS user that PostgreSQL runs as, since it refuses to run as root, and its access to files."""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from services.errors import ConfigError

NAME = "pgserver"


@dataclass(frozen=True, slots=True)
class OsUser:
    uid: int
    gid: int


def server_user(folder: Path) -> OsUser | None:
    """The OS user for the server of `folder`: None means the current user; root uses the owner or `pgserver`."""
    if os.geteuid() != 0:
        return None
    if folder.exists() and (owner := folder.stat()).st_uid != 0:
        return OsUser(owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        entry = _create()
    return OsUser(entry.pw_uid, entry.pw_gid)


def _create() -> pwd.struct_passwd:
    useradd = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", NAME]
    busybox = ["adduser", "-S", "-D", "-H", "-s", "/bin/false", NAME]
    for command in (useradd, busybox):
        if shutil.which(command[0]):
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
            try:
                return pwd.getpwnam(NAME)
            except KeyError:
                continue
    raise ConfigError(
        f"PostgreSQL refuses to run as root: create an OS user named {NAME}, run paperwire as an ordinary user, "
        "or set PAPERWIRE_DATABASE_URL"
    )


def allow_traversal(path: Path) -> None:
    """Lets every OS user traverse the folders above `path`, without listing them (mode o+x)."""
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def is_executable_by_all(path: Path) -> bool:
    """Whether every OS user can reach, read and execute `path`."""
    wanted = stat.S_IROTH | stat.S_IXOTH
    return path.stat().st_mode & wanted == wanted and all(p.stat().st_mode & stat.S_IXOTH for p in path.parents)
