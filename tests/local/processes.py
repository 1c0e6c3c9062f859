"""Helpers that start processes, wait for conditions and query the database."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg

TIMEOUT_SECONDS = 20.0


def until(condition: Callable[[], Any], what: str, seconds: float = TIMEOUT_SECONDS, pause: float = 0.02) -> Any:
    """Waits until `condition()` is true and returns its value; asks every `pause` seconds."""
    end = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        assert time.monotonic() < end, f"after {seconds:g} s it is not true that {what}"
        time.sleep(pause)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def script(code: str, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
    """Starts Python code as a process. Its first line on stdout tells the test that it is ready."""
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
        return process.wait(TIMEOUT_SECONDS)
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def connect(url: str) -> "psycopg.Connection[tuple[Any, ...]]":
    return psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), autocommit=True)


def query(url: str, sql: str) -> Any:
    with connect(url) as connection:
        cursor = connection.execute(sql.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
