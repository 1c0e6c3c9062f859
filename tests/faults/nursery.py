"""Where processes of the service come from: forks of one that has imported the libraries, but nothing of ours.

A fork saves two thirds of a start's work and is else a process like any other: own session, environment, log, signals.
"""

import importlib
import json
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

LIBRARIES = (
    "celery.bin.worker", "celery.worker.worker", "kombu.transport.redis", "redis", "psycopg", "numpy",
    "sqlalchemy.dialects.postgresql.psycopg", "pgvector.sqlalchemy", "pydantic_settings", "httpx2", "structlog",
    "prometheus_client", "apscheduler.schedulers.background", "jinja2", "alembic", "fastapi", "uvicorn",
)  # fmt: skip


class Process:
    """As much of `subprocess.Popen` as tests need, for a child of the nursery."""

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self._nursery, self.pid = nursery, pid
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            self._code = self._nursery.ask(poll=self.pid)
        return self._code

    def wait(self, seconds: float) -> int:
        end = time.monotonic() + seconds
        while (code := self.poll()) is None:
            assert time.monotonic() < end, f"process {self.pid} did not end in {seconds:g} s"
            time.sleep(0.02)
        return code


class Nursery:
    def __init__(self) -> None:
        command = [sys.executable, "-P", __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def start(self, words: Sequence[str], env: Mapping[str, str], log: Path) -> Process:
        """Runs `python -P -m WORDS` in the log's folder."""
        return Process(self, self.ask(start={"words": list(words), "env": dict(env), "log": str(log)}))

    def ask(self, **what: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _serve() -> dict[str, Any] | None:
    """Answers until nobody asks any more; in a child it returns what the child is to be."""
    while line := sys.stdin.readline():
        asked = json.loads(line)
        if "poll" in asked:
            pid, status = os.waitpid(asked["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif (answer := os.fork()) == 0:
            return dict(asked["start"])
        print(json.dumps(answer), flush=True)
    return None


def _become(words: Sequence[str], env: Mapping[str, str], log: str) -> None:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number, to in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(number, to)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(Path(log).parent)
    sys.argv = list(words)
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    if (child := _serve()) is not None:
        _become(**child)
