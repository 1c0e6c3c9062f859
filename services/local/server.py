"""The interface of an embedded server."""

import signal
import subprocess
from pathlib import Path
from typing import ClassVar, Protocol

from services.local.datadir import DataDir
from services.local.process import Steps


class Server(Protocol):
    """A server with its files in the data directory that listens on a unix socket."""

    name: ClassVar[str]
    title: ClassVar[str]
    """The name in messages."""
    steps: ClassVar[Steps]
    """The signals that stop it."""
    death_signal: ClassVar[signal.Signals]
    """The signal it receives when its server process is killed."""

    def __init__(self, home: DataDir) -> None: ...

    @property
    def url(self) -> str: ...

    @property
    def log_file(self) -> Path: ...

    def prepare(self) -> None:
        """Creates the files of a first start. Raises ConfigError if the server cannot run on this machine."""

    def clear(self) -> None:
        """Ends processes and removes files that a killed run of this server left behind."""

    def spawn(self) -> "subprocess.Popen[bytes]":
        """Starts the server in the foreground."""

    def problem(self) -> str | None:
        """Why the server does not accept connections yet; None if it does."""
