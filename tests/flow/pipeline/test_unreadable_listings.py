"""A listing that cannot be read is not lost: it is fetched again, kept, read once more, and its owner hears of it."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from services import sandbox
from services.errors import SourceError
from services.flow.pipeline import ingest, poll
from services.flow.upkeep import retention
from services.http.client import Fetcher
from services.store.db.tables import delivery, event, listing, paper, rate_limit, source
from services.store.sources import listings, sources
from tests.flow.pipeline.test_poll import FEED, add, fetcher, make_due, peer, poll_all, row_of
from tests.support.sinks import Answer, HttpSink
from tests.support.world import Pipeline

__all__ = ["fetcher", "peer"]

VALIDATORS = {"ETag": '"v1"', "Last-Modified": "Sat, 30 May 2026 12:00:00 GMT"}
LOGIN = "<html><title>Log in</title></html>"


def titles(world: Pipeline) -> set[str]:
    return {row["title"] for row in world.rows(select(paper))}


def validators_of(request: object) -> list[str]:
    headers = {name.lower() for name in request.headers}  # type: ignore[attr-defined]
    return sorted(headers & {"if-none-match", "if-modified-since"})


@pytest.fixture
def reader_that_dies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def die(*arguments: object) -> None:
        raise SourceError("reading it ends the process that reads it (signal 9)")

    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "parse", die)
        yield patch


def test_a_listing_whose_reader_died_is_fetched_again_without_validators(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher, reader_that_dies: pytest.MonkeyPatch
) -> None:
    source_id = add(world, peer)
    peer.judge = lambda asked: (
        Answer(status=304, body="")
        if validators_of(asked)
        else Answer(body=FEED.format(title="New"), headers=VALIDATORS)
    )
    poll_all(world, fetcher)
    assert "ends the process" in str(row_of(world, source_id)["error"])
    reader_that_dies.undo()
    make_due(world)
    poll_all(world, fetcher)
    assert validators_of(peer.requests[1]) == []
    assert titles(world) == {"New"}
    assert row_of(world, source_id)["error"] == ""


def test_a_listing_whose_reader_died_is_read_once_more_from_its_kept_bytes(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher, reader_that_dies: pytest.MonkeyPatch
) -> None:
    add(world, peer)
    peer.script("/feed", Answer(body=FEED.format(title="Listed once only")))
    poll_all(world, fetcher)
    reader_that_dies.undo()
    assert not ingest.work(world.db, world.settings)
    world.make_due(listing, read_again_at=listings.READ_AGAIN_AFTER)
    assert ingest.work(world.db, world.settings)
    assert titles(world) == {"Listed once only"}
    assert [row["body"] for row in world.rows(select(listing))] == [None]


def test_bytes_that_cannot_be_read_twice_are_kept_for_a_week_and_read_when_a_person_polls(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher, reader_that_dies: pytest.MonkeyPatch
) -> None:
    source_id = add(world, peer)
    peer.script("/feed", Answer(body=FEED.format(title="Listed once only")))
    poll_all(world, fetcher)
    world.make_due(listing, read_again_at=listings.READ_AGAIN_AFTER)
    assert ingest.work(world.db, world.settings)
    assert not ingest.work(world.db, world.settings)
    assert row_of(world, source_id)["failures"] == 1
    nights(world, 6)
    reader_that_dies.undo()
    with world.db.transaction() as tx:
        sources.poll_now(tx, source_id)
    assert ingest.work(world.db, world.settings)
    assert titles(world) == {"Listed once only"}


def nights(world: Pipeline, count: int) -> None:
    world.make_due(listing, done_at=timedelta(days=count))
    world.make_due(rate_limit, available_at=timedelta(days=2))
    while retention.work(world.db, world.settings):
        pass


def test_bytes_that_cannot_be_read_are_dropped_after_a_week(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    add(world, peer)
    peer.script("/feed", Answer(body=LOGIN))
    poll_all(world, fetcher)
    world.make_due(listing, read_again_at=listings.READ_AGAIN_AFTER)
    poll_all(world, fetcher)
    nights(world, 6)
    assert world.rows(select(listing))[0]["body"]
    nights(world, 2)
    assert world.rows(select(listing))[0]["body"] is None


def test_equal_unreadable_bytes_are_kept_once(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    add(world, peer)
    peer.always("/feed", Answer(body=LOGIN))
    for _ in range(3):
        poll_all(world, fetcher)
        make_due(world)
    assert sum(row["body"] is not None for row in world.rows(select(listing))) == 1


def test_a_few_unreadable_listings_are_kept_for_a_source(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    add(world, peer)
    peer.script("/feed", *(Answer(body=f"{LOGIN}<!-- {number} -->") for number in range(listings.MAX_KEPT + 3)))
    for _ in range(listings.MAX_KEPT + 3):
        poll_all(world, fetcher)
        make_due(world)
        world.make_due(listing, read_again_at=listings.READ_AGAIN_AFTER)
    while ingest.work(world.db, world.settings):
        pass
    assert sum(row["body"] is not None for row in world.rows(select(listing))) == listings.MAX_KEPT


def test_an_unchanged_answer_to_a_poll_begun_before_the_failure_does_not_hide_it(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher, reader_that_dies: pytest.MonkeyPatch
) -> None:
    source_id = add(world, peer)

    def answer(asked: object) -> Answer:
        if validators_of(asked):
            while ingest.work(world.db, world.settings):  # The reader dies while the server answers.
                pass
            return Answer(status=304, body="")
        return Answer(body=FEED.format(title="New"), headers=VALIDATORS)

    peer.judge = answer
    poll.work(world.db, world.settings, fetcher)
    make_due(world)
    poll.work(world.db, world.settings, fetcher)
    assert "ends the process" in str(row_of(world, source_id)["error"])
    reader_that_dies.undo()
    make_due(world)
    poll_all(world, fetcher)
    assert titles(world) == {"New"}


def test_the_owner_hears_of_a_source_whose_answers_are_no_listings(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher
) -> None:
    source_id = add(world, peer)
    with world.db.transaction() as tx:
        tx.execute(update(source).where(source.c.id == source_id).values(account_id=world.account))
    peer.always("/feed", Answer(body=LOGIN))
    poll_all(world, fetcher)
    assert row_of(world, source_id)["failures"] == 1
    make_due(world)
    world.make_due(source, failing_since=timedelta(hours=25))
    poll_all(world, fetcher)
    (notice,) = world.rows(select(delivery).where(delivery.c.kind == "notice"))
    assert "has failed since" in notice["subject"]
    peer.always("/feed", Answer(body=FEED.format(title="New")))
    make_due(world)
    poll_all(world, fetcher)
    row = row_of(world, source_id)
    assert (row["failures"], row["failing_since"], row["error"]) == (0, None, "")


def test_an_unreadable_first_listing_does_not_make_the_backlog_news(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher
) -> None:
    add(world, peer)
    peer.script("/feed", Answer(body=LOGIN), Answer(body=FEED.format(title="Old")))
    for _ in range(2):
        poll_all(world, fetcher)
        make_due(world)
        world.make_due(listing, read_again_at=listings.READ_AGAIN_AFTER)
    assert titles(world) == {"Old"}
    assert world.rows(select(event)) == []
