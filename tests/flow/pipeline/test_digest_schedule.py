"""Digests at people's hours: one a local date, decided once, whatever clocks, outages and people do."""

from collections import Counter
from datetime import time, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import update

from services.domain.delivery import schedule
from services.domain.subscriptions.draft import Draft
from services.flow.commands import subscribe
from services.flow.pipeline.deliver.gather import gather_due
from services.store.accounts import accounts
from services.store.db.tables import source
from services.store.delivery import channels, digest_schedule
from services.store.maintenance import audit
from services.store.sources import sources
from services.store.subscriptions import silences, subscriptions
from tests.support.world import TimedPipeline, entry


def daily(world: TimedPipeline, **values: object) -> int:
    return world.subscribe(**{"query": "planning", "cadence": "daily"} | values)  # type: ignore[arg-type]


def move(world: TimedPipeline, timezone: str, at: time | None = None) -> None:
    """The account gets another time zone, and its channel may get another digest time."""
    with world.db.transaction() as tx:
        accounts.set_hours(tx, world.account, timezone, None, None)
        if at is not None:
            channel = channels.find(tx, world.email)
            channels.set_hours(tx, channel, schedule.ChannelHours(at, channel.weekday))
    world.notify()
    world.deliver()


def oracle(world: TimedPipeline) -> audit.Audit:
    with world.db.transaction() as tx:
        return audit.audit(tx, world.clock.now + timedelta(minutes=20))


# ── one a date, decided once ──────────────────────────────────────────────────────────────────────────────────


def test_papers_wait_for_the_hour_and_come_as_one_digest(timed: TimedPipeline) -> None:
    daily(timed)
    papers = [timed.hear(), timed.hear()]
    assert timed.digests() == []
    assert oracle(timed).clean
    timed.wait("2026-05-04T08:00")
    assert timed.digests() == [("2026-05-04", papers)]
    assert len(timed.mails()) == 1
    assert "2 papers on 4 May" in timed.mails()[0]


def test_a_paper_five_minutes_late_waits_for_tomorrow(timed: TimedPipeline) -> None:
    daily(timed)
    first = timed.hear()
    timed.wait("2026-05-04T08:00")
    timed.clock.to("2026-05-04T08:05")
    second = timed.hear()
    timed.wait("2026-05-05T07:59")
    assert timed.digests() == [("2026-05-04", [first])]
    timed.wait("2026-05-05T08:00")
    assert timed.digests()[1:] == [("2026-05-05", [second])]


def test_an_empty_slot_is_decided_too(timed: TimedPipeline) -> None:
    daily(timed)
    timed.wait("2026-05-04T08:00")
    timed.clock.to("2026-05-04T08:05")
    paper = timed.hear()
    move(timed, "UTC", at=schedule.parse_time("09:00"))
    timed.wait("2026-05-04T09:00")
    assert timed.digests() == []
    timed.wait("2026-05-05T09:00")
    assert timed.digests() == [("2026-05-05", [paper])]


def test_daily_and_weekly_subscriptions_share_the_digest_of_the_weekday(timed: TimedPipeline) -> None:
    daily(timed)
    daily(timed, name="Weekly", query="robots", cadence="weekly")
    timed.clock.to("2026-05-06T09:00")
    robots = timed.hear("robots")
    plan = timed.hear()
    timed.wait("2026-05-07T08:00")
    assert timed.digests() == [("2026-05-07", [plan])]
    timed.clock.to("2026-05-11T07:00")
    other = timed.hear()
    timed.wait("2026-05-11T08:00")
    assert timed.digests()[1:] == [("2026-05-11", [robots, other])]


# ── outages ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_after_an_outage_one_digest_makes_up_for_all_missed_ones(timed: TimedPipeline) -> None:
    daily(timed)
    first = timed.hear()
    timed.clock.to("2026-05-04T09:00")
    timed.announce(entry("Another paper about planning", 90, announced_on=timed.clock.now.date()))
    timed.embed_and_match()
    timed.notify()
    timed.wait("2026-05-06T10:00")
    assert timed.digests() == [("2026-05-06", [first, "Another paper about planning"])]
    third = timed.hear()
    timed.wait("2026-05-07T08:00")
    assert timed.digests()[1:] == [("2026-05-07", [third])]


def test_a_missed_slot_waits_a_little_for_what_is_still_being_read(timed: TimedPipeline) -> None:
    daily(timed)
    old = timed.hear()
    with timed.db.transaction() as tx:
        feed = sources.source_of_imports(tx, "feed")
        polled = {"polled": True, "next_poll_at": timed.clock.now}
        tx.execute(update(source).where(source.c.id == feed).values(polled))
    timed.wait("2026-05-04T10:00")
    assert timed.digests() == []
    assert oracle(timed).items_overdue == 0
    timed.clock.on(minutes=5)
    new = timed.hear()
    with timed.db.transaction() as tx:
        assert digest_schedule.news_is_coming(tx, timed.clock.now)
    timed.wait("2026-05-04T10:10")
    assert timed.digests() == [("2026-05-04", [old])]
    timed.wait("2026-05-05T08:00")
    assert timed.digests()[1:] == [("2026-05-05", [new])]


def test_a_disabled_channel_that_is_enabled_makes_up_for_the_latest_slot(timed: TimedPipeline) -> None:
    daily(timed)
    paper = timed.hear()
    with timed.db.transaction() as tx:
        channels.disable(tx, timed.email, "no such box")
    timed.wait("2026-05-06T07:00")
    assert timed.digests() == []
    with timed.db.transaction() as tx:
        channels.enable(tx, timed.email)
    timed.wait("2026-05-06T07:30")
    assert timed.digests() == [("2026-05-05", [paper])]


# ── pauses and silences ───────────────────────────────────────────────────────────────────────────────────────


def test_a_pause_holds_and_then_one_digest_is_ranked_over_the_gap(timed: TimedPipeline) -> None:
    one = daily(timed)
    waiting = timed.hear()
    with timed.db.transaction() as tx:
        subscriptions.pause(tx, one, timed.account, timed.clock.now + timedelta(days=3))
    timed.notify()
    timed.wait("2026-05-05T09:00")
    best = timed.hear(upvotes=40)
    timed.wait("2026-05-07T07:00")
    assert timed.digests() == []
    timed.wait("2026-05-07T08:00")
    ((day, papers),) = timed.digests()
    assert (day, set(papers)) == ("2026-05-07", {waiting, best})
    (mail,) = timed.mails()
    assert mail.index(best) < mail.index(waiting)


def test_a_pause_that_ends_early_lets_go_what_it_held(timed: TimedPipeline) -> None:
    one = daily(timed)
    with timed.db.transaction() as tx:
        subscriptions.pause(tx, one, timed.account, subscribe.FURTHER_NOTICE)
    paper = timed.hear()
    timed.wait("2026-05-06T09:00")
    with timed.db.transaction() as tx:
        subscriptions.pause(tx, one, timed.account, None)
    timed.wait("2026-05-07T08:00")
    assert timed.digests() == [("2026-05-07", [paper])]


def test_a_weekly_subscription_that_becomes_immediate_lets_go_what_waits(timed: TimedPipeline) -> None:
    one = timed.subscribe("Mine", query="planning", cadence="weekly")
    paper = timed.hear()
    assert timed.items()[0]["not_before"] > timed.clock.now + timedelta(hours=1)
    now = Draft(name="Mine", query="planning", cadence="immediate")
    subscribe.save(timed.db, timed.embedder, timed.account, now, [timed.email], one)
    timed.notify()
    timed.deliver()
    assert [row["kind"] for row in timed.deliveries()] == ["message"]
    assert paper in timed.mails()[0]


def silence(world: TimedPipeline, days: int = 2, **values: object) -> int:
    with world.db.transaction() as tx:
        until = world.clock.now + timedelta(days=days)
        return silences.add(tx, world.account, until, world.clock.now, **values)  # type: ignore[arg-type]


def test_a_silence_drops_what_it_covers_with_the_reason_and_nothing_else(timed: TimedPipeline) -> None:
    timed.subscribe("All", query="paper")
    silence(timed, query="robots")
    timed.hear("robots")
    title = timed.hear("plants")
    (mail,) = timed.mails()
    assert title in mail
    assert [item["dropped_because"] for item in timed.items()] == ["silenced until 2026-05-06 06:00 UTC: robots", ""]


def test_a_silenced_subscription_leaves_the_others_their_papers(timed: TimedPipeline) -> None:
    loud, quiet = timed.subscribe("Loud", query="robots"), timed.subscribe("Quiet", query="paper")
    silence(timed, subscription_id=quiet)
    timed.hear("plants")
    timed.hear("robots")
    (mail,) = timed.mails()
    assert "Loud" in mail
    assert "Quiet" not in mail
    assert loud


def test_a_silence_is_looked_at_again_when_a_digest_is_made(timed: TimedPipeline) -> None:
    daily(timed)
    timed.hear()
    one = silence(timed)
    timed.wait("2026-05-04T08:00")
    assert timed.digests() == []
    assert timed.items()[0]["dropped_because"].startswith("silenced until")
    with timed.db.transaction() as tx:
        silences.end(tx, one, timed.account)
    later = timed.hear()
    timed.wait("2026-05-05T08:00")
    assert timed.digests() == [("2026-05-05", [later])]


def test_a_paper_that_was_silenced_comes_when_another_subscription_asks_for_it(timed: TimedPipeline) -> None:
    quiet = timed.subscribe("Quiet", query="robots")
    silence(timed, subscription_id=quiet)
    timed.run(entry("Robots", 1))
    timed.subscribe("Loud", query="robots", sources=("arxiv",))
    timed.announce(entry("Robots", 1), source="arxiv")
    timed.embed_and_match()
    timed.notify()
    timed.deliver()
    assert [row["state"] for row in timed.deliveries()] == ["sent"]


# ── clocks ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("zone", "at", "start"),
    [
        ("Europe/Berlin", "02:30", "2026-03-27T12:00"),
        ("Europe/Berlin", "02:30", "2026-10-23T12:00"),
        ("Australia/Lord_Howe", "01:45", "2026-04-03T12:00"),
        ("Australia/Lord_Howe", "02:15", "2026-10-02T12:00"),
        ("Pacific/Apia", "08:00", "2011-12-28T12:00"),
        ("UTC", "23:59", "2026-05-04T12:00"),
    ],
)
def test_whatever_clocks_do_there_is_one_digest_a_date_and_each_paper_comes_once(
    timed: TimedPipeline, zone: str, at: str, start: str
) -> None:
    timed.clock.to(start)
    move(timed, zone, at=schedule.parse_time(at))
    daily(timed)
    announced = []
    for _ in range(22):
        announced.append(timed.hear())
        timed.clock.on(hours=2, minutes=15)
        timed.deliver()
        timed.clock.on(hours=2)
        timed.deliver()
    timed.clock.on(hours=30)
    timed.deliver()
    found = timed.digests()
    days = [day for day, _ in found]
    assert days == sorted(set(days))
    assert len(days) >= 3
    assert Counter(paper for _, papers in found for paper in papers) == Counter(announced)
    assert "2011-12-30" not in days


def test_a_time_zone_changed_after_sending_brings_no_second_digest(timed: TimedPipeline) -> None:
    daily(timed)
    announced = [timed.hear()]
    timed.wait("2026-05-04T08:00")
    for zone in ("America/New_York", "Pacific/Honolulu", "Pacific/Apia", "Asia/Tokyo", "UTC"):
        move(timed, zone)
        for _ in range(4):
            announced.append(timed.hear())
            timed.clock.on(hours=3)
            timed.deliver()
    timed.clock.on(hours=30)
    timed.deliver()
    days = [day for day, _ in timed.digests()]
    assert all(one < other for one, other in pairwise(days))
    assert Counter(paper for _, papers in timed.digests() for paper in papers) == Counter(announced)


def test_a_clock_that_steps_doubles_and_loses_nothing(timed: TimedPipeline) -> None:
    daily(timed)
    announced = [timed.hear()]
    timed.wait("2026-05-04T08:00")
    for step in (-1, 24, -24, -1, 2, 24, 24, 24, 24):
        announced.append(timed.hear())
        timed.clock.on(hours=step)
        timed.deliver()
        timed.deliver()
    days = [day for day, _ in timed.digests()]
    assert len(days) == len(set(days))
    assert Counter(paper for _, papers in timed.digests() for paper in papers) == Counter(announced)


def test_two_workers_decide_a_slot_once(timed: TimedPipeline) -> None:
    daily(timed)
    timed.hear()
    timed.clock.to("2026-05-04T08:00")
    assert gather_due(timed.db, timed.settings)
    assert not gather_due(timed.db, timed.settings)
    assert len(timed.deliveries()) == 1
