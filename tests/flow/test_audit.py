"""The audit: each figure counts what is overdue, and nothing that waits for a person or a hold."""

from datetime import timedelta

import pytest
from sqlalchemy import func, update

from services.flow.pipeline import embed
from services.flow.pipeline.deliver.gather import gather_due
from services.flow.upkeep import recovery
from services.store.db import circuit_breaker
from services.store.db.tables import channel, delivery, delivery_item, match
from services.store.delivery import channels, opt_in, sending_pause
from services.store.maintenance import audit
from tests.support.world import Pipeline, entry

AGENTS = "One paper about agent planning"
LONG = timedelta(hours=1)


def figures(world: Pipeline, after: timedelta = timedelta()) -> dict[str, int]:
    """What is not zero."""
    with world.db.transaction() as tx:
        found = audit.audit(tx, world.now() + after)
    named = {name: count for name, count in found.figures().items() if count}
    assert found.clean == (not named or set(named) <= {"uncertain_spent", "papers_set_aside"})
    return named


def matched(world: Pipeline) -> None:
    world.subscribe(query="planning")
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()


def made(world: Pipeline, **state: object) -> None:
    """A message that was made, in some state."""
    matched(world)
    world.notify()
    assert gather_due(world.db, world.settings)
    if state:
        with world.db.transaction() as tx:
            tx.execute(update(delivery).values(state))


def held(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        sending_pause.start(tx, "a test", world.now())


def transport_held(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        tx.execute(update(channel).values(transport="mail"))
        circuit_breaker.open(tx, "mail", "535", world.now(), 1.0)


def disabled(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        channels.disable(tx, world.email, "410")


def unconfirmed(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        tx.execute(update(channel).values(verified=False))


def unsubscribed(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        opt_in.unsubscribe(tx, channels.find(tx, world.email))


def removed(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        channels.remove(tx, world.email)


STOPS = [held, transport_held, disabled, unconfirmed, unsubscribed, removed]


def test_what_was_read_and_is_not_matched_is_counted_after_ten_minutes(world: Pipeline) -> None:
    """A worker of one shard may be missing, or a paper ends its workers again and again."""
    world.subscribe(query="nothing of this")
    world.announce(entry(AGENTS, 1))
    assert figures(world, timedelta(minutes=9)) == {}
    assert figures(world, timedelta(minutes=11)) == {"runs_unmatched": 1}
    while embed.work(world.db, world.settings, world.embedder):
        pass
    assert figures(world, timedelta(minutes=11)) == {"runs_unmatched": 1}
    world.embed_and_match()
    assert figures(world, LONG) == {}


def test_a_match_that_nobody_told_is_counted_after_ten_minutes(world: Pipeline) -> None:
    matched(world)
    assert figures(world, timedelta(minutes=9)) == {}
    assert figures(world, timedelta(minutes=11)) == {"matches_not_notified": 1}
    with world.db.transaction() as tx:
        tx.execute(update(match).values(created_at=func.now() - LONG))
    assert figures(world) == {"matches_not_notified": 1}


@pytest.mark.parametrize("stop", STOPS)
def test_matches_are_notified_whatever_keeps_a_channel(world: Pipeline, stop: object) -> None:
    """So this figure needs no exception."""
    matched(world)
    stop(world)  # type: ignore[operator]
    world.notify()
    assert figures(world, LONG) == {}


def test_an_item_that_no_delivery_took_is_counted_ten_minutes_past_its_hour(world: Pipeline) -> None:
    matched(world)
    world.notify()
    assert figures(world, timedelta(minutes=9)) == {}
    assert figures(world, timedelta(minutes=11)) == {"items_overdue": 1}
    with world.db.transaction() as tx:
        tx.execute(update(delivery_item).values(not_before=func.now() + timedelta(days=1)))
    assert figures(world, LONG) == {}


def test_an_item_whose_delivery_is_not_sent_is_counted(world: Pipeline) -> None:
    made(world)
    assert figures(world, LONG) == {"items_overdue": 1}
    world.deliver()
    assert figures(world, LONG) == {}


def test_a_dropped_item_and_a_dead_delivery_are_over(world: Pipeline) -> None:
    made(world, state="dead", next_attempt_at=None)
    assert figures(world, LONG) == {}
    with world.db.transaction() as tx:
        tx.execute(update(delivery).values(state="pending"))
        tx.execute(update(delivery_item).values(dropped_because="silenced"))
    assert figures(world, LONG) == {}


@pytest.mark.parametrize("stop", STOPS)
def test_an_item_is_not_overdue_where_nothing_may_be_sent(world: Pipeline, stop: object) -> None:
    made(world)
    stop(world)  # type: ignore[operator]
    assert figures(world, LONG) == {}


@pytest.mark.parametrize("state", ["claimed", "sending"])
def test_a_lease_that_nobody_ended_is_counted_after_five_minutes(world: Pipeline, state: str) -> None:
    made(world, state=state, lease_until=func.now(), next_attempt_at=None)
    world.make_due(delivery_item, not_before=-LONG)
    assert figures(world, timedelta(minutes=4)) == {}
    assert figures(world, timedelta(minutes=6)) == {"leases_expired": 1}


@pytest.mark.parametrize("stop", [held, transport_held, disabled, unconfirmed])
def test_leases_are_ended_whatever_keeps_a_channel(world: Pipeline, stop: object) -> None:
    """So this figure needs no exception."""
    made(world, state="claimed", lease_until=func.now() - LONG)
    stop(world)  # type: ignore[operator]
    assert figures(world)["leases_expired"] == 1
    assert recovery.end_expired_lease(world.db, world.settings)
    assert figures(world, LONG) == {}


def test_a_doubt_whose_next_step_nobody_took_is_counted_after_ten_minutes(world: Pipeline) -> None:
    made(world, state="uncertain", next_attempt_at=func.now())
    assert figures(world, timedelta(minutes=9)) == {}
    assert figures(world, timedelta(minutes=11)) == {"uncertain_overdue": 1}


@pytest.mark.parametrize("stop", STOPS)
def test_a_doubt_waits_where_nothing_may_be_sent(world: Pipeline, stop: object) -> None:
    made(world, state="uncertain", next_attempt_at=func.now())
    stop(world)  # type: ignore[operator]
    assert set(figures(world, LONG)) <= {"uncertain_spent"}


def test_a_doubt_without_a_next_step_is_listed_and_fails_nothing(world: Pipeline) -> None:
    made(world, state="uncertain", next_attempt_at=None)
    assert figures(world, timedelta(days=1)) == {"uncertain_spent": 1}


def test_a_transport_that_is_down_for_over_an_hour_fails_the_audit(world: Pipeline) -> None:
    transport_held(world)
    assert figures(world, timedelta(minutes=60)) == {}
    with world.db.transaction() as tx:  # A probe confirms that it is still down.
        circuit_breaker.open(tx, "mail", "535", world.now() + timedelta(minutes=50), 1.0)
    assert figures(world, timedelta(minutes=62)) == {"transports_down": 1}
    with world.db.transaction() as tx:
        circuit_breaker.close_after_probe(tx, "mail")
    assert figures(world, timedelta(days=1)) == {}
