"""Who gets what: freshness, events, missing vectors, repeated jobs."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError

from services.domain.interests.calibration import RELAXATION_STEPS, CompiledInterest
from services.domain.subscriptions.draft import Draft
from services.errors import LeaseLost
from services.flow.commands import subscribe
from services.flow.pipeline import embed, match
from services.flow.upkeep import recalibrate
from services.store.accounts import accounts
from services.store.db.tables import match as match_table
from services.store.db.tables import match_job, paper_vector, run, subscription, transport
from services.store.interests import thresholds
from services.store.subscriptions import match_runs, subscriptions
from tests.support.world import Pipeline, entry

AGENTS = "One paper about agent planning"
ROBOTS = "Another paper about robot arms"


def test_queries_interests_and_both_together(world: Pipeline) -> None:
    query = world.subscribe("Query", query="planning")
    interest = world.subscribe("Interest", interest="agent")
    both = world.subscribe("Both", interest="agent", query="arms")
    world.announce(entry(AGENTS, 1), entry(ROBOTS, 2))
    world.embed_and_match()
    agents = world.paper(AGENTS)
    assert world.matches() == {(query, agents), (interest, agents)}
    assert both not in {one for one, _ in world.matches()}


def test_each_match_stores_its_reason(world: Pipeline) -> None:
    world.subscribe("Query", query="planning")
    world.subscribe("Interest", interest="agent")
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    why = [row["decided"]["why"] for row in world.rows(select(match_table).order_by(match_table.c.subscription_id))]
    assert why[0] == '"planning" in the title'
    assert "close to your interest" in why[1]


def test_the_nearest_liked_paper_is_named(world: Pipeline) -> None:
    world.announce(entry(AGENTS, 1), silent=True)
    world.subscribe("Like", liked=(world.paper(AGENTS),))
    world.announce(entry("A later paper about an agent", 2))
    while embed.work_backlog(world.db, world.settings, world.embedder):
        pass
    world.embed_and_match()
    (row,) = world.rows(select(match_table))
    assert AGENTS in row["decided"]["why"]


def test_a_batch_uses_saved_subscriptions_and_no_deleted_ones(world: Pipeline) -> None:
    gone = world.subscribe("Gone", query="planning")
    world.announce(entry("First paper on planning", 1))
    world.embed_and_match()
    kept = world.subscribe("Kept", query="planning")
    with world.db.transaction() as tx:
        subscriptions.remove(tx, gone, world.account)
    world.announce(entry("Second paper on planning", 2))
    world.embed_and_match()
    second = world.paper("Second paper on planning")
    assert {one for one, paper in world.matches() if paper == second} == {kept}


def test_a_changed_query_applies_from_the_next_paper(world: Pipeline) -> None:
    one = world.subscribe(query="planning")
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    with world.db.transaction() as tx:
        subscriptions.change(tx, one, world.account, query="arms")
    world.announce(entry(ROBOTS, 2))
    world.embed_and_match()
    assert world.matches() == {(one, world.paper(AGENTS)), (one, world.paper(ROBOTS))}


def test_a_query_that_no_longer_compiles_is_shown_to_its_owner(world: Pipeline) -> None:
    one = world.subscribe(query="planning")
    with world.db.transaction() as tx:
        subscriptions.change(tx, one, world.account, query="planning AND (")
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    assert "no longer compiles" in world.rows(select(subscription))[0]["error"]


def test_a_job_of_a_lost_worker_is_repeated_without_duplicates(world: Pipeline) -> None:
    world.subscribe(query="planning")
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    with world.db.transaction() as tx:
        tx.execute(update(match_job).values(done_at=None))
    assert match.work(world.db, world.settings, [world.shard])
    assert len(world.matches()) == 1


def _long_job(world: Pipeline) -> None:
    world.subscribe(query="planning")
    world.announce(*(entry(f"{AGENTS} {n}", n) for n in range(1, 2 * match.BATCH_SIZE + 2)))
    while embed.work(world.db, world.settings, world.embedder):
        pass


def test_a_long_job_extends_its_lease_and_calls_the_heartbeat(world: Pipeline) -> None:
    seen = []
    world.shard.heartbeat = lambda: seen.append(world.rows(select(match_job))[0]["lease_until"])
    _long_job(world)
    assert match.work(world.db, world.settings, [world.shard])
    assert len(seen) == 1 + 3, "once for the subscriptions, once for each batch"
    assert seen[-1] > seen[0]
    assert len(world.matches()) == 2 * match.BATCH_SIZE + 1


def test_a_worker_that_lost_its_job_writes_no_matches(world: Pipeline) -> None:
    def take_over() -> None:
        with world.db.transaction() as tx:
            tx.execute(update(match_job).values(lease_token=uuid4()))

    world.shard.heartbeat = take_over
    _long_job(world)
    with pytest.raises(LeaseLost):
        match.work(world.db, world.settings, [world.shard])
    assert world.matches() == set()
    world.shard.heartbeat = lambda: None
    world.expire_leases()
    assert match.work(world.db, world.settings, [world.shard])
    assert len(world.matches()) == 2 * match.BATCH_SIZE + 1


def test_a_job_that_ends_its_workers_is_given_up(world: Pipeline) -> None:
    world.subscribe(query="planning")
    world.announce(entry(AGENTS, 1))
    while embed.work(world.db, world.settings, world.embedder):
        pass
    with world.db.transaction() as tx:
        tx.execute(update(match_job).values(attempts=match_runs.MAX_ATTEMPTS))
    assert match.work(world.db, world.settings, [world.shard])
    assert "given up" in world.rows(select(match_job))[0]["error"]
    assert world.rows(select(run))[0]["matched_at"] is not None


def test_a_further_source_concerns_only_subscriptions_that_name_sources(world: Pipeline) -> None:
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    world.subscribe("Any", query="planning")
    asks = world.subscribe("Asks", query="planning", sources=("arxiv",))
    names = world.subscribe("Names", query="planning source:arxiv")
    world.announce(entry(AGENTS, 1), source="arxiv")
    world.embed_and_match()
    assert {one for one, _ in world.matches()} == {asks, names}


def test_upvotes_make_a_known_paper_match_subscriptions_with_min_upvotes(world: Pipeline) -> None:
    waits = world.subscribe("Waits", query="planning", min_upvotes=10)
    world.announce(entry(AGENTS, 1, upvotes=2))
    world.embed_and_match()
    assert world.matches() == set()
    world.announce(entry(AGENTS, 1, upvotes=12))
    world.embed_and_match()
    assert world.matches() == {(waits, world.paper(AGENTS))}


def test_without_the_embedder_queries_match_at_once_and_interests_later(world: Pipeline) -> None:
    query = world.subscribe("Query", query="planning")
    interest = world.subscribe("Interest", interest="agent")
    world.embedder.down = True
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    assert {one for one, _ in world.matches()} == {query}
    world.embedder.down = False
    assert not embed.work_backlog(world.db, world.settings, world.embedder), "held until the next look"
    with world.db.transaction() as tx:
        tx.execute(update(transport).values(check_at=world.now()))
    assert embed.work_backlog(world.db, world.settings, world.embedder)
    world.embed_and_match()
    assert {one for one, _ in world.matches()} == {query, interest}


def test_late_vectors_are_stored_together_with_their_events(world: Pipeline) -> None:
    """A worker that ends in between leaves neither, so that the next one does both."""
    interest = world.subscribe("Interest", interest="agent")
    world.embedder.down = True
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    world.embedder.down = False
    with world.db.transaction() as tx:
        tx.execute(update(transport).values(check_at=world.now()))
        tx.execute(text("ALTER TABLE event ADD CONSTRAINT never CHECK (what <> 'vector')"))
    with pytest.raises(IntegrityError):
        embed.work_backlog(world.db, world.settings, world.embedder)
    assert world.rows(select(paper_vector)) == []
    with world.db.transaction() as tx:
        tx.execute(text("ALTER TABLE event DROP CONSTRAINT never"))
    assert embed.work_backlog(world.db, world.settings, world.embedder)
    world.embed_and_match()
    assert {one for one, _ in world.matches()} == {interest}


def test_an_interest_saved_while_the_embedder_is_down_has_an_error_and_is_compiled_later(world: Pipeline) -> None:
    world.embedder.down = True
    world.subscribe("Interest", interest="agent")
    assert "waits for the embedder" in world.rows(select(subscription))[0]["error"]
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    assert world.matches() == set()
    world.embedder.down = False
    with world.db.transaction() as tx:
        tx.execute(update(transport).values(check_at=world.now()))
    assert embed.work_backlog(world.db, world.settings, world.embedder)
    assert recalibrate.compile_waiting(world.db, world.embedder)
    assert not recalibrate.compile_waiting(world.db, world.embedder)
    assert len(world.matches()) == 1
    assert world.rows(select(subscription))[0]["error"] == ""


def test_a_run_that_ends_embedding_workers_is_matched_by_its_words(world: Pipeline) -> None:
    world.subscribe(query="planning")
    world.announce(entry(AGENTS, 1))
    with world.db.transaction() as tx:
        tx.execute(update(run).values(attempts=match_runs.MAX_ATTEMPTS, lease_until=world.now() - timedelta(seconds=1)))
    world.embed_and_match()
    assert len(world.matches()) == 1


def test_an_account_deleted_during_matching_does_not_affect_other_accounts(world: Pipeline) -> None:
    kept = world.subscribe("Kept", query="planning")
    with world.db.transaction() as tx:
        other = accounts.add(tx, "bob@example.org", "UTC")
    draft = Draft(name="Gone", query="planning")
    subscribe.save(world.db, world.embedder, other, draft, [])
    world.announce(entry("First paper on planning", 1))
    world.embed_and_match()
    with world.db.transaction() as tx:
        accounts.remove(tx, other)
    world.announce(entry("Second paper on planning", 2))
    world.embed_and_match()
    second = world.paper("Second paper on planning")
    assert {one for one, paper in world.matches() if paper == second} == {kept}


# ── popular near misses ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_near_miss_that_gains_upvotes_matches_later_and_once(world: Pipeline) -> None:
    one = world.subscribe("Agents", interest="agent")
    with world.db.transaction() as tx:
        row = subscriptions.find(tx, one)
        thresholds.set_threshold(
            tx,
            row.id,
            row.shard,
            row.revision,
            CompiledInterest(threshold=0.95, relaxed_thresholds=[0.9, 0.6, 0.5]),
        )
    near = "An agent study with a robot"
    world.announce(entry(near, 1, upvotes=1))
    world.embed_and_match()
    assert world.matches() == set()
    for upvotes, found in ((6, 0), (11, 1), (60, 1)):
        world.announce(entry(near, 1, upvotes=upvotes))
        world.embed_and_match()
        assert len(world.matches()) == found, upvotes
    (match,) = world.rows(select(match_table))
    assert "near before, now with 11 upvotes" in match["decided"]["why"]


def test_the_upvotes_of_a_new_paper_do_not_lower_its_threshold(world: Pipeline) -> None:
    one = world.subscribe("Agents", interest="agent")
    with world.db.transaction() as tx:
        row = subscriptions.find(tx, one)
        thresholds.set_threshold(
            tx, row.id, row.shard, row.revision, CompiledInterest(threshold=0.95, relaxed_thresholds=[0.1])
        )
    world.announce(entry("An agent study with a robot", 1, upvotes=70))
    world.embed_and_match()
    assert world.matches() == set()


def test_an_interest_has_a_threshold_for_each_step_of_upvotes(world: Pipeline) -> None:
    one = world.subscribe("Agents", interest="agent", volume="1/day")
    with world.db.transaction() as tx:
        row = subscriptions.find(tx, one)
    thresholds = [row.threshold, *row.relaxed_thresholds]
    assert len(thresholds) == 1 + len(RELAXATION_STEPS)
    assert thresholds == sorted(thresholds, reverse=True)
