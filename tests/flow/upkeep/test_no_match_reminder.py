"""One note when a subscription brings nothing, and no mail otherwise."""

from datetime import datetime, timedelta

from sqlalchemy import update

from services.flow.upkeep import no_match_reminder
from services.store.db.tables import delivery, match, subscription
from services.store.subscriptions import subscriptions
from tests.support.world import TimedPipeline

FORTNIGHT = timedelta(days=14, hours=1)


def since(world: TimedPipeline, one: int, moment: datetime) -> None:
    with world.db.transaction() as tx:
        tx.execute(update(subscription).where(subscription.c.id == one).values(watched_since=moment))


def remind_all(world: TimedPipeline) -> list[str]:
    """Works until nothing is due; the subjects of the notices so far."""
    while no_match_reminder.work(world.db, world.settings, world.embedder):
        pass
    world.make_due(delivery, next_attempt_at=timedelta(days=999))  # a notice goes by the real clock
    world.deliver()
    return [row["subject"] for row in world.deliveries() if row["kind"] == "notice"]


def test_after_two_weeks_without_a_match_one_note_says_why(timed: TimedPipeline) -> None:
    one = timed.subscribe("Whales", query="planning whales", cadence="daily")
    since(timed, one, timed.clock.now)
    timed.hear()
    assert remind_all(timed) == []
    timed.clock.on(hours=14 * 24 + 1)
    assert remind_all(timed) == ["“Whales” has matched nothing for 14 days"]
    (mail,) = timed.mails()
    assert "The query matched none of the 1 papers of the last 60 days." in mail
    assert "whales alone fits 0 of them." in mail
    timed.clock.on(days=30)
    assert len(remind_all(timed)) == 1


def test_a_match_counts_anew(timed: TimedPipeline) -> None:
    one = timed.subscribe("Plans", query="planning")
    since(timed, one, timed.clock.now)
    timed.clock.on(hours=14 * 24 + 1)
    assert len(remind_all(timed)) == 1
    timed.clock.on(days=1)
    timed.hear()
    with timed.db.transaction() as tx:
        tx.execute(update(match).values(created_at=timed.clock.now))
    assert len(remind_all(timed)) == 1
    timed.clock.on(hours=14 * 24 + 1)
    assert len(remind_all(timed)) == 2


def test_who_pauses_or_follows_what_trends_is_not_reminded(timed: TimedPipeline) -> None:
    paused = timed.subscribe("Paused", query="planning")
    trending = timed.subscribe("Trending", trending=3, cadence="daily")
    with timed.db.transaction() as tx:
        subscriptions.pause(tx, paused, timed.account, timed.clock.now + timedelta(days=90))
    for one in (paused, trending):
        since(timed, one, timed.clock.now - FORTNIGHT)
    assert remind_all(timed) == []


def test_an_interest_without_papers_asks_to_look_at_the_sources(timed: TimedPipeline) -> None:
    one = timed.subscribe("Robots", interest="robot")
    since(timed, one, timed.clock.now - FORTNIGHT)
    assert len(remind_all(timed)) == 1
    assert "please look at your sources" in timed.mails()[0]
