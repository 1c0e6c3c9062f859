"""One log for many processes: whole lines, each prefixed with the name of the process that wrote it."""

import os
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, TextIO

MAX_LINE_BYTES = 8192
"""Longer lines are split."""
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
COLOURS = (36, 33, 35, 32, 34, 96, 93, 95)


class Console:
    """Writes the lines of several named processes to one stream, one line at a time."""

    def __init__(self, stream: TextIO, names: Sequence[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._readers: list[threading.Thread] = []
        self._width = max(map(len, names), default=0)
        coloured = stream.isatty() and "NO_COLOR" not in os.environ
        self._colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)} if coloured else {}

    def say(self, name: str, line: str) -> None:
        prefix = f"{name:<{self._width}} |"
        if colour := self._colours.get(name):
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        # A closed terminal or pipe must not end the service.
        with self._lock, suppress(OSError, ValueError):
            self._stream.write(f"{prefix} {line}\n")
            self._stream.flush()

    def copy(self, name: str, output: IO[bytes]) -> None:
        """Copies `output` in a thread until every process that holds its other end has ended."""

        def read() -> None:
            with output, suppress(OSError, ValueError):
                while line := output.readline(MAX_LINE_BYTES):
                    self.say(name, UNPRINTABLE.sub("\ufffd", line.decode(errors="replace").rstrip("\r\n")))

        reader = threading.Thread(target=read, name=f"log of {name}", daemon=True)
        self._readers = [running for running in self._readers if running.is_alive()] + [reader]
        reader.start()

    def drain(self, seconds: float) -> None:
        """Waits up to `seconds` for the last lines of each ended process."""
        for reader in self._readers:
            reader.join(seconds)
