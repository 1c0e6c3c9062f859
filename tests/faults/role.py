"""One process of the service under test: its log, and signals to it and its children."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.faults.fork_server import ForkServer


class Role:
    def __init__(self, fork_server: ForkServer, arguments: Sequence[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        self.log.touch()
        self.process = fork_server.start(arguments, env, log)

    def logged(self, text: str) -> int:
        """How often the text is in the log."""
        return self.log.read_text(errors="replace").count(text)

    def sigkilled(self) -> int:
        """How many of its processes SIGKILL ended."""
        return self.logged("signal 9") + (self.process.poll() == -signal.SIGKILL)

    def tree(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def send(self, number: signal.Signals) -> None:
        for process in self.tree():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
