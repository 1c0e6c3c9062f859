"""Ingestion of OAI records of arXiv, days of Daily Papers and small feeds: first as new papers, then as known ones.

Each is compared with a plain parser on the same bytes. `ratio` is the parser's time divided by the total, so 1 means
that everything else takes no time. `parse` is the parsing in the sandbox; `ingest_ratio` is the plain parser's time
divided by the time without parsing and fetching. Then everything is read again: `known` with other bytes of the same
content, `again` polled with equal bytes. Feeds are polled from a local server, where `again` is a conditional GET.
`memory_mb` is the peak of worker and parser together for the same number of OAI records and for four times as many.
"""

import gzip
import io
import json
import logging
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import feedparser  # noqa: E402
import httpx2  # noqa: E402
from sqlalchemy import func, insert, select, update  # noqa: E402

from services import local, plugins, sandbox  # noqa: E402
from services.flow.commands.add_source import add_source  # noqa: E402
from services.flow.pipeline import ingest, poll  # noqa: E402
from services.http.client import Fetcher  # noqa: E402
from services.settings import settings  # noqa: E402
from services.store.db.database import Database  # noqa: E402
from services.store.db.tables import batch, listing, paper, rate_limit, source  # noqa: E402
from services.store.maintenance import migrate  # noqa: E402
from services.store.sources import sources  # noqa: E402
from services.telemetry import configure_logging  # noqa: E402

ABSTRACTS = ROOT / "tests" / "data" / "arxiv_abstracts.jsonl"
A_DAY = ROOT / "tests" / "data" / "listings" / "daily_papers.json"
CORPUS = ROOT.parent / "shared" / "data"
"""Real papers and days. If they are missing, the samples of the tests are repeated."""
RECORDS, PAGE, DAYS, FEEDS, ITEMS = 10_000, 2_000, 100, 1_000, 5
NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
FAR_PAST = timedelta(days=1)


# ── input ──────────────────────────────────────────────────────────────────────────────────────────────


@cache
def papers() -> list[dict[str, Any]]:
    found = sorted((CORPUS / "arxiv_corpus").glob("*.jsonl.gz"))
    lines = gzip.decompress(found[0].read_bytes()) if found else ABSTRACTS.read_bytes()
    return [json.loads(line) for line in lines.splitlines()]


def xml(text: str) -> str:
    return escape(NOT_XML.sub("", text))


def oai_pages(first: int, count: int, size: int = PAGE) -> Iterator[bytes]:
    """Pages of an answer of OAI-PMH with records `first` … `first + count - 1`, each a paper of its own."""
    given = islice(enumerate(cycle(papers()), first), count)
    while records := list(islice(given, size)):
        yield _oai("".join(_record(number, one) for number, one in records))


def _oai(records: str) -> bytes:
    asked = '<request verb="ListRecords" metadataPrefix="arXivRaw">https://oaipmh.arxiv.org/oai</request>'
    head = f'<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/"><responseDate>2026-01-06T20:49:59Z</responseDate>{asked}'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}<ListRecords>{records}</ListRecords></OAI-PMH>'.encode()


def _record(number: int, one: dict[str, Any]) -> str:
    name = f"{2001 + number // 90_000:04d}.{10_000 + number % 90_000:05d}"
    people = ", ".join(one["authors"][:-1]) + " and " * (len(one["authors"]) > 1) + one["authors"][-1]
    return (
        f"<record><header><identifier>oai:arXiv.org:{name}</identifier><datestamp>2026-01-05</datestamp>"
        f'</header><metadata><arXivRaw xmlns="http://arxiv.org/OAI/arXivRaw/"><id>{name}</id>'
        '<submitter>A</submitter><version version="v1"><date>Fri, 2 Jan 2026 09:00:00 GMT</date></version>'
        f"<title>{xml(one['title'])}, part {number}</title><authors>{xml(people)}</authors>"
        f"<categories>{xml(' '.join(one['categories']))}</categories><abstract>{xml(one['summary'])}</abstract>"
        "</arXivRaw></metadata></record>\n"
    )


def daily_papers() -> list[bytes]:
    raw = sorted((CORPUS / "hf_daily_papers" / "raw").glob("2025-*.json.gz"))[:DAYS]
    if len(raw) == DAYS:
        return [gzip.decompress(path.read_bytes()) for path in raw]
    sample = json.loads(A_DAY.read_bytes())
    return [json.dumps([_renamed(one, 10 * day + n) for n, one in enumerate(sample)]).encode() for day in range(DAYS)]


def _renamed(record: dict[str, Any], number: int) -> dict[str, Any]:
    title = f"{record['paper']['title']} {number}"
    return {**record, "paper": {**record["paper"], "id": f"2505.{10_000 + number}", "title": title}}


def feed(number: int) -> bytes:
    items = "".join(
        f"<item><title>{xml(one['title'])}, told by group {number}</title><link>https://example.org/{number}/{n}</link>"
        f"<pubDate>Mon, 05 Jan 2026 09:00:00 GMT</pubDate><description>{xml(one['summary'])}</description></item>"
        for n, one in enumerate(islice(cycle(papers()), number, number + ITEMS))
    )
    return f'<rss version="2.0"><channel><title>Group {number}</title>{items}</channel></rss>'.encode()


# ── measurements ──────────────────────────────────────────────────────────────────────────────────────────


def seconds(act: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def parsed(parse: Callable[[bytes], Any], bodies: Sequence[bytes]) -> float:
    return seconds(lambda: [parse(body) and None for body in bodies])


def line(count: int, ours: float, peer: float, parse: float, ingest: float, again: dict[str, float]) -> dict[str, Any]:
    """`ours` seconds for everything, `parse` and `ingest` (with parsing) of them."""
    rates = {f"{name}_seconds": round(taken, 2) for name, taken in again.items()}
    cheaper = {f"{name}_times_cheaper": round(ours / taken, 1) for name, taken in again.items()}
    return {
        "papers": count,
        "seconds": round(ours, 2),
        "papers_per_second": round(count / ours),
        "peer_seconds": round(peer, 2),
        "ratio": round(peer / ours, 2),
        "parse_seconds": round(parse, 2),
        "ingest_ratio": round(peer / max(ingest - parse, 1e-9), 2),
        **rates,
        **cheaper,
    }


class Bench:
    def __init__(self, db: Database) -> None:
        self.db = db

    def stored(self) -> int:
        with self.db.transaction() as tx:
            return tx.scalars(select(func.count()).select_from(paper)).one()

    def keep(self, kind: str, bodies: Iterator[bytes] | Sequence[bytes]) -> None:
        """As polls have left them."""
        with self.db.transaction() as tx:
            where, now = sources.source_of_imports(tx, kind), self.db.now()
            for body in bodies:
                tx.execute(insert(listing).values(source_id=where, body=body, fetched_at=now))

    def ingest(self) -> None:
        while ingest.work(self.db, settings()):
            pass

    def sandboxed(self, kind: str, bodies: Sequence[bytes]) -> float:
        day = self.db.now().date()
        return seconds(lambda: [sandbox.parse(kind, body, day) and None for body in bodies])

    def read(self, kind: str, location: str, bodies: Sequence[bytes], bare: Callable[[bytes], Any]) -> dict[str, Any]:
        """Ingests the listings of one kind, then once more when all of it is known, then polls each as it was."""
        before = self.stored()
        self.keep(kind, bodies)
        ours = seconds(self.ingest)
        count = self.stored() - before
        self.keep(kind, bodies)
        known = seconds(self.ingest)
        again = self.again(kind, location, bodies)
        assert self.stored() == before + count
        parse = self.sandboxed(kind, bodies)
        return line(count, ours, parsed(bare, bodies), parse, ours, {"known": known, "again": again})

    def again(self, kind: str, location: str, bodies: Sequence[bytes]) -> float:
        """Seconds for polling each listing a second time in a row."""
        with self.db.transaction() as tx:
            add_source(tx, plugins.source(kind), location, timedelta(hours=1), announce_first=True)
        server = {"body": b""}
        answer = lambda _: httpx2.Response(200, content=server["body"])  # noqa: E731
        fetcher, taken = Fetcher(user_agent="paperwire-benchmark", transport=answer), 0.0
        for body in bodies:
            server["body"] = body
            self.poll(fetcher)
            self.due()
            taken += seconds(lambda: poll.work(self.db, settings(), fetcher))
            with self.db.transaction() as tx:
                waiting = select(func.count()).where(listing.c.done_at.is_(None))
                assert not tx.scalars(waiting).one()
        with self.db.transaction() as tx:
            tx.execute(update(source).values(polled=False))
        return taken

    def due(self) -> None:
        with self.db.transaction() as tx:
            tx.execute(update(source).values(next_poll_at=func.now() - FAR_PAST, rate_limit_pause=timedelta()))
            tx.execute(update(rate_limit).values(available_at=None))

    def poll(self, fetcher: Fetcher) -> float:
        """Seconds of the ingestion, which ends it."""
        self.due()
        while poll.work(self.db, settings(), fetcher):
            pass
        return seconds(self.ingest)

    def feeds(self) -> dict[str, Any]:
        bodies, before = [feed(number) for number in range(FEEDS)], self.stored()
        with served(bodies) as (folder, host):
            fetcher = Fetcher(user_agent="paperwire-benchmark", allow_hosts=[host])
            self.add_feeds(host)
            ingest = 0.0

            def first() -> None:
                nonlocal ingest
                ingest = self.poll(fetcher)

            ours = seconds(first)
            count = self.stored() - before
            again = {"again": seconds(lambda: self.poll(fetcher))}
            for path in folder.iterdir():
                path.write_bytes(path.read_bytes() + b"\n")
                os.utime(path, (time.time() + 60, time.time() + 60))
            again["known"] = seconds(lambda: self.poll(fetcher))
        assert self.stored() == before + count == before + FEEDS * ITEMS
        bare = parsed(lambda body: feedparser.parse(io.BytesIO(body)), bodies)
        return line(count, ours, bare, self.sandboxed("feed", bodies), ingest, again)

    def add_feeds(self, host: str) -> None:
        """Gives each feed its own rate limit, as if each had its own server."""
        with self.db.transaction() as tx:
            tx.execute(insert(rate_limit), [{"key": str(number)} for number in range(FEEDS)])
            for number in range(FEEDS):
                location = f"http://{host}/{number}.xml"
                added = add_source(tx, plugins.source("feed"), location, timedelta(hours=1), announce_first=True)
                tx.execute(update(source).where(source.c.id == added).values(rate_limit_key=str(number)))

    def memory(self, first: int, records: int) -> int:
        """MiB at the peak of a process that ingests so many records, and of its parser."""
        self.keep("arxiv", oai_pages(first, records))
        command = [sys.executable, __file__, "--peak", self.db.engine.url.render_as_string(hide_password=False)]
        done = subprocess.run(command, check=True, capture_output=True)
        return int(done.stdout)


@contextmanager
def served(bodies: Sequence[bytes]) -> Iterator[tuple[Path, str]]:
    """A server on loopback that knows conditional GET, in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, body in enumerate(bodies):
            (folder / f"{number}.xml").write_bytes(body)
        command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", name]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert server.stdout is not None
        try:
            first_line = server.stdout.readline().decode()
            yield folder, f"127.0.0.1:{first_line.split(' port ')[1].split()[0]}"
        finally:
            server.kill()
            server.communicate()


def peak(url: str) -> None:
    """Prints the peak memory. Runs in a process of its own, since a peak never falls."""
    db = Database(url)
    Bench(db).ingest()
    db.close()
    sandbox.close()
    unit = 2**20 if sys.platform == "darwin" else 2**10
    used = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(round(sum(used) / unit))


def main() -> None:
    configure_logging(logging.CRITICAL)
    if sys.argv[1:2] == ["--peak"]:
        peak(sys.argv[2])
        return
    with tempfile.TemporaryDirectory() as directory:
        os.environ |= {
            "PAPERWIRE_DATA_DIR": directory,
            "PAPERWIRE_SECRET_KEY": "a key for benchmarks of 32 characters or more",
        }
        with local.database(settings(), migrate.upgrade_embedded) as url:
            db = Database(url)
            bench = Bench(db)
            parts = {
                "oai": bench.read("arxiv", "cs.LG", list(oai_pages(0, RECORDS)), ElementTree.fromstring),
                "daily_papers": bench.read("daily-papers", "", daily_papers(), json.loads),
                "feeds": bench.feeds(),
            }
            memory = {"1x": bench.memory(RECORDS, RECORDS), "4x": bench.memory(2 * RECORDS, 4 * RECORDS)}
            with db.transaction() as tx:
                failed = tx.scalars(select(func.count()).where(batch.c.state == "failed")).one()
            assert not failed
            db.close()
    print(json.dumps({"name": "listings", **parts, "memory_mb": memory}))


if __name__ == "__main__":
    main()
