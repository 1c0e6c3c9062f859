"""Trending papers: chosen when a digest is composed, by upvotes, each once on a channel."""

import pytest
from sqlalchemy import select

from services.domain.subscriptions.draft import Draft
from services.errors import ConfigError
from services.flow.commands import subscribe
from services.flow.commands.preview import preview
from services.store.db.tables import match
from services.store.subscriptions import silences, subscriptions
from tests.support.world import TimedPipeline, entry


def trending(world: TimedPipeline, most: int = 2, **values: object) -> int:
    return world.subscribe(**{"name": "Trending", "trending": most, "cadence": "daily"} | values)  # type: ignore[arg-type]


def announce(world: TimedPipeline, *papers: tuple[str, int], source: str = "daily-papers", **values: object) -> None:
    today = world.clock.now.date()
    entries = (entry(title, announced_on=today, upvotes=upvotes, **values) for title, upvotes in papers)
    world.announce(*entries, source=source)
    world.embed_and_match()
    world.notify()


def upvote(world: TimedPipeline, title: str, upvotes: int) -> None:
    announce(world, (title, upvotes))


A, B, C, D = (f"{word} papers are about something entirely" for word in ("First", "Second", "Third", "Fourth"))


def test_a_digest_takes_the_most_upvoted_since_the_last_one(timed: TimedPipeline) -> None:
    trending(timed)
    announce(timed, (A, 5), (B, 90), (C, 30), (D, 0))
    assert timed.items() == []
    timed.wait("2026-05-04T08:00")
    assert timed.digests() == [("2026-05-04", [B, C])]
    (mail,) = timed.mails()
    notified = {row["decided"]["why"] for row in timed.rows(select(match))}
    assert "\u25b2 90, among the 2 most upvoted Daily Papers since 3 May" in notified
    assert mail.index(B) < mail.index(C)
    assert "Trending" in mail


def test_what_was_not_chosen_is_over_and_what_was_comes_once(timed: TimedPipeline) -> None:
    trending(timed)
    announce(timed, (A, 5), (B, 90), (C, 30))
    timed.wait("2026-05-04T08:00")
    upvote(timed, A, 500)
    upvote(timed, B, 700)
    timed.wait("2026-05-05T08:00")
    assert len(timed.digests()) == 1
    timed.clock.to("2026-05-05T09:00")
    announce(timed, (D, 1))
    timed.wait("2026-05-06T08:00")
    assert timed.digests()[1:] == [("2026-05-06", [D])]


def test_upvotes_count_until_the_digest_is_composed(timed: TimedPipeline) -> None:
    trending(timed, 1)
    announce(timed, (A, 5), (B, 9))
    upvote(timed, A, 50)
    timed.wait("2026-05-04T08:00")
    assert timed.digests() == [("2026-05-04", [A])]


def test_only_daily_papers_that_are_new_count(timed: TimedPipeline) -> None:
    trending(timed)
    announce(timed, (A, 80), source="arxiv")
    timed.announce(entry(B, announced_on=timed.clock.now.date().replace(day=1), upvotes=90), silent=True)
    announce(timed, (C, 3))
    timed.wait("2026-05-04T08:00")
    assert timed.digests() == [("2026-05-04", [C])]


def test_with_a_query_it_chooses_among_what_matches(timed: TimedPipeline) -> None:
    trending(timed, 1, query="first OR third")
    announce(timed, (A, 5), (B, 90), (C, 30))
    assert len(timed.matches()) == 2
    timed.wait("2026-05-04T08:00")
    assert timed.digests() == [("2026-05-04", [C])]
    assert "in the title" in timed.mails()[0]


def test_a_paper_of_another_subscription_gets_a_further_reason_and_comes_once(timed: TimedPipeline) -> None:
    trending(timed)
    timed.subscribe("Firsts", query="first", cadence="daily")
    timed.subscribe("Seconds", query="second", cadence="immediate")
    announce(timed, (A, 50), (B, 90), (C, 30))
    timed.deliver()
    timed.wait("2026-05-04T08:00")
    ((_, papers),) = timed.digests()
    assert sorted(papers) == sorted([A, C])  # the second went out at once
    mail = timed.mails()[0]
    assert "Firsts" in mail


def test_a_weekly_one_looks_back_a_week_on_its_day(timed: TimedPipeline) -> None:
    trending(timed, cadence="weekly")
    timed.wait("2026-05-04T08:00")
    timed.clock.to("2026-05-06T12:00")
    announce(timed, (A, 5))
    timed.wait("2026-05-10T12:00")
    announce(timed, (B, 6))
    assert timed.digests() == []
    timed.wait("2026-05-11T08:00")
    assert timed.digests() == [("2026-05-11", [B, A])]


def test_a_pause_is_looked_back_over(timed: TimedPipeline) -> None:
    one = trending(timed)
    announce(timed, (A, 5))
    timed.wait("2026-05-04T08:00")
    with timed.db.transaction() as tx:
        subscriptions.pause(tx, one, timed.account, subscribe.start_of("2026-05-07", "UTC"))
    for day, paper in (("2026-05-05", B), ("2026-05-06", C)):
        timed.wait(f"{day}T09:00")
        announce(timed, (paper, 30))
    timed.wait("2026-05-07T08:00")
    assert [(day, sorted(papers)) for day, papers in timed.digests()[1:]] == [("2026-05-07", sorted([B, C]))]


def test_what_is_silenced_makes_room_for_the_next(timed: TimedPipeline) -> None:
    trending(timed, 1)
    with timed.db.transaction() as tx:
        silences.add(tx, timed.account, subscribe.start_of("2026-05-09", "UTC"), timed.clock.now, query="second")
    announce(timed, (A, 5), (B, 90))
    timed.wait("2026-05-04T08:00")
    assert timed.digests() == [("2026-05-04", [A])]


def test_at_once_is_no_cadence_for_what_a_digest_chooses(timed: TimedPipeline) -> None:
    with pytest.raises(ConfigError, match="daily or weekly"):
        trending(timed, cadence="immediate")


def test_a_preview_shows_what_digests_would_have_chosen(timed: TimedPipeline) -> None:
    announce(timed, (A, 5), (B, 90), (C, 30))
    seen = preview(timed.db, timed.embedder, Draft(trending=2, cadence="daily"))
    whys = {one.paper.title: one.why for one in seen.samples}
    assert whys.keys() == {B, C}
    assert len(seen.hits) == 2
    assert whys[B] == "\u25b2 90, among the 2 most upvoted Daily Papers of the day"
    narrow = preview(timed.db, timed.embedder, Draft(trending=2, query="first", cadence="daily"))
    assert [one.paper.title for one in narrow.samples] == [A]
