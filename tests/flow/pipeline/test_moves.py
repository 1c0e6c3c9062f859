"""A permanent redirect replaces a source's address only when listings were read at its target, several times."""

from sqlalchemy import select

from services.domain.sources.moves import READS_THAT_CONFIRM
from services.http.client import Fetcher
from services.store.db.tables import paper
from services.store.sources import sources
from tests.flow.pipeline.test_poll import FEED, add, fetcher, make_due, peer, poll_all, row_of
from tests.support.sinks import Answer, HttpSink
from tests.support.world import Pipeline

__all__ = ["fetcher", "peer"]

LOGIN = Answer(body="<html><title>Log in</title></html>", headers={"Content-Type": "text/html"})


def redirect(to: str, status: int = 301) -> Answer:
    return Answer(status=status, headers={"Location": to})


def poll_times(world: Pipeline, fetcher: Fetcher, times: int) -> None:
    for _ in range(times):
        poll_all(world, fetcher)
        make_due(world)


def last_path(peer: HttpSink) -> str:
    return peer.requests[-1].path


def moved(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> int:
    """A source whose feed has moved from /feed to /new for good."""
    source_id = add(world, peer)
    peer.always("/feed", redirect("/new"))
    for number in range(READS_THAT_CONFIRM):
        peer.always("/new", Answer(body=FEED.format(title=f"Paper {number}")))
        poll_times(world, fetcher, 1)
    assert row_of(world, source_id)["moved_to"] == f"http://127.0.0.1:{peer.port}/new"
    return source_id


def test_one_redirect_to_a_captive_portal_does_not_replace_the_address(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher
) -> None:
    source_id = add(world, peer)
    peer.script("/feed", redirect("/portal/login.html"))
    peer.always("/feed", Answer(body=FEED.format(title="Read")))
    peer.always("/portal/login.html", LOGIN)
    poll_times(world, fetcher, 1)
    assert row_of(world, source_id)["error"]
    poll_times(world, fetcher, 1)
    assert last_path(peer) == "/feed"
    assert [row["title"] for row in world.rows(select(paper))] == ["Read"]
    assert row_of(world, source_id)["moved_to"] == ""


def test_a_portal_that_stays_for_days_does_not_replace_the_address(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher
) -> None:
    source_id = add(world, peer)
    peer.always("/feed", redirect("/portal/login.html", 308))
    peer.always("/portal/login.html", LOGIN)
    poll_times(world, fetcher, READS_THAT_CONFIRM + 2)
    assert row_of(world, source_id)["moved_to"] == ""
    assert len(peer.to("/feed")) == READS_THAT_CONFIRM + 2


def test_a_redirect_that_leads_to_listings_several_times_is_the_new_address(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher
) -> None:
    moved(world, peer, fetcher)
    before = len(peer.to("/feed"))
    poll_times(world, fetcher, 1)
    assert len(peer.to("/feed")) == before == READS_THAT_CONFIRM


def test_unchanged_listings_confirm_a_redirect_too(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    source_id = add(world, peer)
    peer.always("/feed", redirect("/new"))
    peer.always("/new", Answer(body=FEED.format(title="The same")))
    poll_times(world, fetcher, READS_THAT_CONFIRM - 1)
    assert row_of(world, source_id)["moved_to"] == ""
    poll_times(world, fetcher, 1)
    assert str(row_of(world, source_id)["moved_to"]).endswith("/new")


def test_a_redirect_that_is_taken_back_begins_anew(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    source_id = add(world, peer)
    peer.always("/new", Answer(body=FEED.format(title="New")))
    peer.always("/feed", Answer(body=FEED.format(title="Old")))
    for _ in range(READS_THAT_CONFIRM):
        peer.script("/feed", redirect("/new"))
        poll_times(world, fetcher, 2)
    assert row_of(world, source_id)["moved_to"] == ""


def test_the_old_address_is_tried_when_the_new_one_fails(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    for answer in (Answer(status=404), Answer(status=410), LOGIN):
        source_id = moved(world, peer, fetcher)
        peer.always("/new", answer)
        peer.always("/feed", Answer(body=FEED.format(title="Back at the old address")))
        poll_times(world, fetcher, 2)
        assert last_path(peer) == "/feed"
        row = row_of(world, source_id)
        assert (row["moved_to"], row["failures"], row["polled"]) == ("", 0, True)


def test_the_new_address_stays_when_the_old_one_is_dead(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    source_id = moved(world, peer, fetcher)
    peer.always("/feed", Answer(status=404))
    peer.script("/new", Answer(status=500))
    peer.always("/new", Answer(body=FEED.format(title="After the trouble")))
    poll_times(world, fetcher, 3)
    assert [asked.path for asked in peer.requests[-3:]] == ["/new", "/feed", "/new"]
    assert row_of(world, source_id)["failures"] == 0


def test_adding_a_source_anew_forgets_where_it_moved(world: Pipeline, peer: HttpSink, fetcher: Fetcher) -> None:
    source_id = moved(world, peer, fetcher)
    with world.db.transaction() as tx:
        sources.remove(tx, source_id)
    assert add(world, peer) == source_id
    peer.always("/feed", Answer(body=FEED.format(title="At its own address"), headers={"ETag": '"1"'}))
    poll_times(world, fetcher, 1)
    assert last_path(peer) == "/feed"
