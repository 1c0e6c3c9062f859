"""A listing's entries become papers, each once, even when they come twice, late, damaged or from several sources."""

from datetime import timedelta

import pytest
from sqlalchemy import func, insert, select, update

from services.domain.papers.paper import Identifier
from services.errors import LeaseLost, SourceError
from services.flow.pipeline import ingest
from services.store.db.tables import batch, event, listing, paper, paper_appearance, run
from services.store.interests import embedding_backlog
from services.store.papers import papers
from services.store.sources import listings, sources
from tests.support.world import DAY, Pipeline, entry

PAGE = (
    "Daily Papers\n\nMay 4\n\nOn the growth of small models\n\nWe study growth.\n\n  • 3 authors\n·\nMay 1\n".encode()
)


def events(world: Pipeline) -> list[tuple[int, str]]:
    return [(row["paper_id"], row["what"]) for row in world.rows(select(event).order_by(event.c.run_id))]


def test_a_listing_twice_adds_nothing(world: Pipeline) -> None:
    first = world.announce(entry("One paper about agents", 1), entry("Another paper about robots", 2))
    again = world.announce(entry("One paper about agents", 1), entry("Another paper about robots", 2))
    assert (first.new, first.known) == (2, 0)
    assert (again.new, again.known, again.updated, again.run) == (0, 2, 0, None)


def test_a_paper_twice_in_one_listing_is_one_paper(world: Pipeline) -> None:
    tally = world.announce(entry("One paper about agents", 1), entry("One paper about agents", 1))
    assert (tally.found, tally.new, tally.known) == (2, 1, 1)


def test_a_paper_from_several_sources_is_one_with_all_identifiers(world: Pipeline) -> None:
    world.announce(entry("One paper about agents that plan"))
    world.announce(entry("One Paper About Agents That Plan", 7, authors=("Ada L",)), source="arxiv")
    world.announce(entry("Renamed since", 7), source="feed")
    with world.db.transaction() as tx:
        loaded = papers.load(tx, [world.paper("One Paper About Agents That Plan")])
    (merged,) = loaded.values()
    assert merged.identifiers == (Identifier("arxiv", "2605.00007"),)
    assert merged.sources == ("arxiv", "daily-papers", "feed")
    assert world.rows(select(func.count().label("n")).select_from(paper)) == [{"n": 1}]


def test_a_silent_listing_causes_no_event_until_the_paper_is_announced(world: Pipeline) -> None:
    world.announce(entry("One paper about agents", 1), silent=True)
    assert events(world) == []
    world.announce(entry("One paper about agents", 1), source="arxiv")
    assert [what for _, what in events(world)] == ["new"]


def test_upvotes_of_a_silently_listed_paper_are_an_event(world: Pipeline) -> None:
    world.announce(entry("One paper about agents", 1, upvotes=3), silent=True)
    world.announce(entry("One paper about agents", 1, upvotes=4))
    assert events(world) == []
    world.announce(entry("One paper about agents", 1, upvotes=50))
    assert [what for _, what in events(world)] == ["upvotes"]


def test_a_silent_listing_does_not_silence_an_announced_paper(world: Pipeline) -> None:
    world.announce(entry("One paper about agents", 1))
    world.announce(entry("One paper about agents", 1), silent=True)
    assert [row["silent"] for row in world.rows(select(paper_appearance))] == [False]


def test_a_further_source_and_upvotes_are_events(world: Pipeline) -> None:
    world.announce(entry("One paper about agents", 1, upvotes=3))
    world.announce(entry("One paper about agents", 1, upvotes=6), source="arxiv")
    assert [what for _, what in events(world)] == ["new", "source", "upvotes"]


def test_announcement_days_are_not_in_the_future(world: Pipeline) -> None:
    world.announce(entry("A paper of tomorrow and later", announced_on=world.now().date() + timedelta(days=30)))
    assert world.rows(select(paper))[0]["announced_on"] == world.now().date()


def test_a_batch_counts_each_announcement(world: Pipeline) -> None:
    world.announce(entry("One paper about agents", 1))
    world.announce(entry("One paper about agents", 1), entry("Another paper about robots", 2))
    (row,) = world.rows(select(batch))
    assert (row["announced_on"], row["fetched"], row["new"], row["known"], row["state"]) == (
        DAY,
        2,
        2,
        1,
        "complete",
    )


def fetched(world: Pipeline, body: bytes, attempts: int = 0) -> None:
    with world.db.transaction() as tx:
        values = {"source_id": world.source, "body": body, "fetched_at": world.now(), "attempts": attempts}
        tx.execute(insert(listing).values(values))


def test_a_fetched_listing_is_read_once_and_its_bytes_dropped(world: Pipeline) -> None:
    fetched(world, PAGE)
    assert ingest.work(world.db, world.settings)
    assert not ingest.work(world.db, world.settings)
    (row,) = world.rows(select(listing))
    assert row["body"] is None
    assert world.paper("On the growth of small models")


def test_unreadable_bytes_end_in_a_failure_that_is_shown(world: Pipeline) -> None:
    fetched(world, b"<html><body>Rate exceeded.</body></html>")
    assert ingest.work(world.db, world.settings)
    assert world.rows(select(batch))[0]["state"] == "failed"
    with world.db.transaction() as tx:
        assert sources.all_with_newest_batch(tx)[0].error


def test_a_listing_that_ends_several_workers_is_left_out(world: Pipeline) -> None:
    fetched(world, PAGE, attempts=listings.MAX_PARSE_ATTEMPTS)
    assert ingest.work(world.db, world.settings)
    assert "left out" in world.rows(select(listing))[0]["error"]
    assert world.rows(select(paper)) == []


def test_an_unknown_file_is_an_error_of_one_line(world: Pipeline) -> None:
    with pytest.raises(SourceError, match="not a listing"):
        ingest.import_listing(world.db, b"\x00\x01\x02", day=None, format=None, silent=False)


def test_the_error_for_an_unknown_format_names_the_known_ones(world: Pipeline) -> None:
    with pytest.raises(SourceError, match="daily-papers-page"):
        ingest.import_listing(world.db, PAGE, day=None, format="bibtex", silent=False)


def test_the_day_that_a_person_gives_is_used(world: Pipeline) -> None:
    ingest.import_listing(world.db, PAGE, day=DAY, format=None, silent=False)
    assert world.rows(select(paper))[0]["announced_on"] == DAY


def test_a_replacement_of_an_unannounced_paper_causes_no_event(world: Pipeline) -> None:
    world.announce(entry("An old paper in its fourth version", 1, version=4, replacement=True))
    assert events(world) == []
    assert [row["silent"] for row in world.rows(select(paper_appearance))] == [True]
    world.announce(entry("An old paper in its fourth version", 1), source="feed")
    assert [what for _, what in events(world)] == ["new"]


def test_a_replacement_of_a_known_paper_updates_it_without_an_event(world: Pipeline) -> None:
    world.announce(entry("A paper about agents", 1, abstract="First."), source="arxiv")
    revised = entry("A paper about agents", 1, abstract="Second.", version=2, replacement=True)
    world.announce(revised, source="arxiv")
    assert [what for _, what in events(world)] == ["new"]
    (row,) = world.rows(select(paper))
    assert (row["version"], row["abstract"]) == (2, "Second.")


def test_a_changed_text_is_embedded_again(world: Pipeline) -> None:
    world.announce(entry("A paper about agents", 1, abstract="First."))
    world.embed_and_match()
    world.announce(entry("A paper about agents", 1, abstract="First.", upvotes=2))
    with world.db.transaction() as tx:
        assert embedding_backlog.take(tx, world.embedder.name, 9) == []
    world.announce(entry("A paper about agents", 1, abstract="Second.", version=2))
    with world.db.transaction() as tx:
        assert embedding_backlog.take(tx, world.embedder.name, 9) == [world.paper("A paper about agents")]


def fetched_page(world: Pipeline, title: str, *, attempts: int = 0) -> None:
    fetched(world, PAGE.replace(b"On the growth of small models", title.encode()), attempts)


def test_small_listings_are_ingested_together_and_each_has_its_batch(world: Pipeline) -> None:
    fetched_page(world, "The first of many papers here")
    fetched(world, b"<html><body>Rate exceeded.</body></html>")
    fetched_page(world, "The second of many papers here")
    assert ingest.work(world.db, world.settings)
    assert not ingest.work(world.db, world.settings)
    rows = world.rows(select(listing).order_by(listing.c.id))
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    assert {"The first of many papers here", "The second of many papers here"} <= {
        row["title"] for row in world.rows(select(paper))
    }
    assert len(world.rows(select(run))) == 1


def test_a_listing_that_was_tried_before_is_claimed_alone(world: Pipeline) -> None:
    fetched_page(world, "A paper that was never tried before")
    fetched_page(world, "A paper that may end its reader", attempts=1)
    fetched_page(world, "Another paper that was never tried")
    remaining = []
    while ingest.work(world.db, world.settings):
        remaining.append(len(world.rows(select(listing).where(listing.c.done_at.is_(None)))))
    assert remaining == [2, 1, 0]


def test_one_claim_has_a_limited_number_of_listings(world: Pipeline) -> None:
    for number in range(listings.MAX_LISTINGS_TOGETHER + 1):
        fetched(world, b"<rss/>" + str(number).encode())
    with world.db.transaction() as tx:
        claimed = listings.claim(tx, world.now(), timedelta(minutes=5))
        assert len(claimed) == listings.MAX_LISTINGS_TOGETHER == 64
        assert len(listings.claim(tx, world.now(), timedelta(minutes=5))) == 1


def test_one_claim_has_a_limited_number_of_bytes(world: Pipeline) -> None:
    for _ in range(3):
        fetched(world, b"x" * (listings.MAX_BYTES_TOGETHER // 2))
    with world.db.transaction() as tx:
        assert len(listings.claim(tx, world.now(), timedelta(minutes=5))) == 2


def test_releasing_a_listing_does_not_count_the_attempt(world: Pipeline) -> None:
    fetched_page(world, "A paper that waits for its turn")
    with world.db.transaction() as tx:
        claimed = listings.claim(tx, world.now(), timedelta(minutes=5))
        assert listings.claim(tx, world.now(), timedelta(minutes=5)) == []
        listings.release(tx, claimed)
        (again,) = listings.claim(tx, world.now(), timedelta(minutes=5))
    assert (again.id, again.attempts) == (claimed[0].id, 1)


def test_listings_of_an_expired_lease_are_not_written(world: Pipeline) -> None:
    fetched_page(world, "A paper of a slow worker is read twice")
    with world.db.transaction() as tx:
        (slow,) = listings.claim(tx, world.now(), timedelta(minutes=5))
    with world.db.transaction() as tx:
        tx.execute(update(listing).values(lease_until=world.now() - timedelta(seconds=1)))
    assert ingest.work(world.db, world.settings)
    with pytest.raises(LeaseLost), world.db.transaction() as tx:
        listings.finish(tx, [slow], world.now())
