"""The notice about a subscription without matches: sent once, and not for other subscriptions."""

from datetime import datetime, timedelta

from sqlalchemy import update

from services.flow.upkeep import no_match_reminder
from services.store.db.tables import delivery, match, subscription
from services.store.subscriptions import subscriptions
from tests.support.world import TimedPipeline

FORTNIGHT = timedelta(days=14, hours=1)


def watch_since(world: TimedPipeline, subscription_id: int, moment: datetime) -> None:
    with world.db.transaction() as tx:
        tx.execute(update(subscription).where(subscription.c.id == subscription_id).values(watched_since=moment))


def remind_all(world: TimedPipeline) -> list[str]:
    """Works until nothing is due. Returns the subjects of all notices."""
    while no_match_reminder.work(world.db, world.settings, world.embedder):
        pass
    world.make_due(delivery, next_attempt_at=timedelta(days=999))  # notices are due by the real clock
    world.deliver()
    return [row["subject"] for row in world.deliveries() if row["kind"] == "notice"]


def test_after_two_weeks_without_a_match_one_notice_says_why(timed: TimedPipeline) -> None:
    whales = timed.subscribe("Whales", query="planning whales", cadence="daily")
    watch_since(timed, whales, timed.clock.now)
    timed.hear()
    assert remind_all(timed) == []
    timed.clock.on(hours=14 * 24 + 1)
    assert remind_all(timed) == ["“Whales” has matched nothing for 14 days"]
    (mail,) = timed.mails()
    assert "The query matched none of the 1 papers of the last 60 days." in mail
    assert "whales alone fits 0 of them." in mail
    timed.clock.on(days=30)
    assert len(remind_all(timed)) == 1


def test_a_match_starts_a_new_period(timed: TimedPipeline) -> None:
    plans = timed.subscribe("Plans", query="planning")
    watch_since(timed, plans, timed.clock.now)
    timed.clock.on(hours=14 * 24 + 1)
    assert len(remind_all(timed)) == 1
    timed.clock.on(days=1)
    timed.hear()
    with timed.db.transaction() as tx:
        tx.execute(update(match).values(created_at=timed.clock.now))
    assert len(remind_all(timed)) == 1
    timed.clock.on(hours=14 * 24 + 1)
    assert len(remind_all(timed)) == 2


def test_paused_subscriptions_and_those_to_trending_papers_get_no_notice(timed: TimedPipeline) -> None:
    paused = timed.subscribe("Paused", query="planning")
    trending = timed.subscribe("Trending", trending=3, cadence="daily")
    with timed.db.transaction() as tx:
        subscriptions.pause(tx, paused, timed.account, timed.clock.now + timedelta(days=90))
    for subscription_id in (paused, trending):
        watch_since(timed, subscription_id, timed.clock.now - FORTNIGHT)
    assert remind_all(timed) == []


def test_the_notice_of_an_interest_without_papers_names_the_sources(timed: TimedPipeline) -> None:
    robots = timed.subscribe("Robots", interest="robot")
    watch_since(timed, robots, timed.clock.now - FORTNIGHT)
    assert len(remind_all(timed)) == 1
    assert "please look at your sources" in timed.mails()[0]
