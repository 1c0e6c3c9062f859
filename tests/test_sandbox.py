"""Whatever the bytes, reading them ends in time and whoever asked goes on."""

import ctypes
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from services import sandbox
from services.domain.papers.paper import Entry, Identifier, Listing, Skipped
from services.errors import PaperwireError, SourceError
from services.plugins import source, sources
from services.sandbox import Limits, ParserProcess, codec
from services.sandbox.confinement import USER_ID
from services.sandbox.process import _report
from tests.sources.listings import DAY, SAMPLES, sample
from tests.sources.test_contract import BOMB, FORMATS, GARBAGE
from tests.support.confined_child import ATTEMPTS
from tests.support.sandbox_child import LISTING

CHILD = (sys.executable, "-P", str(Path(__file__).parent / "support" / "sandbox_child.py"))
SMALL = Limits(processor=1, time=5.0, memory=64 * 2**20, answer=100_000)
FEED = sample("feed_rss.xml")


@pytest.fixture(scope="module")
def parser() -> Iterator[ParserProcess]:
    parser = ParserProcess()
    yield parser
    parser.close()


@pytest.fixture(scope="module")
def rogue() -> Iterator[ParserProcess]:
    """With sources that misbehave, and little allowed."""
    parser = ParserProcess(CHILD, SMALL)
    yield parser
    parser.close()


def confinement_version() -> int:
    """The version of the kernel's Landlock interface; 0 when it has none."""
    if sys.platform != "linux":
        return 0
    return max(0, ctypes.CDLL(None).syscall(444, None, 0, 1))


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def outcome(read: Callable[[], Listing]) -> Listing | str:
    try:
        return read()
    except SourceError as error:
        return str(error)


# ── what passes between the two ───────────────────────────────────────────────────────────────────────────────

texts = st.text(st.characters(codec=None), max_size=20)
days = st.none() | st.dates()
counts = st.none() | st.integers(-(2**70), 2**70)
several = st.lists(texts, max_size=3).map(tuple)
entries = st.builds(
    Entry,
    title=texts,
    abstract=texts,
    authors=several,
    author_count=counts,
    categories=several,
    identifiers=st.lists(st.builds(Identifier, texts, texts), max_size=3).map(tuple),
    announced_on=days,
    published_on=days,
    version=counts,
    upvotes=counts,
    comments=counts,
    withdrawn=st.booleans(),
    links=st.dictionaries(texts, texts, max_size=3),
)
listings = st.builds(
    Listing,
    format=texts,
    entries=st.lists(entries, max_size=3).map(tuple),
    skipped=st.lists(st.builds(Skipped, texts, texts), max_size=3).map(tuple),
    announced_on=days,
    announced=counts,
    title=texts,
    next_url=texts,
)


@given(listings)
def test_a_listing_is_the_same_after_encoding_and_decoding(listing: Listing) -> None:
    assert codec.decode(codec.encode(listing), Listing) == listing


def test_two_lone_surrogates_do_not_become_one_character() -> None:
    listing = Listing(format="test", entries=(Entry(title="\ud83d" + "\ude00", announced_on=date(1, 1, 1)),))
    assert codec.decode(codec.encode(listing), Listing) == listing


def test_a_text_of_a_parsers_own_type_comes_back_as_text() -> None:
    class Text(str):
        pass

    for title in ("plain", "lone \ud83d"):
        listing = Listing(format="test", entries=(Entry(title=Text(title), links={Text("abstract"): Text("url")}),))
        (entry,) = codec.decode(codec.encode(listing), Listing).entries
        assert (entry.title, entry.links, type(entry.title)) == (title, {"abstract": "url"}, str)


# ── the same as without it ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", sources())
def test_the_child_gives_the_same_results_as_this_process(parser: ParserProcess, kind: str) -> None:
    bodies = [*((SAMPLES / name).read_bytes() for name in FORMATS), *GARBAGE.values()]
    for body in [*bodies, *(body[: len(body) // 2] for body in bodies)]:
        in_process = outcome(lambda body=body: source(kind).parse(body, day=DAY))  # type: ignore[misc]
        assert outcome(lambda body=body: parser.parse(kind, body, DAY)) == in_process  # type: ignore[misc]


def test_the_day_of_fetching_reaches_the_source(parser: ParserProcess) -> None:
    page = sample("daily_papers_page.txt")
    days = {parser.parse("daily-papers", page, day).announced_on for day in (date(2025, 11, 8), date(2024, 11, 8))}
    assert days == {date(2025, 11, 6), date(2024, 11, 6)}


def test_a_process_uses_its_one_child_again() -> None:
    before = set(psutil.Process().children())
    assert sandbox.parse("feed", FEED, DAY) == sandbox.parse("feed", FEED, DAY)
    assert len(set(psutil.Process().children()) - before) <= 1


# ── hostile bytes ─────────────────────────────────────────────────────────────────────────────────────────────


def rss(inside: str) -> bytes:
    return f"<rss version='2.0'><channel><title>F</title>{inside}</channel></rss>".encode()


HOSTILE = {
    "bomb": BOMB + b"]><rss version='2.0'><channel><item><title>&m;</title></item></channel></rss>",
    "author": rss(f"<item><title>T</title><author>{'a' * 32_000}</author></item>"),
    "long author": rss(f"<item><title>T</title><author>{'a' * 2**20}</author></item>"),
    "nested": rss("<item><title>T</title><description>" + "<b>" * 50_000 + "</description></item>"),
    "nested and closed": rss("<a>" * 50_000 + "</a>" * 50_000),
    "open brackets": rss("<![" * 300_000),
    "utf-16": rss("<item><title>é</title></item>").decode().encode("utf-16"),
    "utf-7": b"<?xml version='1.0' encoding='utf-7'?>" + rss("+ADw-item+AD4-"),
    "nuls": rss("\x00" * 100_000),
    "lone surrogates": rss("<item><title>&#xD800;&#56320;</title></item>") + b"\xed\xa0\x80",
    "random": random.Random(7).randbytes(10 * 2**20),
    "random in a feed": b"<rss version='2.0'><channel>" + random.Random(7).randbytes(10 * 2**20),
    "many entries": rss("<item><title>One title of many</title></item>" * 100_000),
    "many lines": b'{"title": "T"}\n' + b"x\n" * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_after_hostile_bytes_the_next_feed_is_read(parser: ParserProcess, name: str) -> None:
    for kind in ("feed", "arxiv", "daily-papers", "jsonl"):
        began = time.monotonic()
        outcomes = outcome(lambda kind=kind: parser.parse(kind, HOSTILE[name], DAY))  # type: ignore[misc]
        assert time.monotonic() - began < 30
        assert outcomes
    assert parser.parse("feed", FEED, DAY).entries


# ── sources that misbehave ────────────────────────────────────────────────────────────────────────────────────


def test_the_limit_of_processor_time_is_an_error(rogue: ParserProcess) -> None:
    with pytest.raises(SourceError, match="more than 1 s of processor time"):
        rogue.parse("spins", b"", DAY)
    assert rogue.parse("feed", FEED, DAY).entries


def test_processor_time_is_counted_for_each_listing() -> None:
    parser = ParserProcess(CHILD, Limits(processor=2))
    parser.parse("feed", FEED, DAY)
    child = psutil.Process(parser.pid)
    while child.cpu_times().user < 2.2:
        parser.parse("daily-papers", sample("daily_papers_page.txt") * 30, DAY)
    assert parser.pid == child.pid
    parser.close()


def test_the_limit_of_memory_is_an_error(rogue: ParserProcess) -> None:
    if sys.platform == "darwin":
        pytest.skip("macOS does not keep to a limit of memory")
    with pytest.raises(SourceError, match="more than 64 MiB of memory"):
        rogue.parse("hoards", b"", DAY)
    assert rogue.parse("feed", FEED, DAY).entries


def test_the_limit_of_time_is_an_error() -> None:
    parser = ParserProcess(CHILD, Limits(time=0.5))
    with pytest.raises(SourceError, match=r"longer than 0\.5 s"):
        parser.parse("sleeps", b"", DAY)
    parser.close()


def test_a_large_file_has_higher_limits() -> None:
    parser = ParserProcess(CHILD, Limits(processor=1, time=30.0))
    with pytest.raises(SourceError, match="more than 3 s of processor time"):
        parser.parse("spins", bytes(25 * 2**20), DAY)
    parser.close()


def test_an_exception_of_a_source_is_logged_and_an_error(rogue: ParserProcess) -> None:
    with capture_logs() as logs, pytest.raises(SourceError, match="could not be read: KeyError"):
        rogue.parse("fails", b"", DAY)
    (line,) = logs
    assert "sandbox_child.py" in line["at"]
    assert "secret" not in str(line)


def test_a_listing_whose_child_dies_is_tried_twice(rogue: ParserProcess) -> None:
    with pytest.raises(SourceError, match=r"ends the process that reads it \(exit code 3\)"):
        rogue.parse("dies", b"", DAY)
    assert rogue.parse("feed", FEED, DAY).entries


def test_output_of_a_source_does_not_disturb_the_answer(
    rogue: ParserProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    assert rogue.parse("chatters", b"", DAY) == LISTING
    assert capfd.readouterr() == ("", "")


def test_an_answer_above_the_limit_is_not_read(rogue: ParserProcess) -> None:
    with pytest.raises(SourceError, match="more than a listing may contain"):
        rogue.parse("overflows", b"", DAY)
    assert rogue.parse("feed", FEED, DAY).entries


def test_too_many_or_too_long_entries_are_cut() -> None:
    parser = ParserProcess(CHILD)
    listing = parser.parse("has no measure", b"", DAY)
    assert (len(listing.entries), len(listing.entries[0].title)) == (100_000, 500)
    assert listing.skipped[0].where == "entry 100001 and all after it"
    parser.close()


def test_an_unknown_kind_is_an_error_with_its_message(parser: ParserProcess) -> None:
    with pytest.raises(SourceError, match="no source kind 'gopher'"):
        parser.parse("gopher", b"", DAY)


LIAR = """
import sys
from services.sandbox import codec
codec.send(sys.stdout.buffer, b"[]")
for answer in sys.argv[1:]:
    codec.receive(sys.stdin.buffer), codec.receive(sys.stdin.buffer)
    payload = eval(answer)
    codec.send(sys.stdout.buffer, payload)
    codec.send(sys.stdout.buffer, b"0")
"""
LIES = {
    "nothing": b"",
    "no JSON": b"listing",
    "half": b'{"listing":{"format":"a"',
    "two": b'{"error":"a"}{"error":"b"}',
    "pickle": b"\x80\x04cposix\nsystem\n(S'true'\ntR.",
    "a number": b"7",
    "a list": b"[1]",
    "no entries": b'{"listing":{"format":"a"}}',
    "a number for a text": b'{"error":7}',
    "a text for a number": b'{"listing":{"format":"a","entries":[],"announced":"7"}}',
    "a truth for a number": b'{"listing":{"format":"a","entries":[],"announced":true}}',
    "an entry of another shape": b'{"listing":{"format":"a","entries":[["title"]]}}',
    "a list for links": b'{"listing":{"format":"a","entries":[{"title":"t","links":["a"]}]}}',
    "no day": b'{"listing":{"format":"a","entries":[],"announced_on":"2025-02-30"}}',
    "an endless number": b'{"listing":{"format":"a","entries":[],"announced":' + b"9" * 50_000 + b"}}",
    "endless nesting": b'{"listing":{"format":"a","x":' + b"[" * 50_000,
    "endless nesting with a lone surrogate": b'{"x":"\xed\xa0\xbd","listing":' + b"[" * 50_000,
    "a lone surrogate and no listing": b'{"listing":"\xed\xa0\xbd"}',
    "bytes that are no text": b'{"error":"\xff\xfe"}',
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_is_none_is_refused_and_its_child_ended(lie: str) -> None:
    right = codec.encode(codec.Answer(listing=LISTING))
    parser = ParserProcess((sys.executable, "-c", LIAR, repr(LIES[lie]), repr(right)), SMALL)
    with pytest.raises(SourceError, match="more than a listing may contain, or no listing at all"):
        parser.parse("feed", FEED, DAY)
    assert parser.pid is None
    parser.close()


@pytest.mark.parametrize("size", [b"x", b'"7"', b"1e9", b"9" * 21, b"[]", b""])
def test_a_size_that_is_no_number_is_refused(size: bytes) -> None:
    liar = LIAR.replace('b"0"', repr(size))
    parser = ParserProcess((sys.executable, "-c", liar, repr(codec.encode(codec.Answer(listing=LISTING)))), SMALL)
    with pytest.raises(SourceError, match="more than a listing may contain, or no listing at all"):
        parser.parse("feed", FEED, DAY)
    assert parser.pid is None
    parser.close()


# ── the child's life ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_child_killed_while_parsing_is_replaced_and_the_listing_read(rogue: ParserProcess, tmp_path: Path) -> None:
    rogue.parse("feed", FEED, DAY)
    mark, killed = tmp_path / "reading", rogue.pid
    assert killed

    def kill() -> None:
        until(mark.exists)
        os.kill(killed, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    assert rogue.parse("sleeps once", os.fsencode(mark), DAY) == LISTING
    killer.join()
    assert rogue.pid not in (None, killed)


def test_a_child_killed_while_idle_is_replaced(parser: ParserProcess) -> None:
    first = parser.parse("feed", FEED, DAY)
    assert parser.pid
    os.kill(parser.pid, signal.SIGKILL)
    assert parser.parse("feed", FEED, DAY) == first


def test_a_suspended_child_is_killed() -> None:
    parser = ParserProcess(CHILD, Limits(time=1.0))
    parser.parse("feed", FEED, DAY)
    stopped = parser.pid
    assert stopped
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(SourceError, match="longer than 1 s"):
        parser.parse("feed", bytes(2**20), DAY)
    assert not psutil.pid_exists(stopped)
    parser.close()


def test_a_child_that_has_grown_is_replaced() -> None:
    parser = ParserProcess(CHILD)
    parser.parse("feed", FEED, DAY)
    first = parser.pid
    parser.parse("keeps", b"", DAY)
    parser.parse("feed", FEED, DAY)
    assert parser.pid != first
    parser.close()


def test_answers_are_not_mixed_up_between_requests_and_threads(parser: ParserProcess) -> None:
    def read(first: int, titles: list[str]) -> None:
        for number in range(first, first + 100):
            listing = parser.parse("feed", rss(f"<item><title>Paper number {number}</title></item>"), DAY)
            titles.append(listing.entries[0].title)

    titles: tuple[list[str], list[str]] = [], []
    threads = [threading.Thread(target=read, args=(1000 * n, titles[n])) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in (0, 1):
        assert titles[n] == [f"Paper number {number}" for number in range(1000 * n, 1000 * n + 100)]


def test_an_interrupted_exchange_is_not_continued(rogue: ParserProcess) -> None:
    class Hurry(Exception):
        pass

    def hurry(number: int, frame: object) -> None:
        raise Hurry

    previous = signal.signal(signal.SIGALRM, hurry)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(Hurry):
            rogue.parse("sleeps", b"", DAY)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert rogue.parse("feed", FEED, DAY).entries


def test_a_child_that_cannot_start_is_no_source_error(capfd: pytest.CaptureFixture[str]) -> None:
    parser = ParserProcess((sys.executable, "-c", "raise SystemExit('no such thing')"))
    with pytest.raises(PaperwireError, match="does not start") as caught:
        parser.parse("feed", FEED, DAY)
    assert not isinstance(caught.value, SourceError)
    assert "no such thing" in capfd.readouterr().err


PARENT = """
import sys
from datetime import date
from services.sandbox import Limits, ParserProcess
parser = ParserProcess(sys.argv[2:], Limits(processor=2))
parser.parse("jsonl", b'{"title": "T"}', date(2026, 1, 1))
print(parser.pid, flush=True)
parser.parse(sys.argv[1], sys.stdin.buffer.read(), date(2026, 1, 1))
"""


@pytest.mark.parametrize("kind", ["jsonl", "spins"], ids=["idle", "busy"])
def test_a_child_does_not_outlive_its_parent(kind: str) -> None:
    command = [sys.executable, "-c", PARENT, kind, *CHILD]
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout is not None
    assert parent.stdin is not None
    child = psutil.Process(int(parent.stdout.readline()))
    if kind == "spins":
        parent.stdin.close()
        until(lambda: child.cpu_percent() > 10)
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_the_child_has_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERWIRE_SECRET_KEY", "hush")
    parser = ParserProcess()
    parser.parse("feed", FEED, DAY)
    assert not any("PAPERWIRE" in name for name in psutil.Process(parser.pid).environ())
    parser.close()


@pytest.fixture(scope="module")
def confined() -> Iterator[ParserProcess]:
    command = (sys.executable, "-P", str(Path(__file__).parent / "support" / "confined_child.py"))
    parser = ParserProcess(command)
    yield parser
    parser.close()


@pytest.mark.skipif(confinement_version() == 0, reason="this kernel has no Landlock")
@pytest.mark.parametrize("attempt", sorted(ATTEMPTS))
def test_code_in_the_child_cannot_get_out(confined: ParserProcess, tmp_path: Path, attempt: str) -> None:
    secret = tmp_path / "secret.key"
    secret.write_text("geheim")
    secret.chmod(0o666)
    path = {"create a file": tmp_path / "new", "list a directory": tmp_path}.get(attempt, secret)
    answer = confined.parse(attempt, os.fsencode(path), DAY)
    assert answer.entries[0].title.startswith("refused: ")
    assert secret.read_text() == "geheim"
    assert list(tmp_path.iterdir()) == [secret]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its user")
def test_the_child_of_root_is_another_user(parser: ParserProcess) -> None:
    parser.parse("feed", FEED, DAY)
    child = psutil.Process(parser.pid)
    assert set(child.uids()) | set(child.gids()) == {USER_ID}


def test_a_machine_without_these_protections_reads_listings_and_says_so(tmp_path: Path) -> None:
    command = tmp_path / "child.py"
    command.write_text(
        "from services.sandbox import confinement\n"
        "from services.sandbox.child import parse, serve\n"
        "def refused(*_): raise PermissionError\n"
        "confinement._call = refused\n"
        "from datetime import date\n"
        "parse('jsonl', b'{\"title\": \"T\"}', date(2026, 1, 1))  # imports what it needs\n"
        "serve(parse, confinement.confine)\n"
    )
    _report.cache_clear()
    parser = ParserProcess((sys.executable, str(command)))
    with capture_logs() as lines:
        assert parser.parse("jsonl", b'{"title": "T"}', DAY).entries[0].title == "T"
    parser.close()
    (line,) = lines
    assert line["missing"].startswith("no new privileges, no files (Landlock), no network and programs")
    _report.cache_clear()
