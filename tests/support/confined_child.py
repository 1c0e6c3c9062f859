"""A confined child whose sources try to get out; the title of the answer says what happened."""

import os
import resource
import signal
import socket
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path

from services.domain.papers.paper import Entry, Listing
from services.sandbox.child import serve
from services.sandbox.confinement import confine

ATTEMPTS: dict[str, Callable[[str], object]] = {
    "read a file": lambda path: Path(path).read_bytes(),
    "write a file": lambda path: os.open(path, os.O_WRONLY),
    "create a file": lambda path: os.open(path, os.O_WRONLY | os.O_CREAT),
    "list a directory": os.listdir,
    "open a TCP socket": lambda _: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "open a UDP socket": lambda _: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "open a Unix socket": lambda _: socket.socket(socket.AF_UNIX),
    "run a program": lambda _: os.execv("/bin/true", ["true"]),
    "run a child": lambda _: subprocess.run(["/bin/true"], check=False),
    "fork": lambda _: os.fork(),
    "end the parent": lambda _: os.kill(os.getppid(), signal.SIGTERM),
    "become root": lambda _: os.setuid(0),
    "raise a limit": lambda _: resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000)),
}


def parse(kind: str, body: bytes, day: date) -> Listing:
    try:
        ATTEMPTS[kind](os.fsdecode(body))
    except (PermissionError, ValueError) as error:
        return Listing(format="test", entries=(Entry(title=f"refused: {type(error).__name__}"),))
    return Listing(format="test", entries=(Entry(title="done"),))


if __name__ == "__main__":
    serve(parse, confine)
