"""The child process: reads listings that arrive over stdin until its parent ends."""

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date

import psutil

from services import plugins
from services.domain.papers.entries import MAX_ABSTRACT, MAX_AUTHORS, MAX_TITLE, tidy
from services.domain.papers.paper import Entry, Listing, Skipped
from services.errors import PaperwireError
from services.sandbox import codec

MAX_ENTRIES = 100_000
MAX_MESSAGE = 500

Parse = Callable[[str, bytes, date], Listing]


def main() -> None:
    # Plugins are imported before the parent hears that the child is ready.
    plugins.sources()
    serve(parse)


def parse(kind: str, body: bytes, day: date) -> Listing:
    return plugins.source(kind).parse(body, day=day)


def serve(parse: Parse) -> None:
    """Sends an empty frame when it is ready, then answers one request after the other."""
    answers = os.fdopen(os.dup(1), "wb")
    # What a parser prints must not reach the answers, nor its warnings the log.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    # SIGXCPU would write a core file of all the memory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    process = psutil.Process()
    size = process.memory_info().rss
    codec.send(answers, b"")
    while True:
        try:
            request = codec.decode(codec.receive(sys.stdin.buffer), codec.Request)
            body = codec.receive(sys.stdin.buffer)
        except EOFError:
            return
        answer = _answer(parse, request, body)
        del body
        codec.send(answers, answer)
        # The memory that this listing leaves in use; the parent decides whether it is too much.
        codec.send(answers, codec.encode(process.memory_info().rss - size))


def _answer(parse: Parse, request: codec.Request, body: bytes) -> bytes:
    try:
        with _limits(request.cpu, request.memory):
            listing = parse(request.kind, body, request.day)
            return codec.encode(codec.Answer(listing=_capped(listing)))
    except MemoryError:
        return codec.encode(codec.Answer(out_of_memory=True))
    except PaperwireError as error:
        # Sources turn the exceptions of their libraries into "damaged", a lack of memory too.
        out_of_memory = isinstance(error.__context__, MemoryError) or "out of memory" in str(error.__context__)
        return codec.encode(
            codec.Answer(out_of_memory=True) if out_of_memory else codec.Answer(error=str(error)[:MAX_MESSAGE])
        )
    except Exception as error:
        return codec.encode(codec.Answer(bug=type(error).__name__, at=_place(error)))


def _capped(listing: Listing) -> Listing:
    """The listing within the limits of entries, for sources that do not keep them."""
    entries = tuple(entry if _fits(entry) else tidy(entry) for entry in listing.entries[:MAX_ENTRIES])
    skipped = listing.skipped[:MAX_ENTRIES]
    if len(listing.entries) > MAX_ENTRIES:
        reason = f"only the first {MAX_ENTRIES:,} entries of a listing are read"
        skipped = (*skipped, Skipped(f"entry {MAX_ENTRIES + 1} and all after it", reason))
    return replace(listing, entries=entries, skipped=skipped)


def _fits(entry: Entry) -> bool:
    return len(entry.title) <= MAX_TITLE and len(entry.abstract) <= MAX_ABSTRACT and len(entry.authors) <= MAX_AUTHORS


def _place(error: BaseException) -> str:
    """File and line of an exception. Its message may quote the listing, so the log does not get it."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""


@contextmanager
def _limits(processor_seconds: int, memory: int) -> Iterator[None]:
    """SIGXCPU ends this process after so many seconds; more memory than `memory` bytes raises MemoryError."""
    _limit(resource.RLIMIT_CPU, int(time.process_time()) + processor_seconds)
    # macOS accepts RLIMIT_AS but does not enforce it.
    if sys.platform == "linux":
        _limit(resource.RLIMIT_AS, psutil.Process().memory_info().vms + memory)
    try:
        yield
    finally:
        _limit(resource.RLIMIT_CPU, None)
        _limit(resource.RLIMIT_AS, None)


def _limit(what: int, value: int | None) -> None:
    """Sets the soft limit, at most to the hard limit, which may be set from outside; None removes it."""
    hard = resource.getrlimit(what)[1]
    wanted = hard if value is None else value
    resource.setrlimit(what, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
