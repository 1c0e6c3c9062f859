"""Sentence vectors: requested by a match, computed later, and never waited for by a digest."""

import re
from datetime import timedelta
from email import message_from_string
from email.policy import default

import pytest
from sqlalchemy import select, update

from services.flow.pipeline import embed
from services.flow.upkeep import sentence_vectors
from services.store.db import rate_limits
from services.store.db.tables import sentence_vector, transport
from services.store.interests import sentence_vectors as stored
from services.store.maintenance import due_work, retention
from tests.support.world import Pipeline, entry

ABSTRACT = "An agent is loved by everybody. Proteins fold by diffusion of an agent. Robots are many."
FIRST, SECOND = "An agent is loved by everybody.", "Proteins fold by diffusion of an agent."


@pytest.fixture
def matched(world: Pipeline) -> Pipeline:
    """A paper that an interest matched, and a paper that it did not match."""
    world.subscribe("Interest", interest="diffusion that everybody loves", volume="900/day", cadence="daily")
    world.announce(entry("Diffusion of proteins", 1, abstract=ABSTRACT), entry("Nothing", 2, abstract=ABSTRACT[:31]))
    world.embed_and_match()
    world.notify()
    return world


def work(world: Pipeline) -> bool:
    return sentence_vectors.work(world.db, world.settings, world.embedder)


def rows(world: Pipeline) -> dict[int, bytes | None]:
    return {row["paper_id"]: row["vectors"] for row in world.rows(select(sentence_vector))}


def highlighted_sentence(world: Pipeline) -> str:
    """The sentence that the digest highlights."""
    world.let_days_pass()
    world.deliver()
    (text,) = world.mails()
    html = message_from_string(text, policy=default).get_body(("html",))
    assert html is not None
    (sentence,) = re.findall(r'<span class="text"[^>]*>(.*?)</span>', html.get_content(), re.DOTALL)
    return " ".join(re.sub("<[^>]+>", "", sentence).split())


def test_a_digest_highlights_the_sentence_closest_to_the_interest(matched: Pipeline) -> None:
    while work(matched):
        pass
    assert highlighted_sentence(matched) == SECOND


def test_a_digest_does_not_wait_for_sentence_vectors(matched: Pipeline) -> None:
    assert highlighted_sentence(matched) == FIRST, "it has the most words of the interest"


def test_the_vectors_of_a_match_are_requested_and_computed_once(matched: Pipeline) -> None:
    paper = matched.paper("Diffusion of proteins")
    assert rows(matched)[paper] is None
    while work(matched):
        pass
    vectors = rows(matched)[paper]
    assert vectors is not None
    assert len(vectors) == 3 * (matched.embedder.dimensions + 2)
    with matched.db.transaction() as tx:
        stored.request(tx, [paper], matched.embedder.name)
    assert not work(matched)
    assert rows(matched)[paper] == vectors


def test_a_match_of_a_query_requests_no_vectors(world: Pipeline) -> None:
    world.subscribe("Query", query="agent")
    world.announce(entry("Nothing", 2, abstract=ABSTRACT))
    world.embed_and_match()
    assert world.matches()
    assert rows(world) == {}


def test_only_the_slow_stage_has_work_while_vectors_are_requested(matched: Pipeline) -> None:
    with matched.db.transaction() as tx:
        for other in ("bounces", "clean-up"):
            rate_limits.acquire(tx, other, timedelta(hours=1), matched.now())
    with matched.db.transaction() as tx:
        before = due_work.stages_with_work(tx, matched.now(), 1.0, matched.embedder.name)
    while work(matched):
        pass
    with matched.db.transaction() as tx:
        after = due_work.stages_with_work(tx, matched.now(), 1.0, matched.embedder.name)
    assert set(before) - set(after) == {"slow"}


def test_after_a_failure_of_the_embedder_there_is_a_backoff(matched: Pipeline) -> None:
    matched.embedder.down = True
    assert not work(matched)
    matched.embedder.down = False
    assert not work(matched), "the backoff has not ended"
    matched.make_due(transport, check_at=timedelta(hours=1))
    assert work(matched)
    assert all(rows(matched).values())


def test_a_paper_whose_sentences_ended_workers_is_not_tried_again(matched: Pipeline) -> None:
    with matched.db.transaction() as tx:
        tx.execute(update(sentence_vector).values(attempts=stored.MAX_ATTEMPTS))
    assert not work(matched)


def test_the_vectors_of_a_changed_text_are_deleted(matched: Pipeline) -> None:
    while work(matched):
        pass
    paper = matched.paper("Diffusion of proteins")
    matched.announce(entry("Diffusion of proteins", 1, abstract="Another text.", version=2), source="arxiv")
    assert paper not in rows(matched)


def test_retention_deletes_old_vectors(matched: Pipeline) -> None:
    while work(matched):
        pass

    def delete_old() -> int:
        with matched.db.transaction() as tx:
            return retention.delete_sentence_vectors(tx, matched.now(), timedelta(days=30))

    assert delete_old() == 0
    matched.make_due(sentence_vector, created_at=timedelta(days=31))
    assert delete_old() > 0
    assert rows(matched) == {}


def test_papers_that_wait_to_be_matched_come_first(matched: Pipeline) -> None:
    matched.announce(entry("Another paper", 3))
    assert not work(matched), "a paper is to be embedded"
    while embed.work(matched.db, matched.settings, matched.embedder):
        pass
    assert not work(matched), "a paper is to be matched"
    matched.embed_and_match()
    assert work(matched)
