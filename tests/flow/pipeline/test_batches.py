"""Polling a growing list over days with many failures gives each paper once and complete batches."""

import gzip
import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from sqlalchemy import select, update

from services import plugins
from services.flow.commands.add_source import add_source
from services.flow.pipeline import ingest, poll
from services.http.client import Fetcher
from services.settings import Settings
from services.store.db.database import Database
from services.store.db.tables import batch, event, listing, paper, source
from services.store.sources import batches

FIRST = date(2026, 3, 2)
DAYS = 12
STEP = timedelta(hours=3)


def papers_of(day: date) -> list[dict[str, Any]]:
    """A made-up day: papers with rising upvotes, some again on the next day, few at the weekend."""
    dice = random.Random(day.toordinal())
    numbers = range(day.toordinal() * 10 % 90_000, day.toordinal() * 10 % 90_000 + (2 if day.weekday() > 4 else 8))
    again = [numbers[0] - 10] if dice.random() < 0.5 else []
    return [_item(number, day, dice.randrange(1, 60)) for number in (*numbers, *again)]


def _item(number: int, day: date, upvotes: int) -> dict[str, Any]:
    at = f"{day}T09:00:00.000Z"
    title = f"A study of the number {number} and what it means"
    core = {"id": f"2603.{number:05d}", "title": title, "summary": f"We look at {number}.", "upvotes": upvotes}
    core |= {"authors": [{"name": "Ada Lovelace"}], "publishedAt": at, "submittedOnDailyAt": at}
    return {"paper": core, "title": title, "publishedAt": at, "summary": core["summary"]}


class Site:
    """Answers as the API does: the day's list, growing until the evening. `fault` may answer instead."""

    def __init__(
        self, clock: Callable[[], datetime], fault: Callable[[httpx2.Request], httpx2.Response | None]
    ) -> None:
        self.clock, self.fault, self.asked = clock, fault, 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        if (failure := self.fault(request)) is not None:
            return failure
        day = date.fromisoformat(parse_qs(urlsplit(str(request.url)).query)["date"][0])
        now = self.clock()
        share = 1.0 if now.date() > day else min(1.0, (now.hour + 3) / 18)
        items = papers_of(day) if now.date() >= day else []
        return httpx2.Response(200, json=items[: round(share * len(items))])


def no_fault(request: httpx2.Request) -> None:
    return None


def faults(seed: int) -> Callable[[httpx2.Request], httpx2.Response | None]:
    dice = random.Random(seed)

    def fault(request: httpx2.Request) -> httpx2.Response | None:
        roll = dice.random()
        if roll < 0.1:
            raise httpx2.ReadTimeout("slow", request=request)
        if roll < 0.2:
            return httpx2.Response(429, text="Rate exceeded.", headers={"Content-Type": "text/html"})
        if roll < 0.3:
            return httpx2.Response(500)
        if roll < 0.35:
            cut = gzip.compress(b"[" + b" " * 5000)[:-12]
            return httpx2.Response(200, content=cut, headers={"Content-Encoding": "gzip"})
        if roll < 0.4:
            return httpx2.Response(200, text="<html><title>Just a moment</title></html>")
        return None

    return fault


class Poller:
    """The poller on simulated time."""

    def __init__(
        self,
        url: str,
        settings: Settings,
        fault: Callable[[httpx2.Request], httpx2.Response | None],
        *,
        first: date = FIRST,
        step: timedelta = STEP,
    ) -> None:
        self.time, self.interval = datetime.combine(first, datetime.min.time(), UTC), step
        self.db, self.settings = Database(url, clock=lambda: self.time), settings
        self.site = Site(lambda: self.time, fault)
        self.fetcher = self.fetcher_for(self.site)
        with self.db.transaction() as tx:
            self.source = add_source(tx, plugins.source("daily-papers"), "", None, announce_first=True)
            tx.execute(update(source).values(created_at=self.time, next_poll_at=self.time))

    def run(self, until: datetime, *, skip: Callable[[datetime], bool] = lambda now: False) -> None:
        while self.time < until:
            if not skip(self.time):
                self.step()
            self.time += self.interval

    @staticmethod
    def fetcher_for(site: Callable[[httpx2.Request], httpx2.Response]) -> Fetcher:
        return Fetcher(user_agent="test", transport=site)

    def step(self) -> None:
        """Does all that is due at this time. The rate limit allows the next request after ten seconds."""
        for _ in range(40):
            worked = poll.work(self.db, self.settings, self.fetcher)
            worked |= poll.look_back(self.db, self.settings, self.fetcher)
            while ingest.work(self.db, self.settings):
                pass
            if not worked:
                return
            self.time += timedelta(seconds=10)

    def rows(self, query: Any) -> list[dict[str, Any]]:
        with self.db.transaction() as tx:
            return [dict(row) for row in tx.execute(query).mappings()]


Start = Callable[..., Poller]


@pytest.fixture
def start(db: Database, postgres_url: str, settings: Settings) -> Iterator[Start]:
    opened: list[Poller] = []

    def start_poller(fault: Callable[[httpx2.Request], httpx2.Response | None] = no_fault) -> Poller:
        opened.append(Poller(postgres_url, settings, fault))
        return opened[-1]

    yield start_poller
    for poller in opened:
        poller.db.close()


END = datetime.combine(FIRST + timedelta(days=DAYS), datetime.min.time(), UTC)
MARCH = [FIRST + timedelta(days=offset) for offset in range(DAYS)]


def expected() -> dict[str, int]:
    """By title, the highest upvotes."""
    best: dict[str, int] = {}
    for day in MARCH:
        for item in papers_of(day):
            best[item["title"]] = max(best.get(item["title"], 0), item["paper"]["upvotes"])
    return best


def stored(poller: Poller) -> dict[str, int]:
    return {row["title"]: row["upvotes"] for row in poller.rows(select(paper)) if row["announced_on"] in MARCH}


def states(poller: Poller) -> dict[date, str]:
    return {row["announced_on"]: row["state"] for row in poller.rows(select(batch)) if row["announced_on"] in MARCH}


def announced(poller: Poller) -> list[int]:
    return [row["paper_id"] for row in poller.rows(select(event).where(event.c.what == "new"))]


def test_every_day_is_complete_with_each_paper_once_and_its_highest_upvotes(start: Start) -> None:
    poller = start()
    poller.run(END + timedelta(days=1))
    assert stored(poller) == expected()
    assert states(poller) == dict.fromkeys(MARCH, "complete")
    assert len(announced(poller)) == len(set(announced(poller)))


@pytest.mark.parametrize("seed", [1, 2])
def test_failures_and_a_skipped_day_neither_lose_nor_repeat_papers(start: Start, seed: int) -> None:
    poller = start(faults(seed))
    skipped = FIRST + timedelta(days=5)
    poller.run(END + timedelta(days=4), skip=lambda now: now.date() == skipped)
    assert stored(poller) == expected()
    assert states(poller) == dict.fromkeys(MARCH, "complete")
    new = announced(poller)
    assert len(new) == len(set(new))
    (row,) = poller.rows(select(source))
    assert row["polled"]
    assert poller.rows(select(listing).where(listing.c.done_at.is_(None))) == []


def test_a_new_source_fills_the_archive_silently_within_its_rate_limit(start: Start) -> None:
    poller = start()
    poller.run(END)
    old = [row for row in poller.rows(select(batch)) if row["announced_on"] < FIRST]
    assert len(old) == 60
    assert {row["state"] for row in old} == {"complete"}
    silent = {row["id"] for row in poller.rows(select(paper)) if row["announced_on"] < FIRST}
    assert silent
    assert not silent & set(announced(poller))


def test_batches_state_for_a_digest_how_many_papers_were_read(start: Start) -> None:
    poller = start()
    poller.run(END)
    (paper_id, *_rest) = [row["id"] for row in poller.rows(select(paper)) if row["announced_on"] == MARCH[3]]
    with poller.db.transaction() as tx:
        (read,) = batches.of_papers(tx, {7: [paper_id]})[7]
    assert (read.announced_on, read.fetched, read.papers) == (MARCH[3], len(papers_of(MARCH[3])), 1)


def test_a_digest_does_not_state_what_was_imported(start: Start) -> None:
    poller = start()
    poller.run(END)
    (paper_id, *_rest) = [row["id"] for row in poller.rows(select(paper)) if row["announced_on"] == MARCH[3]]
    with poller.db.transaction() as tx:
        tx.execute(update(source).values(location="", polled=False))
        assert batches.of_papers(tx, {7: [paper_id]}) == {7: []}
