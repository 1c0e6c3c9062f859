"""The child process: reads listings that arrive over stdin until its parent ends."""

import encodings
import importlib
import os
import pkgutil
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date

import psutil

from services import plugins
from services.domain.papers.entries import MAX_ABSTRACT, MAX_AUTHORS, MAX_TITLE, tidy
from services.domain.papers.paper import Entry, Listing, Skipped
from services.errors import PaperwireError
from services.sandbox import codec
from services.sandbox.confinement import confine

MAX_ENTRIES = 100_000
MAX_MESSAGE = 500

_FIRST_BODIES = (
    b"<rss version='2.0'><channel><item><title>A &amp; B</title><pubDate>Tue, 01 Dec 2026</pubDate></item>"
    b"</channel></rss>",
    b"<feed xmlns='http://www.w3.org/2005/Atom'><entry><title>A</title><updated>2026-12-01T00:00:00Z</updated></entry>"
    b"</feed>",
    b'{"title": "A", "summary": "$x$ <b>B</b>"}',
    b"neither",
)
"""Reading them imports the modules that are imported when first needed."""

Parse = Callable[[str, bytes, date], Listing]


def main() -> None:
    # Everything is imported before the child is confined and the parent hears that it is ready.
    kinds = plugins.sources()
    _import_encodings()
    for kind in kinds:
        for body in _FIRST_BODIES:
            with suppress(PaperwireError):
                parse(kind, body, date(2026, 1, 1))
    serve(parse, confine)


def _import_encodings() -> None:
    """All that a listing may name. Python imports an encoding when it is first used."""
    for module in pkgutil.iter_modules(encodings.__path__):
        with suppress(ImportError):  # Some exist on Windows only.
            importlib.import_module(f"encodings.{module.name}")


def parse(kind: str, body: bytes, day: date) -> Listing:
    return plugins.source(kind).parse(body, day=day)


def serve(parse: Parse, confine: Callable[[], list[str]] = list) -> None:
    """Confines itself, sends the protections that are missing, then answers one request after the other."""
    answers = os.fdopen(os.dup(1), "wb")
    # What a parser prints must not reach the answers, nor its warnings the log.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    memory = Memory()
    missing = confine()
    size = memory.resident()
    codec.send(answers, codec.encode(missing))
    while True:
        try:
            request = codec.decode(codec.receive(sys.stdin.buffer), codec.Request)
            body = codec.receive(sys.stdin.buffer)
        except EOFError:
            return
        answer = _answer(parse, request, body, memory)
        del body
        codec.send(answers, answer)
        # The memory that this listing leaves in use; the parent decides whether it is too much.
        codec.send(answers, codec.encode(memory.resident() - size))


class Memory:
    """The size of this process in bytes. On Linux from a file that is opened before no file can be opened any more."""

    def __init__(self) -> None:
        self._file = os.open("/proc/self/statm", os.O_RDONLY) if sys.platform == "linux" else None

    def virtual(self) -> int:
        return psutil.Process().memory_info().vms if self._file is None else self._pages(0) * resource.getpagesize()

    def resident(self) -> int:
        return psutil.Process().memory_info().rss if self._file is None else self._pages(1) * resource.getpagesize()

    def _pages(self, place: int) -> int:
        # https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html
        assert self._file is not None
        return int(os.pread(self._file, 200, 0).split()[place])


def _answer(parse: Parse, request: codec.Request, body: bytes, memory: Memory) -> bytes:
    try:
        with _limits(request.cpu, request.memory, memory):
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
def _limits(processor_seconds: int, growth: int, memory: Memory) -> Iterator[None]:
    """SIGXCPU ends this process after so many seconds; `growth` more bytes of memory raise MemoryError."""
    _limit(resource.RLIMIT_CPU, int(time.process_time()) + processor_seconds)
    # macOS accepts RLIMIT_AS but does not enforce it.
    if sys.platform == "linux":
        _limit(resource.RLIMIT_AS, memory.virtual() + growth)
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
