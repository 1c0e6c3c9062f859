"""What a worker holds in memory: everything saved before it looked, whatever order saves began and ended in."""

import gc
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from sqlalchemy import text

from services.domain.interests.calibration import CompiledInterest
from services.domain.subscriptions.draft import Draft, check
from services.flow.pipeline.match import LoadedSubscription
from services.store.subscriptions import subscriptions
from tests.support.world import Pipeline

DEADLINE = 10.0
ASKED = check(Draft(query="diffusion"))


MANY = text(
    "INSERT INTO subscription (account_id, name, query, shard, revision) "
    "SELECT :account, 'many', '\"word ' || n || '\"', 0, n FROM generate_series(1, :count) AS n"
)


@pytest.fixture
def collector() -> Iterator[None]:
    """The garbage collector as it was, afterwards."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def someone_waits_for_a_lock(world: Pipeline) -> bool:
    return bool(world.rows(text("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")))


def loaded_ids(world: Pipeline) -> set[int]:
    with world.db.transaction() as tx:
        world.shard.refresh(tx)
    return set(world.shard.loaded)


def test_a_new_worker_reads_interests_as_they_were_saved(world: Pipeline) -> None:
    weights, terms = [0.25, -1.0, 1e-7], {"diffus": 0.5}
    compiled = CompiledInterest(
        weights=weights, terms=terms, threshold=0.4, relaxed_thresholds=(0.3, 0.2), model=world.embedder.name
    )
    with world.db.transaction() as tx:
        one = subscriptions.save(tx, world.account, check(Draft(interest="diffusion")), compiled, [world.email])
        gone = subscriptions.save(tx, world.account, ASKED, CompiledInterest(), [world.email])
        subscriptions.remove(tx, gone, world.account)
    assert loaded_ids(world) == {one}
    loaded = world.shard.loaded[one].compiled
    assert loaded.weights is not None
    assert loaded.weights.dtype == np.float32
    assert loaded.weights.tolist() == np.float32(weights).tolist()
    assert (loaded.terms, loaded.threshold, loaded.relaxed_thresholds) == (
        terms,
        0.4,
        (0.3, 0.2),
    )


def test_two_concurrent_saves_are_both_read(world: Pipeline) -> None:
    """A sequence would hand out both numbers at once: a worker that sees the later one first would skip the other."""
    saved: list[int] = []

    def save_meanwhile() -> None:
        with world.db.transaction() as tx:
            saved.append(subscriptions.save(tx, world.account, ASKED, CompiledInterest(), [world.email]))

    with world.db.transaction() as tx:
        first = subscriptions.save(tx, world.account, ASKED, CompiledInterest(), [world.email])
        other = threading.Thread(target=save_meanwhile)
        other.start()
        end = time.monotonic() + DEADLINE
        while not someone_waits_for_a_lock(world):
            assert time.monotonic() < end, "the second save did not wait for the first one's number"
        assert loaded_ids(world) == set()
        assert not saved
    other.join(DEADLINE)
    assert loaded_ids(world) == {first, *saved}
    assert len(saved) == 1


def test_a_save_that_began_first_and_ends_last_is_read(world: Pipeline) -> None:
    with world.db.transaction() as slow:
        slow.execute(text("SELECT pg_current_xact_id()"))
        with world.db.transaction() as quick:
            early = subscriptions.save(quick, world.account, ASKED, CompiledInterest(), [world.email])
        assert loaded_ids(world) == {early}
        late = subscriptions.save(slow, world.account, ASKED, CompiledInterest(), [world.email])
        assert loaded_ids(world) == {early}
    assert loaded_ids(world) == {early, late}


@pytest.mark.usefixtures("collector")
def test_loaded_subscriptions_are_frozen_for_the_garbage_collector(world: Pipeline) -> None:
    """Looking through all subscriptions again and again took a fifth of a burst."""
    before = gc.get_freeze_count()
    with world.db.transaction() as tx:
        tx.execute(MANY, {"account": world.account, "count": subscriptions.FETCH_SIZE})
    assert len(loaded_ids(world)) == subscriptions.FETCH_SIZE
    assert gc.get_freeze_count() - before > subscriptions.FETCH_SIZE
    assert not any(isinstance(one, LoadedSubscription) for one in gc.get_objects())
