"""Previews: rates, lists, the histogram with its volumes, and advice."""

from datetime import date, timedelta
from importlib import import_module
from typing import Any

import pytest
from sqlalchemy import delete, update

from services.domain.subscriptions.draft import Draft
from services.errors import NotFound
from services.flow.commands.preview import Preview, preview
from services.flow.pipeline import embed
from services.flow.upkeep import recalibrate
from services.store.db.tables import paper_vector, paper_words, source, subscription
from services.store.subscriptions import subscriptions
from tests.support.world import Pipeline, entry


def announced(world: Pipeline, *titles: str, days_ago: int = 0, first: int = 1, **values: Any) -> None:
    day = world.now().date() - timedelta(days=days_ago)
    world.announce(*(entry(title, first + n, announced_on=day, **values) for n, title in enumerate(titles)))
    world.embed_and_match()


def looked(world: Pipeline, **values: Any) -> Preview:
    options = {name: values.pop(name) for name in ("days", "shown", "tab", "stored_id") if name in values}
    return preview(world.db, world.embedder, Draft(**values), account_id=world.account, **options)


def titles(seen: Preview) -> list[str]:
    return [sample.paper.title for sample in seen.samples]


# ── rates ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rate_counts_the_days_that_have_papers(world: Pipeline) -> None:
    announced(world, "A robot", "Another robot", days_ago=50)
    announced(world, "A third robot", days_ago=48, first=11)
    announced(world, "A fourth robot", days_ago=0, first=21)
    seen = looked(world, query="robot")
    assert len(seen.hits) == 4
    assert seen.days_with_papers == 7
    assert seen.per_week == 4.0


def test_while_papers_wait_for_the_index_there_is_no_rate(world: Pipeline) -> None:
    announced(world, *(f"Robot {n}" for n in range(210)))
    with world.db.transaction() as tx:
        tx.execute(delete(paper_words))
    seen = looked(world, query="robot")
    assert (seen.is_indexing, seen.ready, seen.scanned) == (True, 0, 210)
    assert seen.as_json()["per_week"] is None
    assert not any("narrow" in warning for warning in seen.warnings)
    while embed.index_papers(world.db):
        pass
    seen = looked(world, query="robot")
    assert (seen.is_indexing, len(seen.hits)) == (False, 210)


def test_while_papers_wait_for_the_model_an_interest_has_no_rate(world: Pipeline) -> None:
    announced(world, *(f"Robot {n}" for n in range(60)))
    with world.db.transaction() as tx:
        tx.execute(delete(paper_vector).where(paper_vector.c.paper_id > 30))
    assert looked(world, interest="robot").is_indexing
    assert not looked(world, query="robot").is_indexing


def test_a_query_that_matched_only_before_the_window_says_what_the_archive_holds(world: Pipeline) -> None:
    announced(world, "Robots of old", "More robots", days_ago=100)
    announced(world, "A protein", first=11)
    seen = looked(world, query="robot")
    assert seen.earlier == (2, world.now().date() - timedelta(days=100))
    assert not any("no paper of the archive" in warning for warning in seen.warnings)


# ── lists ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_change_is_compared_with_the_subscription_as_it_is_stored(world: Pipeline) -> None:
    announced(world, "A robot arm", "A robot hand", "A protein")
    stored = world.subscribe(query="robot")
    seen = looked(world, query="arm OR protein", stored_id=stored, tab="lost")
    assert seen.counts == {"all": 2, "new": 2, "gained": 1, "lost": 1}
    assert titles(seen) == ["A robot hand"]
    assert "arm" in seen.samples[0].why
    assert seen.saved_days == {world.now().date(): 2}
    assert titles(looked(world, query="arm OR protein", stored_id=stored, tab="gained")) == ["A protein"]


def test_an_unchanged_subscription_has_no_other_version_to_compare(world: Pipeline) -> None:
    announced(world, "A robot arm")
    stored = world.subscribe(query="robot", cadence="daily")
    seen = looked(world, name="Another name", query="robot", cadence="weekly", stored_id=stored)
    assert seen.saved_days is None
    assert (seen.counts["gained"], seen.counts["lost"]) == (0, 0)


def test_where_digests_choose_another_cadence_is_a_change(world: Pipeline) -> None:
    for day in range(5):
        announced(world, "A robot arm", "A robot", days_ago=day, first=10 * day + 1)
    stored = world.subscribe(query="robot", volume="2/week", cadence="daily")
    assert looked(world, query="robot", volume="2/week", cadence="daily", stored_id=stored).saved_days is None
    weekly = looked(world, query="robot", volume="2/week", cadence="weekly", stored_id=stored)
    assert weekly.saved_days is not None
    assert weekly.saved_days.total() == 2


def test_a_subscription_of_another_account_is_not_compared(world: Pipeline) -> None:
    stored = world.subscribe(query="robot")
    with pytest.raises(NotFound):
        preview(world.db, world.embedder, Draft(query="robot"), account_id=world.account + 1, stored_id=stored)


def test_new_papers_are_those_that_no_other_subscription_matched(world: Pipeline) -> None:
    stored = world.subscribe(query="robot")
    announced(world, "A robot arm", "An arm")
    assert titles(looked(world, query="arm", tab="new")) == ["An arm"]
    assert looked(world, query="arm", stored_id=stored).counts["new"] == 2


def test_near_misses_of_a_query_fail_one_clause(world: Pipeline) -> None:
    announced(world, "A robot arm", "A robot leg", "A robot arm survey", "A protein")
    seen = looked(world, query="robot arm -survey", tab="near")
    assert {(sample.paper.title, sample.left_out and sample.left_out.query) for sample in seen.samples} == {
        ("A robot leg", "robot -survey"),
        ("A robot arm survey", "robot arm"),
    }
    assert titles(looked(world, query="robot", tab="near")) == []


def fill(world: Pipeline, count: int = 330, days: int = 30) -> None:
    """Each tenth paper is about diffusion agents, each tenth about diffusion alone, each fifth about diffusion too."""
    first_day = date.today() - timedelta(days=days)  # noqa: DTZ011
    names = ["Diffusion agent", "Diffusion", *["A protein robot diffusion"] * 2, *["A protein", "A robot"] * 3]
    entries = (
        entry(f"{names[n % 10]} {n}", n + 1, announced_on=first_day + timedelta(days=n % days)) for n in range(count)
    )
    world.announce(*entries)
    world.embed_and_match()


def test_near_misses_of_an_interest_lie_just_below_the_line(world: Pipeline) -> None:
    fill(world)
    seen = looked(world, interest="diffusion agents", volume="2/week", tab="near", shown=500)
    scores = [sample.score for sample in seen.samples]
    assert scores
    assert max(scores) < min(hit.score for hit in seen.hits)


# ── the volume ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_histogram_offers_volumes_with_falling_thresholds(world: Pipeline) -> None:
    fill(world)
    shown = looked(world, interest="diffusion agents", volume="2/week").histogram
    assert shown is not None
    thresholds = [step.threshold for step in shown.steps]
    assert thresholds == sorted(thresholds, reverse=True)
    assert len(set(thresholds)) == len(thresholds)
    assert "2/week" in [str(step.volume) for step in shown.steps]
    assert sum(shown.counts) > 0


def test_the_floor_is_said_where_it_binds_and_can_be_lifted(world: Pipeline) -> None:
    fill(world)
    close = looked(world, interest="diffusion agents", volume="20/day")
    wide = looked(world, interest="diffusion agents", volume="20/day", wide=True)
    assert close.floor_binds
    assert len(wide.hits) > len(close.hits)
    assert not looked(world, interest="diffusion agents", volume="1/week").floor_binds


def test_a_wide_subscription_keeps_its_reach_when_it_is_recalibrated(world: Pipeline) -> None:
    fill(world)
    close = world.subscribe(interest="diffusion agents", volume="20/day")
    wide = world.subscribe(interest="diffusion agents", volume="20/day", wide=True)
    before = {id: threshold(world, id) for id in (close, wide)}
    assert before[wide] < before[close]
    world.make_due(subscription, calibrated_at=timedelta(days=2))
    assert recalibrate.recalibrate_due(world.db, world.embedder)
    assert threshold(world, wide) < threshold(world, close)
    with world.db.transaction() as tx:
        assert subscriptions.draft_of(tx, subscriptions.find(tx, wide)).wide


def threshold(world: Pipeline, subscription_id: int) -> float:
    with world.db.transaction() as tx:
        found = subscriptions.find(tx, subscription_id).threshold
    assert found is not None
    return found


def test_a_query_alone_reaches_no_wider(world: Pipeline) -> None:
    stored = world.subscribe(query="robot", wide=True)
    with world.db.transaction() as tx:
        assert not subscriptions.find(tx, stored).wide


# ── advice ────────────────────────────────────────────────────────────────────────────────────────────────────


def mends(seen: Preview, text: str) -> list[str]:
    (advice,) = [each for each in seen.advice if text in each.text]
    return [mend.do or mend.href for mend in advice.mends]


def test_a_query_that_never_matches_says_which_clause_to_leave_out(world: Pipeline) -> None:
    announced(world, "A robot arm", "Robotics")
    seen = looked(world, query="robot unicorn")
    assert mends(seen, "no paper of the archive") == ["query:robot"]
    assert mends(looked(world, query="robo"), "no paper of the archive") == ["query:robo*"]


def test_the_same_subscription_is_not_made_twice_unknowingly(world: Pipeline) -> None:
    stored = world.subscribe("Arms", query="robot AND arm")
    assert mends(looked(world, query="robot arm"), "asks for the same") == [f"/subscriptions/{stored}"]
    assert not any("asks for" in text for text in looked(world, query="robot arm", stored_id=stored).warnings)


def test_a_subscription_that_brings_most_of_the_papers_is_named(world: Pipeline) -> None:
    stored = world.subscribe("Robots", query="robot")
    announced(world, *(f"A robot arm {n}" for n in range(9)), "An arm", *(f"Protein {n}" for n in range(200)))
    assert mends(looked(world, query="arm"), "brings 90 %") == [f"/subscriptions/{stored}"]


def test_papers_of_mostly_one_category_can_be_kept_to_it_or_without_it(world: Pipeline) -> None:
    announced(world, *(f"A robot {n}" for n in range(6)), categories=("cs.RO",))
    announced(world, *(f"Protein {n}" for n in range(200)), first=100, categories=("q-bio.BM",))
    seen = looked(world, query="robot OR hand")
    assert mends(seen, "of the category cs.RO") == [
        "query:(robot OR hand) cat:cs.RO",
        "query:(robot OR hand) -cat:cs.RO",
    ]
    assert not any("category" in text for text in looked(world, query="robot cat:cs.RO").warnings)


def test_a_disliked_paper_without_an_interest_is_said_to_count_for_nothing(world: Pipeline) -> None:
    announced(world, "A robot")
    seen = looked(world, query="robot", disliked=(world.paper("A robot"),))
    assert any("count only beside an interest" in text for text in seen.warnings)


def test_a_preview_says_when_nothing_new_can_come(world: Pipeline) -> None:
    announced(world, "A robot")
    assert mends(looked(world, query="robot"), "no source is watched") == ["/sources"]
    with world.db.transaction() as tx:
        tx.execute(update(source).values(polled=True))
    assert not any("watched" in text for text in looked(world, query="robot").warnings)


def test_variants_of_a_slow_query_are_tried_only_for_a_while(world: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    announced(world, "A robot arm", "A robot leg", "A robot arm survey")
    assert len(titles(looked(world, query="robot arm -survey", tab="near"))) == 2
    # The package has a function of the module's name.
    monkeypatch.setattr(import_module("services.flow.commands.preview.search"), "MAX_VARIANT_SECONDS", -1.0)
    assert titles(looked(world, query="robot arm -survey", tab="near")) == []
