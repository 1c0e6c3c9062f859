"""The child: `python -P -m services.sandbox` reads listings that come over stdin until its parent is gone."""

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
from services.domain.papers.entries import ABSTRACT, AUTHORS, TITLE, tidy
from services.domain.papers.paper import Entry, Listing, Skipped
from services.errors import PaperwireError
from services.sandbox import codec

MAX_ENTRIES = 100_000
MAX_MESSAGE = 500

Parse = Callable[[str, bytes, date], Listing]


def parse(kind: str, body: bytes, day: date) -> Listing:
    return plugins.source(kind).parse(body, day=day)


def serve(parse: Parse) -> None:
    """Says that it is ready, then answers one request after the other."""
    answers = os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    # What a parser prints is no answer, and what it complains of fills no log.
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    # SIGXCPU would leave all its memory in a file.
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
        # What this listing leaves behind: the parent decides whether it is too much.
        codec.send(answers, codec.encode(process.memory_info().rss - size))


def _answer(parse: Parse, request: codec.Request, body: bytes) -> bytes:
    try:
        with _limits(request.cpu, request.memory):
            listing = parse(request.kind, body, request.day)
            return codec.encode(codec.Answer(listing=_capped(listing)))
    except MemoryError:
        return codec.encode(codec.Answer(out_of_memory=True))
    except PaperwireError as error:
        # Sources say "damaged" of whatever their library raises.
        short = isinstance(error.__context__, MemoryError) or "out of memory" in str(error.__context__)
        return codec.encode(codec.Answer(out_of_memory=True) if short else codec.Answer(error=str(error)[:MAX_MESSAGE]))
    except Exception as error:
        return codec.encode(codec.Answer(bug=type(error).__name__, at=_place(error)))


def _capped(listing: Listing) -> Listing:
    """The listing as far as anybody reads it, also of a source that keeps no measure."""
    entries = tuple(one if _fits(one) else tidy(one) for one in listing.entries[:MAX_ENTRIES])
    skipped = listing.skipped[:MAX_ENTRIES]
    if len(listing.entries) > MAX_ENTRIES:
        reason = f"only the first {MAX_ENTRIES:,} entries of a listing are read"
        skipped = (*skipped, Skipped(f"entry {MAX_ENTRIES + 1} and all after it", reason))
    return replace(listing, entries=entries, skipped=skipped)


def _fits(entry: Entry) -> bool:
    return len(entry.title) <= TITLE and len(entry.abstract) <= ABSTRACT and len(entry.authors) <= AUTHORS


def _place(error: BaseException) -> str:
    """Where it was raised; the message may hold what was read, and that is a stranger's."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""


@contextmanager
def _limits(processor: int, memory: int) -> Iterator[None]:
    """SIGXCPU ends this process after that many seconds; memory beyond what it has now raises MemoryError."""
    _limit(resource.RLIMIT_CPU, int(time.process_time()) + processor)
    # macOS takes this limit and does not keep to it.
    if sys.platform == "linux":
        _limit(resource.RLIMIT_AS, psutil.Process().memory_info().vms + memory)
    try:
        yield
    finally:
        _limit(resource.RLIMIT_CPU, None)
        _limit(resource.RLIMIT_AS, None)


def _limit(what: int, value: int | None) -> None:
    """Sets the soft limit, below a hard one that somebody else may have set; None takes it away."""
    hard = resource.getrlimit(what)[1]
    wanted = hard if value is None else value
    resource.setrlimit(what, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


if __name__ == "__main__":
    plugins.sources()
    serve(parse)
