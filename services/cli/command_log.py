"""One line for each command that changes something: who ran which command on which rows, in `logs/commands.log`."""

import getpass
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

READ_ONLY = frozenset(
    {
        "audit", "backup", "deliveries", "preview", "why", "hold status", "quarantine list", "channel list",
        "silence list", "source list", "subscription list", "subscription show", "user list",
    }
)  # fmt: skip
"""Commands that change nothing."""
ROLES = frozenset({"up", "web", "worker", "scheduler"})
"""Commands that run until they are stopped, and log what they do themselves."""


def write(command: str, parameters: Mapping[str, Any], outcome: str) -> None:
    """Appends the line. Of the parameters only numbers and switches, since the others may be addresses and secrets.

    Without a data directory, or when it cannot be written to, there is no line.
    """
    if command in READ_ONLY | ROLES:
        return
    from services.settings import settings

    named = {name: value for name, value in parameters.items() if isinstance(value, int) and value not in (False, None)}
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "user": _user(),
        "command": command,
        "parameters": named,
        "outcome": outcome,
    }
    folder = settings().data_dir.expanduser() / "logs"
    with suppress(OSError):
        folder.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)  # as DataDir
        path = folder / "commands.log"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
            file.write(json.dumps(line) + "\n")


def _user() -> str:
    """The user of the operating system, also behind `sudo`."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
