"""Papers in quarantine because they ended their workers: everyone can see them, and a person releases them."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import delete, func, insert, select, update

from services.domain.subscriptions.matcher import Candidate, Match, Matcher
from services.errors import NotFound
from services.flow.commands import quarantine
from services.flow.commands.explain import explain
from services.flow.pipeline import embed, match
from services.store.db.tables import embedding_attempt, event, match_job, paper_vector, run
from services.store.db.tables import quarantine as table
from services.store.interests import embedding_backlog
from services.store.maintenance import audit, retention
from services.store.papers import merging
from services.store.sources import sources
from services.store.subscriptions import match_runs
from services.store.subscriptions import quarantine as store
from tests.support.world import Pipeline, entry

POISON, OTHER = "A poisonous paper about planning", "A later paper about planning"


def listed(world: Pipeline) -> list[tuple[str, str, int | None]]:
    with world.db.transaction() as tx:
        return [(entry.title, entry.stage, entry.shard) for entry in store.list_all(tx)]


def why(world: Pipeline, paper: int, subscription: int) -> dict[str, str]:
    return dict(explain(world.db, world.embedder, str(paper), subscription))


def set_aside(world: Pipeline) -> int:
    """Two papers come; the first ends four workers, the last two while alone. Its id."""
    world.announce(entry(POISON, 1), entry(OTHER, 2))
    while embed.work(world.db, world.settings, world.embedder):
        pass
    poison = world.paper(POISON)
    with world.db.transaction() as tx:
        lost = {
            "attempts": match_runs.MAX_BATCH_ATTEMPTS + 2,
            "suspect": poison,
            "suspected": match_runs.MAX_ISOLATED_ATTEMPTS,
        }
        tx.execute(update(match_job).values(lost))
    assert match.work(world.db, world.settings, [world.shard])
    return poison


def test_why_and_audit_show_when_and_why_a_paper_was_quarantined(world: Pipeline) -> None:
    one = world.subscribe(query="planning")
    poison = set_aside(world)
    assert world.matches() == {(one, world.paper(OTHER))}
    assert listed(world) == [(POISON, "matching", 0)]
    explanation = why(world, poison, one)
    assert "2 workers were lost while they matched it alone" in explanation["quarantined"]
    assert f"from matching {world.now():%Y-%m-%d}" in explanation["quarantined"]
    assert f"paperwire quarantine release {poison}" in explanation["quarantined"]
    assert "not matched" not in explanation
    assert "quarantined" not in why(world, world.paper(OTHER), one)
    with world.db.transaction() as tx:
        found = audit.audit(tx, world.now() + timedelta(hours=1))
    assert found.papers_set_aside == 1
    assert found.matches_not_notified == 1  # the other's, which nobody has told yet


def test_later_events_of_a_quarantined_paper_end_no_worker(world: Pipeline) -> None:
    one = world.subscribe(query="planning", min_upvotes=5)
    poison = set_aside(world)
    world.announce(entry(POISON, 1, upvotes=20))
    with world.db.transaction() as tx:
        assert store.filter_quarantined(tx, 0, [poison, world.paper(OTHER)]) == {poison}
    world.embed_and_match()
    assert world.matches() == set()
    quarantine.release(world.db, poison)
    world.embed_and_match()
    assert world.matches() == {(one, poison)}


def test_a_released_paper_is_matched_and_sent_and_no_other_paper_is_sent_twice(world: Pipeline) -> None:
    one = world.subscribe(query="planning")
    poison = set_aside(world)
    world.notify()
    world.deliver()
    quarantine.release(world.db, poison)
    assert listed(world) == []
    world.embed_and_match()
    world.notify()
    world.deliver()
    assert world.matches() == {(one, world.paper(OTHER)), (one, poison)}
    assert {(POISON in mail, OTHER in mail) for mail in world.mails()} == {(True, False), (False, True)}
    assert len(world.mails()) == 2
    assert "quarantined" not in why(world, poison, one)
    with pytest.raises(NotFound, match="is not in quarantine"):
        quarantine.release(world.db, poison)


def test_a_paper_quarantined_from_embedding_concerns_interests_only_and_can_be_released(world: Pipeline) -> None:
    words = world.subscribe("Words", query="planning")
    interest = world.subscribe("Interest", interest="protein")
    world.announce(entry(POISON, 1), silent=True)
    poison = world.paper(POISON)
    with world.db.transaction() as tx:
        tx.execute(delete(paper_vector))
        tx.execute(insert(embedding_attempt).values(paper_id=poison, attempts=embedding_backlog.MAX_ATTEMPTS))
    assert not embed.work_backlog(world.db, world.settings, world.embedder)
    assert listed(world) == [(POISON, "embedding", None)]
    assert "quarantined" not in why(world, poison, words)
    explanation = why(world, poison, interest)
    assert "3 workers were lost while they embedded it alone" in explanation["quarantined"]
    assert "not matched" in explanation
    quarantine.release(world.db, poison)
    assert embed.work_backlog(world.db, world.settings, world.embedder)
    assert listed(world) == []
    assert world.rows(select(run)) == []  # it came silently, so nobody is to hear of it


def test_a_paper_is_not_quarantined_after_its_first_attempts(world: Pipeline) -> None:
    world.announce(entry(POISON, 1), silent=True)
    with world.db.transaction() as tx:
        row = {"paper_id": world.paper(POISON), "attempts": embedding_backlog.MAX_ATTEMPTS - 1}
        tx.execute(insert(embedding_attempt).values(row))
        assert store.count(tx) == 0


def test_all_papers_of_a_run_are_quarantined_if_no_single_one_is_the_cause(world: Pipeline) -> None:
    one = world.subscribe(query="planning")
    world.announce(entry(POISON, 1), entry(OTHER, 2))
    while embed.work(world.db, world.settings, world.embedder):
        pass
    with world.db.transaction() as tx:
        tx.execute(update(match_job).values(attempts=match_runs.MAX_ATTEMPTS))
    assert match.work(world.db, world.settings, [world.shard])
    assert [title for title, _, _ in listed(world)] == [POISON, OTHER]
    assert "given up" in why(world, world.paper(POISON), one)["quarantined"]
    for title in (POISON, OTHER):
        quarantine.release(world.db, world.paper(title))
    world.embed_and_match()
    assert len(world.matches()) == 2


class Stumbles(Matcher):
    def match(self, papers: Sequence[Candidate]) -> list[Match]:
        if any(POISON in one.paper.title for one in papers):
            raise RuntimeError("a sequence of words without an end")
        return super().match(papers)


def test_the_reason_names_the_error_if_the_worker_survived_it(world: Pipeline) -> None:
    one = world.subscribe(query="planning")
    world.announce(entry(POISON, 1), entry(OTHER, 2))
    while embed.work(world.db, world.settings, world.embedder):
        pass
    shard = match.Shard(number=0, matchers={"": Stumbles()})
    for _ in range(4):
        with pytest.raises(RuntimeError):
            match.work(world.db, world.settings, [shard])
        world.expire_leases()
    assert match.work(world.db, world.settings, [shard])
    assert world.matches() == {(one, world.paper(OTHER))}
    explanation = why(world, world.paper(POISON), one)["quarantined"]
    assert "the last by RuntimeError: a sequence of words without an end" in explanation
    assert world.rows(select(match_job))[0]["error"] == ""


def test_retention_keeps_the_events_of_quarantined_papers(world: Pipeline) -> None:
    one = world.subscribe(query="planning")
    poison = set_aside(world)
    with world.db.transaction() as tx:
        tx.execute(update(run).values(matched_at=func.now() - timedelta(days=40)))
        assert retention.delete_events(tx, world.now(), timedelta(days=30)) == 1
        assert tx.scalars(select(event.c.paper_id)).all() == [poison]
    quarantine.release(world.db, poison)
    world.embed_and_match()
    assert (one, poison) in world.matches()


def test_a_merged_paper_leaves_the_quarantine(world: Pipeline) -> None:
    world.subscribe(query="planning")
    poison = set_aside(world)
    with world.db.transaction() as tx:
        sources.source_of_imports(tx, "daily-papers")
        merging.merge_papers(tx, world.paper(OTHER), poison, world.now())
    assert world.rows(select(table)) == []
