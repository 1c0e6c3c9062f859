"""The parent's side: one child a process, started when first needed, killed when it exceeds, and then another."""

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
SECONDS_TO_START = 30.0
MAX_REQUESTS = 1_000
MAX_GROWTH = 128 * 2**20
"""Bytes of memory that a child keeps when it has answered; beyond it the next request gets a new one."""
USUAL_BODY = 10 * 2**20
"""What a fetch brings at most; a larger file, which only a person can bring, gets as much more of everything."""
# No settings: the child reads hostile bytes and needs no secrets.
_INHERITED = {"PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What reading one listing may take, in seconds and bytes."""

    processor: int = 10
    time: float = 30.0
    memory: int = 512 * 2**20
    answer: int = 64 * 2**20

    def times(self, n: int) -> "Allowance":
        """`n` times as much of everything."""
        return Allowance(
            processor=self.processor * n, time=self.time * n, memory=self.memory * n, answer=self.answer * n
        )


class _Died(Exception):
    """The child ended although it kept to its allowance; the message says how."""


class ParserProcess:
    """Reads listings in a child process; threads that share it wait for each other."""

    def __init__(self, command: Sequence[str] = COMMAND, allowance: Allowance | None = None) -> None:
        self._command, self._allowance = command, allowance or Allowance()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._requests = 0

    def parse(self, kind: str, body: bytes, day: date) -> Listing:
        """Raises SourceError, also when reading takes more than it may, and PaperwireError when no child starts."""
        allowed = self._allowance.times(max(1, -(-len(body) // USUAL_BODY)))
        with self._lock:
            try:
                return self._read(kind, body, day, allowed)
            except _Died as death:
                # The listing need not be to blame: the kernel kills as well when it is short of memory.
                log.warning("the process that reads listings ended, once more", kind=kind, how=str(death))
            try:
                return self._read(kind, body, day, allowed)
            except _Died as death:
                raise SourceError(f"reading it ends the process that reads it ({death})") from None

    def close(self) -> None:
        """Ends the child; a later request starts another."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """Of the child, if there is one."""
        return self._child.pid if self._child else None

    def _read(self, kind: str, body: bytes, day: date, allowed: Allowance) -> Listing:
        try:
            request = codec.Request(kind=kind, day=day, cpu=allowed.processor, memory=allowed.memory)
            answer = self._ask(request, body, allowed)
            if answer.listing is not None:
                return answer.listing
        except ValueError as error:
            # Of a frame beyond its limit, and of everything that is not what our own child says.
            self._end()
            raise SourceError("reading it gives more than a listing may hold, or nonsense") from error
        except BaseException:
            # An exchange that was left half-way, by a time limit of the worker's: the next answer would be of this one.
            self._end()
            raise
        if answer.out_of_memory:
            self._end()
            raise SourceError(f"reading it takes more than {allowed.memory // 2**20} MiB of memory")
        if answer.bug:
            log.error("a source failed on a listing", kind=kind, what=answer.bug, at=answer.at)
            raise SourceError(f"it could not be read: {answer.bug}, a fault of paperwire's that its log tells more of")
        raise SourceError(answer.error)

    def _ask(self, request: codec.Request, body: bytes, allowed: Allowance) -> codec.Answer:
        child = self._child = self._child or _start(self._command)
        requests, answers = _pipes(child)
        with _alarm(child, allowed.time) as rang:
            try:
                codec.send(requests, codec.encode(request))
                codec.send(requests, body)
                answer = codec.decode(codec.receive(answers, allowed.answer), codec.Answer)
                grown = codec.decode(codec.receive(answers, limit=20), int)
            except (EOFError, OSError):
                code = self._end()
                if code == -signal.SIGXCPU:
                    raise SourceError(f"reading it takes more than {allowed.processor} s of processor time") from None
                if rang.is_set():
                    raise SourceError(f"reading it takes longer than {allowed.time:g} s") from None
                raise _Died(f"signal {-code}" if code < 0 else f"exit code {code}") from None
        self._requests += 1
        if self._requests >= MAX_REQUESTS or grown > MAX_GROWTH:
            self._end()
        return answer

    def _end(self) -> int:
        """Ends the child if there is one; how it ended."""
        child, self._child, self._requests = self._child, None, 0
        return _kill(child) if child else 0


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    # A session of its own: it ends with our end of its pipe, not by signals meant for others. Until it is ready its
    # standard error is ours, so that what keeps it from starting is seen.
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name in _INHERITED} | {"OPENBLAS_NUM_THREADS": "1"},
        cwd="/",
        start_new_session=True,
    )
    try:
        with _alarm(child, SECONDS_TO_START):
            codec.receive(_pipes(child)[1], limit=0)
    except (EOFError, ValueError, OSError):
        code = _kill(child)
        raise PaperwireError(f"the process that reads listings does not start (exit code {code}); see above") from None
    except BaseException:
        _kill(child)
        raise
    return child


def _pipes(child: subprocess.Popen[bytes]) -> tuple[BinaryIO, BinaryIO]:
    assert child.stdin is not None
    assert child.stdout is not None
    return child.stdin, child.stdout  # type: ignore[return-value]


def _kill(child: subprocess.Popen[bytes]) -> int:
    """Kills the child if it still runs; its exit code."""
    child.kill()
    code = child.wait()
    for pipe in _pipes(child):
        with suppress(OSError):  # what it has not taken yet
            pipe.close()
    return code


@contextmanager
def _alarm(child: subprocess.Popen[bytes], seconds: float) -> Iterator[threading.Event]:
    """Kills the child when the time is up, and says so."""
    rang = threading.Event()

    def ring() -> None:
        rang.set()
        child.kill()

    timer = threading.Timer(seconds, ring)
    timer.daemon = True
    timer.start()
    try:
        yield rang
    finally:
        timer.cancel()


@cache
def _own_parser(pid: int) -> ParserProcess:
    """Of this process: the pipes of a parent may not be used after a fork, nor its child be ended."""
    parser = ParserProcess()
    atexit.register(lambda: parser.close() if os.getpid() == pid else None)
    return parser


def parse(kind: str, body: bytes, day: date) -> Listing:
    """What `plugins.source(kind).parse` gives, within limits. Raises SourceError for everything that the bytes do."""
    return _own_parser(os.getpid()).parse(kind, body, day)


def close() -> None:
    """Ends this process's child, if it has one."""
    _own_parser(os.getpid()).close()
