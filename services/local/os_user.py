"""The OS user that PostgreSQL, which refuses to be root, runs as; and the way to its files."""

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
class Account:
    uid: int
    gid: int


def server_account(folder: Path) -> Account | None:
    """Whom the server of `folder` runs as: None for ourselves; for root the folder's owner, else `pgserver`."""
    if os.geteuid() != 0:
        return None
    if folder.exists() and (owner := folder.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        entry = _create()
    return Account(entry.pw_uid, entry.pw_gid)


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
        f"PostgreSQL does not run as root: create an OS user named {NAME}, run paperwire as an ordinary user, "
        "or set PAPERWIRE_DATABASE_URL"
    )


def open_way(path: Path) -> None:
    """Lets every OS user pass through the folders above `path`, not list them; changes only what needs it."""
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def way_is_open(path: Path) -> bool:
    """Whether every OS user can reach, read and execute `path`."""
    wanted = stat.S_IROTH | stat.S_IXOTH
    return path.stat().st_mode & wanted == wanted and all(p.stat().st_mode & stat.S_IXOTH for p in path.parents)
