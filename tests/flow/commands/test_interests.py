from datetime import date, timedelta

import numpy as np
import pytest
from sqlalchemy import delete, select, update

from services.domain.interests.calibration import CompiledInterest
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
    """An archive in which each tenth paper is about diffusion agents."""
    first = date.today() - timedelta(days=days)  # noqa: DTZ011
    titles = [f"Diffusion agent {n}" if n % 10 == 0 else f"A {OTHERS[n % 3]} study {n}" for n in range(count)]
    days_of = [first + timedelta(days=n % days) for n in range(count)]
    world.announce(*(entry(t, n + 1, announced_on=d) for n, (t, d) in enumerate(zip(titles, days_of, strict=True))))
    while embed.work(world.db, world.settings, world.embedder):
        pass


def found(world: Pipeline, one: int) -> Subscription:
    with world.db.transaction() as tx:
        return subscriptions.find(tx, one)


def age(world: Pipeline, one: int) -> None:
    world.make_due(subscription, calibrated_at=timedelta(days=2))


@pytest.fixture
def full(world: Pipeline) -> Pipeline:
    fill(world)
    return world


def test_an_interest_is_learned_where_there_is_an_archive(full: Pipeline) -> None:
    row = found(full, full.subscribe(interest="diffusion agents", volume="1/day"))
    assert row.terms["diffus"] > 0
    assert CONSTANT_TERM in row.terms
    assert not row.estimated
    assert row.calibrated_at is not None


def test_while_the_archive_is_young_an_interest_is_a_cosine(world: Pipeline) -> None:
    fill(world, count=40)
    row = found(world, world.subscribe(interest="diffusion agents"))
    assert row.terms == {}
    assert np.linalg.norm(row.weights) == pytest.approx(1, abs=1e-5)


def test_the_volume_is_that_of_what_the_query_lets_through(full: Pipeline) -> None:
    with full.db.transaction() as tx:
        tx.execute(update(paper).where(paper.c.title.regexp_match("study [0-9]*1$")).values(upvotes=9))
    everything = found(full, full.subscribe(interest="diffusion agents", volume="2/week"))
    few = found(full, full.subscribe(interest="diffusion agents", volume="2/week", query="-robot diffusion"))
    popular = found(full, full.subscribe(interest="diffusion agents", volume="2/week", min_upvotes=5))
    nowhere = found(full, full.subscribe(interest="diffusion agents", volume="2/week", sources=("arxiv",)))
    assert everything.threshold >= few.threshold >= popular.threshold >= nowhere.threshold > 0
    assert few.threshold == everything.threshold > popular.threshold


def test_a_threshold_older_than_a_day_is_calibrated_anew(full: Pipeline) -> None:
    one = full.subscribe(interest="diffusion agents", volume="1/week")
    before = found(full, one)
    assert not recalibrate.recalibrate_due(full.db, full.embedder)
    with full.db.transaction() as tx:
        tx.execute(update(subscription).values(threshold=7.0))
    age(full, one)
    assert recalibrate.recalibrate_due(full.db, full.embedder)
    after = found(full, one)
    assert after.threshold == pytest.approx(before.threshold)
    assert after.revision > before.revision
    assert not recalibrate.recalibrate_due(full.db, full.embedder)


def test_an_interest_of_a_young_archive_is_learned_later(world: Pipeline) -> None:
    one = world.subscribe(interest="diffusion agents")
    fill(world)
    age(world, one)
    assert recalibrate.recalibrate_due(world.db, world.embedder)
    assert found(world, one).terms
    assert not found(world, one).estimated


def test_a_query_that_no_longer_compiles_holds_up_nobody(full: Pipeline) -> None:
    broken = full.subscribe(interest="diffusion agents")
    fine = full.subscribe(interest="diffusion agents")
    with full.db.transaction() as tx:
        tx.execute(update(subscription).values(threshold=7.0))
        tx.execute(update(subscription).where(subscription.c.id == broken).values(query='"('))
    age(full, broken)
    assert recalibrate.recalibrate_due(full.db, full.embedder)
    assert "no longer compiles" in found(full, broken).error
    assert found(full, broken).threshold == 7
    assert found(full, fine).threshold < 7
    assert not recalibrate.recalibrate_due(full.db, full.embedder)


def test_without_the_embedder_a_cosine_is_calibrated_as_it_is(world: Pipeline) -> None:
    one = world.subscribe(interest="diffusion agents")
    fill(world)
    age(world, one)
    world.embedder.down = True
    assert recalibrate.recalibrate_due(world.db, world.embedder)
    assert found(world, one).terms == {}
    assert found(world, one).error == ""
    assert not recalibrate.recalibrate_due(world.db, world.embedder)


def test_what_was_saved_meanwhile_is_not_overwritten(full: Pipeline) -> None:
    one = full.subscribe(interest="diffusion agents")
    stale = found(full, one)
    with full.db.transaction() as tx:
        subscriptions.change(tx, one, full.account, threshold=0.5)
    with full.db.transaction() as tx:
        thresholds.set_threshold(tx, stale.id, stale.shard, stale.revision, CompiledInterest(threshold=0.9))
    assert found(full, one).threshold == 0.5


def test_what_is_learned_on_leaves_out_what_is_withdrawn_or_not_embedded(full: Pipeline) -> None:
    with full.db.transaction() as tx:
        tx.execute(update(paper).where(paper.c.id <= 30).values(withdrawn=True))
        training = training_set.newest(tx, full.embedder.name)
        assert len(training_set.newest(tx, "another").paper_ids) == 0
    assert len(training.paper_ids) == 300 == len(training.archive.terms) == len(training.archive.vectors)
    assert min(training.paper_ids) > 30


def test_a_learned_interest_matches_as_it_previews_and_says_the_words(full: Pipeline) -> None:
    one = full.subscribe(interest="diffusion agents", volume="1/day")
    full.embed_and_match()
    before = full.matches()
    day = date.today()  # noqa: DTZ011
    titles = ("Diffusion agent of today", "A protein study of today")
    full.run(*(entry(title, 900 + n, announced_on=day) for n, title in enumerate(titles)))
    ((_, today),) = full.matches() - before
    (match,) = full.rows(select(match_table).where(match_table.c.paper_id == today))
    assert match["paper_id"] == full.paper("Diffusion agent of today")
    assert match["score"] >= found(full, one).threshold
    assert match["decided"]["why"].startswith('close to your interest: "Diffusion agent"; ')
    seen = preview(full.db, full.embedder, Draft(interest="diffusion agents", volume="1/day"))
    assert match["paper_id"] in {hit.paper_id for hit in seen.hits}
    assert {one.paper.title.split()[0] for one in seen.samples} == {"Diffusion"}


def test_a_learned_score_that_fails_is_told_with_its_words(full: Pipeline) -> None:
    one = full.subscribe(interest="diffusion agents", volume="1/day")
    with full.db.transaction() as tx:
        subscriptions.change(tx, one, full.account, weights=[0.0] * 5, terms={"diffus": 0.2}, threshold=0.3)
        asked = criteria.compile_subscription(subscriptions.find(tx, one))
        (paper,) = candidates.load(tx, [full.paper("Diffusion agent 0")], full.embedder.name)
    assert asked is not None
    paid = float(terms_of(paper.text)["diffus"]) * 0.2
    assert explain_non_match(asked, paper) == f"score {paid:.2f} < 0.30"


def test_words_are_noted_though_the_embedder_is_down(world: Pipeline) -> None:
    world.embedder.down = True
    fill(world, count=40)
    with world.db.transaction() as tx:
        tx.execute(delete(paper_words).where(paper_words.c.paper_id > 30))
        assert "slow" in due_work.stages_with_work(tx, world.now(), 1.0, world.embedder.name)
    while embed.index_papers(world.db):
        pass
    assert len(world.rows(select(paper_words))) == 40


def test_changed_text_has_its_words_noted_anew(full: Pipeline) -> None:
    asked = select(paper_words).where(paper_words.c.paper_id == full.paper("Diffusion agent 0"))
    old = full.rows(asked)
    full.announce(entry("Diffusion agent 0", 1, abstract="Now about proteins.", version=2))
    assert not full.rows(asked)
    while embed.work_backlog(full.db, full.settings, full.embedder):
        pass
    assert full.rows(asked) != old


def test_the_sweep_wakes_for_thresholds_that_are_a_day_old(full: Pipeline) -> None:
    one = full.subscribe(interest="diffusion agents", volume="1/week")
    with full.db.transaction() as tx:
        for other in ("bounces", "clean-up"):  # nobody looks meanwhile
            rate_limits.acquire(tx, other, timedelta(hours=1), full.now())
    with full.db.transaction() as tx:
        assert "slow" not in due_work.stages_with_work(tx, full.now(), 1.0, full.embedder.name)
    age(full, one)
    with full.db.transaction() as tx:
        assert "slow" in due_work.stages_with_work(tx, full.now(), 1.0, full.embedder.name)
