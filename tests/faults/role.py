"""One process of the service under test, and hands to hurt it with."""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.faults.nursery import Nursery


class Role:
    """One process of the service, with its children."""

    def __init__(self, nursery: Nursery, words: Sequence[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        self.log.touch()
        self.process = nursery.start(words, env, log)

    def said(self, words: str) -> int:
        return self.log.read_text(errors="replace").count(words)

    def lost(self) -> int:
        """How many of its children, or itself, died by `kill -9`."""
        return self.said("signal 9") + (self.process.poll() == -signal.SIGKILL)

    def tree(self) -> list[psutil.Process]:
        try:
            whole = psutil.Process(self.process.pid)
            return [whole, *whole.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def send(self, number: signal.Signals) -> None:
        for one in self.tree():
            with suppress(psutil.NoSuchProcess):
                one.send_signal(number)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
