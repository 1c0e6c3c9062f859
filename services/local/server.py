"""What the embedded servers have in common."""

import signal
import subprocess
from pathlib import Path
from typing import ClassVar, Protocol

from services.local.datadir import DataDir
from services.local.process import Steps


class Server(Protocol):
    """A server that keeps its files in the data directory and listens on a unix socket."""

    name: ClassVar[str]
    title: ClassVar[str]
    """What people call it."""
    steps: ClassVar[Steps]
    """How it is stopped."""
    death_signal: ClassVar[signal.Signals]
    """What it gets when the process that keeps it is killed."""

    def __init__(self, home: DataDir) -> None: ...

    @property
    def url(self) -> str: ...

    @property
    def log_file(self) -> Path: ...

    def prepare(self) -> None:
        """Makes what a first start needs. Raises ConfigError when it cannot run here."""

    def clear(self) -> None:
        """Ends what a killed run left running and removes its leftovers; never touches another process."""

    def spawn(self) -> "subprocess.Popen[bytes]":
        """Starts it in the foreground."""

    def problem(self) -> str | None:
        """Why it cannot be used yet; None when it can."""
