"""Polling keeps rate limits, is silent at first, and records an outcome whatever the server does."""

from collections.abc import Iterator
from datetime import timedelta
from threading import Event as Gate
from threading import Lock, Thread

import httpx2
import pytest
from sqlalchemy import select, update

from services import plugins
from services.flow.commands.add_source import add_source
from services.flow.pipeline import ingest, poll
from services.flow.upkeep import bounces
from services.http.client import Fetcher
from services.store.db import rate_limits
from services.store.db.secrets import SecretBox
from services.store.db.tables import event, listing, paper, rate_limit, source
from services.store.maintenance import due_work
from services.store.sources import sources
from tests.support.service import until
from tests.support.sinks import Answer, HttpSink
from tests.support.world import Pipeline

FEED = """<rss version="2.0"><channel><title>Lab</title>
<item><title>{title}</title><link>https://lab.example.org/{title}</link><description>About it.</description></item>
</channel></rss>"""


@pytest.fixture
def peer() -> Iterator[HttpSink]:
    with HttpSink() as sink:
        yield sink


@pytest.fixture
def fetcher(peer: HttpSink) -> Fetcher:
    return Fetcher(user_agent="paperwire-test", allow_hosts=[f"127.0.0.1:{peer.port}"])


def add(world: Pipeline, peer: HttpSink, path: str = "/feed", *, announce_first: bool = False) -> int:
    with world.db.transaction() as tx:
        location = f"http://127.0.0.1:{peer.port}{path}"
        return add_source(tx, plugins.source("feed"), location, timedelta(hours=1), announce_first=announce_first)


def poll_all(world: Pipeline, fetcher: Fetcher) -> int:
    polls = 0
    while poll.work(world.db, world.settings, fetcher):
        polls += 1
    while ingest.work(world.db, world.settings):
        pass
    return polls


def make_due(world: Pipeline) -> None:
    """Makes every source due and every rate limit free."""
    world.make_due(source, next_poll_at=timedelta(days=1))
    world.make_due(rate_limit, available_at=timedelta(days=1))


def row_of(world: Pipeline, source_id: int) -> dict[str, object]:
    return world.rows(select(source).where(source.c.id == source_id))[0]


def test_the_first_poll_fills_the_archive_silently_and_the_second_announces(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher
) -> None:
    add(world, peer)
    peer.script("/feed", Answer(body=FEED.format(title="Old")), Answer(body=FEED.format(title="New")))
    assert poll_all(world, fetcher) == 1
    assert world.rows(select(event)) == []
    make_due(world)
    poll_all(world, fetcher)
    assert [row["paper_id"] for row in world.rows(select(event))] == [world.paper("New")]


def test_a_source_that_is_added_again_announces_nothing_of_the_time_between(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher
) -> None:
    source_id = add(world, peer)
    peer.script("/feed", *(Answer(body=FEED.format(title=title)) for title in ("Old", "Meanwhile", "New")))
    poll_all(world, fetcher)
    with world.db.transaction() as tx:
        sources.remove(tx, source_id)
    assert add(world, peer) == source_id
    make_due(world)
    poll_all(world, fetcher)
    assert world.paper("Meanwhile")
    assert world.rows(select(event)) == []
    make_due(world)
    poll_all(world, fetcher)
    assert [row["paper_id"] for row in world.rows(select(event))] == [world.paper("New")]


def test_a_first_poll_announces_when_the_source_says_so(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    add(world, peer, announce_first=True)
    peer.script("/feed", Answer(body=FEED.format(title="New")))
    poll_all(world, fetcher)
    assert len(world.rows(select(event))) == 1


def test_validators_are_sent_and_unchanged_listings_are_not_read_again(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher
) -> None:
    add(world, peer)
    peer.script("/feed", Answer(body=FEED.format(title="Old"), headers={"ETag": '"v1"'}), Answer(status=304, body=""))
    poll_all(world, fetcher)
    make_due(world)
    poll_all(world, fetcher)
    assert peer.to("/feed")[1].headers.get("If-None-Match", peer.to("/feed")[1].headers.get("if-none-match")) == '"v1"'
    assert len(world.rows(select(paper))) == 1


def listings(world: Pipeline) -> int:
    return len(world.rows(select(listing)))


def test_unchanged_bytes_are_not_read_again(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    source_id = add(world, peer, announce_first=True)
    peer.always("/feed", Answer(body=FEED.format(title="New")))
    for _ in range(3):
        poll_all(world, fetcher)
        make_due(world)
    assert listings(world) == 1
    assert row_of(world, source_id)["succeeded_at"]
    peer.always("/feed", Answer(body=FEED.format(title="Newer")))
    poll_all(world, fetcher)
    assert listings(world) == 2


def test_silently_read_papers_cause_no_event_when_listed_again(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher
) -> None:
    add(world, peer)
    item = FEED[FEED.index("<item>") : FEED.index("</channel>")]
    two_items = FEED.format(title="New").replace("</channel>", item.format(title="Old") + "</channel>")
    peer.script("/feed", Answer(body=FEED.format(title="Old")), Answer(body=two_items), Answer(body=two_items + "\n"))
    for _ in range(3):
        poll_all(world, fetcher)
        make_due(world)
    assert [(row["paper_id"], row["what"]) for row in world.rows(select(event))] == [(world.paper("New"), "new")]


def test_unreadable_bytes_are_read_again_at_the_next_poll(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    source_id = add(world, peer, announce_first=True)
    peer.always("/feed", Answer(body="<html><title>Log in</title></html>"))
    for _ in range(3):
        poll_all(world, fetcher)
        make_due(world)
    assert listings(world) == 3
    assert row_of(world, source_id)["error"]


def test_a_slow_source_does_not_delay_others(world: Pipeline, peer: HttpSink) -> None:
    released = Gate()

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "slow.example.org":
            assert released.wait(30)
        return httpx2.Response(200, content=FEED.format(title=str(request.url.host)).encode())

    with world.db.transaction() as tx:
        for host in ("slow", "quick"):
            location = f"http://{host}.example.org/feed"
            add_source(tx, plugins.source("feed"), location, timedelta(hours=1), announce_first=True)
    slow = Thread(
        target=poll.work, args=(world.db, world.settings, Fetcher(user_agent="paperwire-test", transport=answer))
    )
    slow.start()
    try:
        until(lambda: listings(world) == 1, "the listing of the quick feed is stored", 20)
    finally:
        released.set()
        slow.join(30)
    assert listings(world) == 2


def test_a_thousand_new_feeds_are_polled_a_few_at_a_time_and_then_spread(world: Pipeline) -> None:
    running, max_running, lock = 0, 0, Lock()

    def answer(request: httpx2.Request) -> httpx2.Response:
        nonlocal running, max_running
        with lock:
            running += 1
            max_running = max(max_running, running)
        try:
            return httpx2.Response(200, content=FEED.format(title="One paper of many").encode())
        finally:
            with lock:
                running -= 1

    fetcher = Fetcher(user_agent="paperwire-test", transport=answer)
    with world.db.transaction() as tx:
        for number in range(1_000):
            location = f"https://lab{number}.example.org/feed"
            add_source(tx, plugins.source("feed"), location, timedelta(hours=1))
    while poll.work(world.db, world.settings, fetcher):
        pass
    rows = world.rows(select(source.c.next_poll_at, source.c.polled_at).where(source.c.polled))
    assert len(rows) == 1_000
    assert max_running <= poll.MAX_REQUESTS_TOGETHER
    pauses = sorted((row["next_poll_at"] - row["polled_at"]).total_seconds() for row in rows)
    assert pauses[-1] - pauses[0] > 300


def test_failures_back_off_with_the_reason_and_a_success_clears_them(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher
) -> None:
    source_id = add(world, peer)
    peer.script("/feed", Answer(status=500), Answer(status=500), Answer(body=FEED.format(title="Old")))
    pauses = []
    for _ in range(2):
        poll_all(world, fetcher)
        row = row_of(world, source_id)
        pauses.append(row["next_poll_at"] - row["polled_at"])  # type: ignore[operator]
        make_due(world)
    assert "500" in str(row_of(world, source_id)["error"])
    assert pauses[1] > pauses[0] > timedelta(hours=1)
    poll_all(world, fetcher)
    assert (row_of(world, source_id)["failures"], row_of(world, source_id)["error"]) == (0, "")


def test_retry_after_is_honoured(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    source_id = add(world, peer)
    peer.script("/feed", Answer(status=429, headers={"Retry-After": "30000"}))
    poll_all(world, fetcher)
    row = row_of(world, source_id)
    assert row["next_poll_at"] - row["polled_at"] >= timedelta(seconds=30_000)  # type: ignore[operator]


def test_hints_of_a_feed_are_honoured(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    source_id = add(world, peer)
    with_ttl = FEED.format(title="Old").replace("<item>", "<ttl>700</ttl><item>", 1)
    peer.always("/feed", Answer(body=with_ttl))
    for _ in range(2):
        poll_all(world, fetcher)
        row = row_of(world, source_id)
        make_due(world)
    assert row["next_poll_at"] - row["polled_at"] >= timedelta(minutes=700)  # type: ignore[operator]
    peer.always("/feed", Answer(body=FEED.format(title="Old")))
    for _ in range(2):
        poll_all(world, fetcher)
        row = row_of(world, source_id)
        make_due(world)
    assert row["next_poll_at"] - row["polled_at"] < timedelta(hours=2)  # type: ignore[operator]


def test_a_source_that_is_gone_is_not_polled_any_more(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    source_id = add(world, peer)
    peer.script("/feed", Answer(status=410))
    poll_all(world, fetcher)
    assert row_of(world, source_id)["polled"] is False


def test_an_html_page_instead_of_a_feed_is_the_sources_error(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    source_id = add(world, peer)
    peer.script("/feed", Answer(body="<html><title>Log in</title></html>"))
    poll_all(world, fetcher)
    assert row_of(world, source_id)["error"]


def test_the_charset_of_the_content_type_is_kept_with_the_listing(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher
) -> None:
    add(world, peer)
    # The sink sends UTF-8, which the header names wrongly as one that reads every byte.
    peer.script("/feed", Answer(body=FEED.format(title="Ж"), headers={"Content-Type": "text/xml; charset=koi8-r"}))
    poll_all(world, fetcher)
    assert [row["title"] for row in world.rows(select(paper))] == ["Ж".encode().decode("koi8-r")]


def test_two_sources_of_one_host_share_a_rate_limit(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    add(world, peer, "/a")
    add(world, peer, "/b")
    peer.always("/a", Answer(body=FEED.format(title="A")))
    peer.always("/b", Answer(body=FEED.format(title="B")))
    assert poll_all(world, fetcher) == 1
    world.make_due(rate_limit, available_at=timedelta(minutes=1))
    assert poll_all(world, fetcher) == 1
    assert len(peer.requests) == 2


def test_a_private_address_is_refused(world: Pipeline, peer: HttpSink) -> None:
    source_id = add(world, peer)
    poll_all(world, Fetcher(user_agent="paperwire-test"))
    assert row_of(world, source_id)["error"]
    assert peer.requests == []


def test_a_poll_of_a_lost_worker_is_taken_over(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    source_id = add(world, peer)
    peer.script("/feed", Answer(body=FEED.format(title="Old")))
    with world.db.transaction() as tx:
        assert sources.claim(tx, world.now(), poll.LEASE)
    assert poll_all(world, fetcher) == 0
    with world.db.transaction() as tx:
        for table in (source, rate_limit):
            tx.execute(update(table).values(lease_until=world.now() - timedelta(seconds=1)))
    assert poll_all(world, fetcher) == 1
    assert row_of(world, source_id)["succeeded_at"]


def test_the_sweep_finds_every_stage_with_work(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    def stages() -> list[str]:
        with world.db.transaction() as tx:
            return due_work.stages_with_work(tx, world.now(), 1.0, world.embedder.name)

    assert stages() == ["slow", "deliver"]  # bounces are to be read, and a new channel's digest is to be planned
    bounces.work(world.db, world.settings, SecretBox(world.settings.secret_keys))
    with world.db.transaction() as tx:
        rate_limits.acquire(tx, "clean-up", timedelta(hours=1), world.now())  # clean-up is not due
    world.deliver()
    assert stages() == []
    world.subscribe(query="new")
    add(world, peer, announce_first=True)
    assert stages() == ["poll"]
    peer.script("/feed", Answer(body=FEED.format(title="New")))
    poll.work(world.db, world.settings, fetcher)
    assert stages() == ["ingest"]
    ingest.work(world.db, world.settings)
    assert stages() == ["embed", "slow"]
    from services.flow.pipeline import embed, match

    embed.work(world.db, world.settings, world.embedder)
    assert stages() == ["match.0"]
    match.work(world.db, world.settings, [world.shard])
    assert stages() == ["notify"]
    world.notify()
    assert stages() == ["deliver"]
    world.deliver()
    assert stages() == []
