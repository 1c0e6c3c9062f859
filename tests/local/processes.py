"""Waiting for processes, and scripts to kill."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg

DEADLINE = 20.0


def until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """What `condition` gives as soon as it is true."""
    end = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        assert time.monotonic() < end, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def script(code: str, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
    """Runs Python code as a process; its first line on stdout says that it has come so far."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAPERWIRE_")}
    environment |= options.pop("env", {})
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: "subprocess.Popen[str]", *, kill: bool = False) -> int:
    if kill:
        process.kill()
    try:
        return process.wait(DEADLINE)
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def connect(url: str) -> "psycopg.Connection[tuple[Any, ...]]":
    return psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), autocommit=True)


def ask(url: str, question: str) -> Any:
    with connect(url) as connection:
        cursor = connection.execute(question.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
