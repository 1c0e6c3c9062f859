"""The parent's side: each process has one child, started when first needed and replaced when it exceeds its limits."""

import atexit
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import BinaryIO

from services.domain.papers.paper import Listing
from services.errors import PaperwireError, SourceError
from services.sandbox import codec
from services.telemetry import log

COMMAND = (sys.executable, "-P", "-m", "services.sandbox")
STARTUP_TIMEOUT = 30.0
"""Seconds."""
MAX_REQUESTS = 1_000
"""The child is replaced after this number of requests."""
MAX_GROWTH = 128 * 2**20
"""Bytes of memory that a child may keep after an answer; beyond them it is replaced."""
MAX_MISSING = 1000
"""Bytes of the list of missing protections."""
USUAL_BODY = 10 * 2**20
"""Bytes, the most that a fetch gives. The limits grow in proportion for larger files, which only people import."""
# Without settings: the child reads hostile bytes and needs no secrets.
_INHERITED = {"PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of reading one listing."""

    processor: int = 10
    """Seconds."""
    time: float = 30.0
    """Seconds."""
    memory: int = 512 * 2**20
    """Bytes."""
    answer: int = 64 * 2**20
    """Bytes."""

    def times(self, n: int) -> "Limits":
        return Limits(processor=self.processor * n, time=self.time * n, memory=self.memory * n, answer=self.answer * n)


class _Died(Exception):
    """The child ended although it kept its limits. The message states the signal or the exit code."""


class ParserProcess:
    """Parses listings in a child process. Threads that share it wait for each other."""

    def __init__(self, command: Sequence[str] = COMMAND, limits: Limits | None = None) -> None:
        self._command, self._limits = command, limits or Limits()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._requests = 0

    def parse(self, kind: str, body: bytes, day: date) -> Listing:
        """Raises SourceError, also when a limit is exceeded, and PaperwireError when no child starts."""
        limits = self._limits.times(max(1, -(-len(body) // USUAL_BODY)))
        with self._lock:
            try:
                return self._read(kind, body, day, limits)
            except _Died as death:
                # Perhaps not because of the listing: the kernel kills processes when memory is short.
                log.warning(
                    "the process that reads listings ended; the listing is read again", kind=kind, how=str(death)
                )
            try:
                return self._read(kind, body, day, limits)
            except _Died as death:
                raise SourceError(f"reading it ends the process that reads it ({death})") from None

    def close(self) -> None:
        """Ends the child; a later request starts another."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """The process id of the child; None if none runs."""
        return self._child.pid if self._child else None

    def _read(self, kind: str, body: bytes, day: date, limits: Limits) -> Listing:
        try:
            request = codec.Request(kind=kind, day=day, cpu=limits.processor, memory=limits.memory)
            answer = self._ask(request, body, limits)
            if answer.listing is not None:
                return answer.listing
        except ValueError as error:
            # A frame beyond its limit, or an answer that the child's program cannot have written.
            self._end()
            raise SourceError("reading it gives more than a listing may contain, or no listing at all") from error
        except BaseException:
            # The exchange was interrupted, by a time limit of the worker: the next answer would belong to this request.
            self._end()
            raise
        if answer.out_of_memory:
            self._end()
            raise SourceError(f"reading it takes more than {limits.memory // 2**20} MiB of memory")
        if answer.bug:
            log.error("a source failed on a listing", kind=kind, what=answer.bug, at=answer.at)
            raise SourceError(f"it could not be read: {answer.bug}, paperwire's own fault, see the log")
        raise SourceError(answer.error)

    def _ask(self, request: codec.Request, body: bytes, limits: Limits) -> codec.Answer:
        child = self._child = self._child or _start(self._command)
        requests, answers = _pipes(child)
        with _kill_after(child, limits.time) as timed_out:
            try:
                codec.send(requests, codec.encode(request))
                codec.send(requests, body)
                answer = codec.decode(codec.receive(answers, limits.answer), codec.Answer)
                growth = codec.decode(codec.receive(answers, limit=20), int)
            except (EOFError, OSError):
                code = self._end()
                if code == -signal.SIGXCPU:
                    raise SourceError(f"reading it takes more than {limits.processor} s of processor time") from None
                if timed_out.is_set():
                    raise SourceError(f"reading it takes longer than {limits.time:g} s") from None
                raise _Died(f"signal {-code}" if code < 0 else f"exit code {code}") from None
        self._requests += 1
        if self._requests >= MAX_REQUESTS or growth > MAX_GROWTH:
            self._end()
        return answer

    def _end(self) -> int:
        """Ends the child if there is one; returns its exit code."""
        child, self._child, self._requests = self._child, None, 0
        return _kill(child) if child else 0


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    # In a session of its own, so that it ends with the parent's end of its pipe, not by signals to the process group.
    # Until it is ready it shares the parent's standard error, so that an error on startup is seen.
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name in _INHERITED} | {"OPENBLAS_NUM_THREADS": "1"},
        cwd="/",
        start_new_session=True,
    )
    try:
        with _kill_after(child, STARTUP_TIMEOUT):
            missing = codec.decode(codec.receive(_pipes(child)[1], limit=MAX_MISSING), list[str])
    except (EOFError, ValueError, OSError):
        code = _kill(child)
        raise PaperwireError(f"the process that reads listings does not start (exit code {code}); see above") from None
    except BaseException:
        _kill(child)
        raise
    _report(tuple(missing))
    return child


@cache
def _report(missing: tuple[str, ...]) -> None:
    """Logs once what the child is not protected by on this machine."""
    if missing:
        log.warning("the process that reads listings lacks protections of this machine", missing=", ".join(missing))


def _pipes(child: subprocess.Popen[bytes]) -> tuple[BinaryIO, BinaryIO]:
    assert child.stdin is not None
    assert child.stdout is not None
    return child.stdin, child.stdout  # type: ignore[return-value]


def _kill(child: subprocess.Popen[bytes]) -> int:
    """Kills the child if it still runs; returns its exit code."""
    child.kill()
    code = child.wait()
    for pipe in _pipes(child):
        with suppress(OSError):  # The pipe may hold bytes that the child did not read.
            pipe.close()
    return code


@contextmanager
def _kill_after(child: subprocess.Popen[bytes], seconds: float) -> Iterator[threading.Event]:
    """Kills the child after so many seconds; the event is set when that happened."""
    timed_out = threading.Event()

    def time_out() -> None:
        timed_out.set()
        child.kill()

    timer = threading.Timer(seconds, time_out)
    timer.daemon = True
    timer.start()
    try:
        yield timed_out
    finally:
        timer.cancel()


@cache
def _own_parser(pid: int) -> ParserProcess:
    """One for each process, since a forked process must not use the pipes of its parent nor end the parent's child."""
    parser = ParserProcess()
    atexit.register(lambda: parser.close() if os.getpid() == pid else None)
    return parser


def parse(kind: str, body: bytes, day: date) -> Listing:
    """The result of `plugins.source(kind).parse`, within limits. Raises SourceError whatever the bytes cause."""
    return _own_parser(os.getpid()).parse(kind, body, day)


def close() -> None:
    """Ends this process's child, if it has one."""
    _own_parser(os.getpid()).close()
