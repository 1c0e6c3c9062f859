"""What a worker holds in memory: everything saved before it looked, whatever order saves began and ended in."""

import threading
import time

from sqlalchemy import text

from services.domain.subscription import Draft, check
from services.store import subscriptions
from services.store.interests import Compiled
from tests.flow.conftest import World

DEADLINE = 10.0
ASKED = check(Draft(query="diffusion"))


def someone_waits_for_a_lock(world: World) -> bool:
    return bool(world.rows(text("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")))


def held(world: World) -> set[int]:
    with world.db.transaction() as tx:
        world.shard.refresh(tx)
    return set(world.shard.held)


def test_two_saves_are_both_seen_though_the_later_number_is_asked_for_first(world: World) -> None:
    """A sequence would hand out both numbers at once: a worker that sees the later one first would skip the other."""
    saved: list[int] = []

    def save_meanwhile() -> None:
        with world.db.transaction() as tx:
            saved.append(subscriptions.save(tx, world.account, ASKED, Compiled(), [world.email]))

    with world.db.transaction() as tx:
        first = subscriptions.save(tx, world.account, ASKED, Compiled(), [world.email])
        other = threading.Thread(target=save_meanwhile)
        other.start()
        end = time.monotonic() + DEADLINE
        while not someone_waits_for_a_lock(world):
            assert time.monotonic() < end, "the second save did not wait for the first one's number"
        assert held(world) == set()
        assert not saved
    other.join(DEADLINE)
    assert held(world) == {first, *saved}
    assert len(saved) == 1


def test_a_save_that_began_first_and_ends_last_is_seen(world: World) -> None:
    with world.db.transaction() as slow:
        slow.execute(text("SELECT pg_current_xact_id()"))
        with world.db.transaction() as quick:
            early = subscriptions.save(quick, world.account, ASKED, Compiled(), [world.email])
        assert held(world) == {early}
        late = subscriptions.save(slow, world.account, ASKED, Compiled(), [world.email])
        assert held(world) == {early}
    assert held(world) == {early, late}
