"""Starts processes of the service as forks of a process that has imported the libraries, but no module of paperwire.

A fork saves two thirds of the start-up time. It has its own session, environment, log and signals like any process.
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


class ForkedProcess:
    """The part of `subprocess.Popen` that tests need, for a child of the fork server."""

    def __init__(self, fork_server: "ForkServer", pid: int) -> None:
        self._fork_server, self.pid = fork_server, pid
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            self._code = self._fork_server.ask(poll=self.pid)
        return self._code

    def wait(self, seconds: float) -> int:
        end = time.monotonic() + seconds
        while (code := self.poll()) is None:
            assert time.monotonic() < end, f"process {self.pid} did not end in {seconds:g} s"
            time.sleep(0.02)
        return code


class ForkServer:
    def __init__(self) -> None:
        command = [sys.executable, "-P", __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def start(self, arguments: Sequence[str], env: Mapping[str, str], log: Path) -> ForkedProcess:
        """Runs `python -P -m ARGUMENTS` in the folder of the log."""
        return ForkedProcess(self, self.ask(start={"arguments": list(arguments), "env": dict(env), "log": str(log)}))

    def ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _serve() -> dict[str, Any] | None:
    """Answers requests until stdin closes. In a forked child it returns what the child is to run."""
    while line := sys.stdin.readline():
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif (answer := os.fork()) == 0:
            return dict(request["start"])
        print(json.dumps(answer), flush=True)
    return None


def _run(arguments: Sequence[str], env: Mapping[str, str], log: str) -> None:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number, to in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(number, to)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(Path(log).parent)
    sys.argv = list(arguments)
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    if (child := _serve()) is not None:
        _run(**child)
