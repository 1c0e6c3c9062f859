"""Interests: compiling them, calibrating their thresholds, and matching and explaining with them."""

from datetime import date, timedelta

import numpy as np
import pytest
from sqlalchemy import delete, select, update

from services.domain.interests.calibration import CompiledInterest
from services.domain.interests.score_words import describe_distance
from services.domain.interests.terms import CONSTANT_TERM, terms_of
from services.domain.subscriptions import criteria
from services.domain.subscriptions.draft import Draft
from services.domain.subscriptions.matcher import explain_non_match
from services.flow.commands.preview import preview
from services.flow.pipeline import embed
from services.flow.upkeep import recalibrate
from services.store.db import rate_limits
from services.store.db.tables import match as match_table
from services.store.db.tables import paper, paper_words, subscription
from services.store.interests import thresholds, training_set
from services.store.maintenance import due_work
from services.store.subscriptions import candidates, subscriptions
from services.store.subscriptions.records import Subscription
from tests.support.world import Pipeline, entry

OTHERS = ("protein", "robot", "model")


def fill(world: Pipeline, count: int = 330, days: int = 30) -> None:
    """Fills the archive. Each tenth paper is about diffusion agents."""
    first_day = date.today() - timedelta(days=days)  # noqa: DTZ011
    titles = [f"Diffusion agent {n}" if n % 10 == 0 else f"A {OTHERS[n % 3]} study {n}" for n in range(count)]
    days_of = [first_day + timedelta(days=n % days) for n in range(count)]
    world.announce(*(entry(t, n + 1, announced_on=d) for n, (t, d) in enumerate(zip(titles, days_of, strict=True))))
    while embed.work(world.db, world.settings, world.embedder):
        pass


def stored(world: Pipeline, subscription_id: int) -> Subscription:
    with world.db.transaction() as tx:
        return subscriptions.find(tx, subscription_id)


def make_overdue(world: Pipeline) -> None:
    world.make_due(subscription, calibrated_at=timedelta(days=2))


@pytest.fixture
def full(world: Pipeline) -> Pipeline:
    fill(world)
    return world


def test_an_interest_is_learned_from_an_archive_of_a_month(full: Pipeline) -> None:
    interest = stored(full, full.subscribe(interest="diffusion agents", volume="1/day"))
    assert interest.terms["diffus"] > 0
    assert CONSTANT_TERM in interest.terms
    assert not interest.estimated
    assert interest.calibrated_at is not None


def test_in_a_young_archive_an_interest_is_only_a_vector(world: Pipeline) -> None:
    fill(world, count=40)
    interest = stored(world, world.subscribe(interest="diffusion agents"))
    assert interest.terms == {}
    assert np.linalg.norm(interest.weights) == pytest.approx(1, abs=1e-5)


def test_the_volume_counts_the_papers_that_pass_the_filters(full: Pipeline) -> None:
    with full.db.transaction() as tx:
        tx.execute(update(paper).where(paper.c.title.regexp_match("study [0-9]*1$")).values(upvotes=9))
    everything = stored(full, full.subscribe(interest="diffusion agents", volume="2/week"))
    few = stored(full, full.subscribe(interest="diffusion agents", volume="2/week", query="-robot diffusion"))
    popular = stored(full, full.subscribe(interest="diffusion agents", volume="2/week", min_upvotes=5))
    nowhere = stored(full, full.subscribe(interest="diffusion agents", volume="2/week", sources=("arxiv",)))
    assert everything.threshold >= few.threshold >= popular.threshold >= nowhere.threshold > 0
    assert few.threshold == everything.threshold > popular.threshold


def test_a_threshold_older_than_a_day_is_recalibrated(full: Pipeline) -> None:
    interest_id = full.subscribe(interest="diffusion agents", volume="1/week")
    before = stored(full, interest_id)
    assert not recalibrate.recalibrate_due(full.db, full.embedder)
    with full.db.transaction() as tx:
        tx.execute(update(subscription).values(threshold=7.0))
    make_overdue(full)
    assert recalibrate.recalibrate_due(full.db, full.embedder)
    after = stored(full, interest_id)
    assert after.threshold == pytest.approx(before.threshold)
    assert after.revision > before.revision
    assert not recalibrate.recalibrate_due(full.db, full.embedder)


def test_an_interest_is_learned_when_the_archive_has_grown(world: Pipeline) -> None:
    interest_id = world.subscribe(interest="diffusion agents")
    fill(world)
    make_overdue(world)
    assert recalibrate.recalibrate_due(world.db, world.embedder)
    assert stored(world, interest_id).terms
    assert not stored(world, interest_id).estimated


def test_an_estimate_ends_soon_after_the_archive_is_old_enough(world: Pipeline) -> None:
    fill(world, count=40, days=5)
    interest_id = world.subscribe(interest="diffusion agents")
    assert stored(world, interest_id).estimated
    world.make_due(subscription, calibrated_at=timedelta(minutes=11))
    assert not recalibrate.recalibrate_due(world.db, world.embedder)
    world.announce(entry("A protein study of old", 700, announced_on=date.today() - timedelta(days=20)))  # noqa: DTZ011
    assert recalibrate.recalibrate_due(world.db, world.embedder)
    assert not stored(world, interest_id).estimated
    assert not recalibrate.recalibrate_due(world.db, world.embedder)


def test_a_query_that_no_longer_compiles_does_not_stop_other_calibrations(full: Pipeline) -> None:
    broken = full.subscribe(interest="diffusion agents")
    fine = full.subscribe(interest="diffusion agents")
    with full.db.transaction() as tx:
        tx.execute(update(subscription).values(threshold=7.0))
        tx.execute(update(subscription).where(subscription.c.id == broken).values(query='"('))
    make_overdue(full)
    assert recalibrate.recalibrate_due(full.db, full.embedder)
    assert "no longer compiles" in stored(full, broken).error
    assert stored(full, broken).threshold == 7
    assert stored(full, fine).threshold < 7
    assert not recalibrate.recalibrate_due(full.db, full.embedder)


def test_without_the_embedder_the_threshold_of_the_vector_is_calibrated(world: Pipeline) -> None:
    interest_id = world.subscribe(interest="diffusion agents")
    fill(world)
    make_overdue(world)
    world.embedder.down = True
    assert recalibrate.recalibrate_due(world.db, world.embedder)
    assert stored(world, interest_id).terms == {}
    assert stored(world, interest_id).error == ""
    assert not recalibrate.recalibrate_due(world.db, world.embedder)


def test_a_change_saved_during_calibration_is_not_overwritten(full: Pipeline) -> None:
    interest_id = full.subscribe(interest="diffusion agents")
    stale = stored(full, interest_id)
    with full.db.transaction() as tx:
        subscriptions.change(tx, interest_id, full.account, threshold=0.5)
    with full.db.transaction() as tx:
        thresholds.set_threshold(tx, stale.id, stale.shard, stale.revision, CompiledInterest(threshold=0.9))
    assert stored(full, interest_id).threshold == 0.5


def test_the_training_set_leaves_out_withdrawn_and_unembedded_papers(full: Pipeline) -> None:
    with full.db.transaction() as tx:
        tx.execute(update(paper).where(paper.c.id <= 30).values(withdrawn=True))
        training = training_set.newest(tx, full.embedder.name)
        assert len(training_set.newest(tx, "another").paper_ids) == 0
    assert len(training.paper_ids) == 300 == len(training.archive.terms) == len(training.archive.vectors)
    assert min(training.paper_ids) > 30


def test_a_learned_interest_matches_as_previewed_and_its_reason_has_the_words(full: Pipeline) -> None:
    interest_id = full.subscribe(interest="diffusion agents", volume="1/day")
    full.embed_and_match()
    before = full.matches()
    day = date.today()  # noqa: DTZ011
    titles = ("Diffusion agent of today", "A protein study of today")
    full.run(*(entry(title, 900 + n, announced_on=day) for n, title in enumerate(titles)))
    ((_, today),) = full.matches() - before
    (match,) = full.rows(select(match_table).where(match_table.c.paper_id == today))
    assert match["paper_id"] == full.paper("Diffusion agent of today")
    assert match["score"] >= stored(full, interest_id).threshold
    assert match["decided"]["why"].startswith('close to your interest: "Diffusion agent"; ')
    previewed = preview(full.db, full.embedder, Draft(interest="diffusion agents", volume="1/day"))
    assert match["paper_id"] in {hit.paper_id for hit in previewed.hits}
    assert {sample.paper.title.split()[0] for sample in previewed.samples} == {"Diffusion"}


def test_a_score_below_the_threshold_is_explained(full: Pipeline) -> None:
    interest_id = full.subscribe(interest="diffusion agents", volume="1/day")
    with full.db.transaction() as tx:
        subscriptions.change(tx, interest_id, full.account, weights=[0.0] * 5, terms={"diffus": 0.2}, threshold=0.3)
        compiled = criteria.compile_subscription(subscriptions.find(tx, interest_id))
        (paper,) = candidates.load(tx, [full.paper("Diffusion agent 0")], full.embedder.name)
    assert compiled is not None
    score = float(terms_of(paper.text)["diffus"]) * 0.2
    assert explain_non_match(compiled, paper) == describe_distance(score, 0.3, learned=True)


def test_papers_are_indexed_while_the_embedder_is_down(world: Pipeline) -> None:
    world.embedder.down = True
    fill(world, count=40)
    with world.db.transaction() as tx:
        tx.execute(delete(paper_words).where(paper_words.c.paper_id > 30))
        assert "slow" in due_work.stages_with_work(tx, world.now(), 1.0, world.embedder.name)
    while embed.index_papers(world.db):
        pass
    assert len(world.rows(select(paper_words))) == 40


def test_a_changed_text_is_indexed_again(full: Pipeline) -> None:
    words = select(paper_words).where(paper_words.c.paper_id == full.paper("Diffusion agent 0"))
    old = full.rows(words)
    full.announce(entry("Diffusion agent 0", 1, abstract="Now about proteins.", version=2))
    assert not full.rows(words)
    while embed.work_backlog(full.db, full.settings, full.embedder):
        pass
    assert full.rows(words) != old


def test_the_slow_stage_has_work_when_a_threshold_is_a_day_old(full: Pipeline) -> None:
    full.subscribe(interest="diffusion agents", volume="1/week")
    with full.db.transaction() as tx:
        for other in ("bounces", "clean-up"):  # periodic jobs that would be due as well
            rate_limits.acquire(tx, other, timedelta(hours=1), full.now())
    with full.db.transaction() as tx:
        assert "slow" not in due_work.stages_with_work(tx, full.now(), 1.0, full.embedder.name)
    make_overdue(full)
    with full.db.transaction() as tx:
        assert "slow" in due_work.stages_with_work(tx, full.now(), 1.0, full.embedder.name)
