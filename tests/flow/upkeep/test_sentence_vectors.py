"""Vectors of sentences: asked for by a match, made late, and never waited for."""

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
def heard(world: Pipeline) -> Pipeline:
    """A paper that an interest and a query matched, and one that only the query did."""
    world.subscribe("Interest", interest="diffusion that everybody loves", volume="900/day", cadence="daily")
    world.announce(entry("Diffusion of proteins", 1, abstract=ABSTRACT), entry("Nothing", 2, abstract=ABSTRACT[:31]))
    world.embed_and_match()
    world.notify()
    return world


def work(world: Pipeline) -> bool:
    return sentence_vectors.work(world.db, world.settings, world.embedder)


def rows(world: Pipeline) -> dict[int, bytes | None]:
    return {row["paper_id"]: row["vectors"] for row in world.rows(select(sentence_vector))}


def set_off(world: Pipeline) -> str:
    """The sentence that the digest sets off."""
    world.let_days_pass()
    world.deliver()
    (text,) = world.mails()
    html = message_from_string(text, policy=default).get_body(("html",))
    assert html is not None
    (found,) = re.findall(r'<span class="text"[^>]*>(.*?)</span>', html.get_content(), re.DOTALL)
    return " ".join(re.sub("<[^>]+>", "", found).split())


def test_a_digest_shows_the_sentence_closest_to_the_interest(heard: Pipeline) -> None:
    while work(heard):
        pass
    assert set_off(heard) == SECOND


def test_a_digest_does_not_wait_for_them(heard: Pipeline) -> None:
    assert set_off(heard) == FIRST, "most of the interest's words"


def test_what_an_interest_matched_is_asked_for_once_and_made(heard: Pipeline) -> None:
    paper = heard.paper("Diffusion of proteins")
    assert rows(heard)[paper] is None
    while work(heard):
        pass
    made = rows(heard)[paper]
    assert made is not None
    assert len(made) == 3 * (heard.embedder.dimensions + 2)
    with heard.db.transaction() as tx:
        stored.request(tx, [paper], heard.embedder.name)
    assert not work(heard)
    assert rows(heard)[paper] == made


def test_a_query_alone_asks_for_none(world: Pipeline) -> None:
    world.subscribe("Query", query="agent")
    world.announce(entry("Nothing", 2, abstract=ABSTRACT))
    world.embed_and_match()
    assert world.matches()
    assert rows(world) == {}


def test_the_sweep_calls_for_them_on_the_slow_queue_alone(heard: Pipeline) -> None:
    with heard.db.transaction() as tx:
        for other in ("bounces", "clean-up"):
            rate_limits.acquire(tx, other, timedelta(hours=1), heard.now())
    with heard.db.transaction() as tx:
        before = due_work.stages_with_work(tx, heard.now(), 1.0, heard.embedder.name)
    while work(heard):
        pass
    with heard.db.transaction() as tx:
        after = due_work.stages_with_work(tx, heard.now(), 1.0, heard.embedder.name)
    assert set(before) - set(after) == {"slow"}


def test_without_the_embedder_they_wait_and_it_rests(heard: Pipeline) -> None:
    heard.embedder.down = True
    assert not work(heard)
    heard.embedder.down = False
    assert not work(heard), "it rests"
    heard.make_due(transport, check_at=timedelta(hours=1))
    assert work(heard)
    assert all(rows(heard).values())


def test_a_paper_whose_sentences_end_workers_is_left_alone(heard: Pipeline) -> None:
    with heard.db.transaction() as tx:
        tx.execute(update(sentence_vector).values(attempts=stored.MAX_ATTEMPTS))
    assert not work(heard)


def test_changed_text_has_no_vectors_of_the_old(heard: Pipeline) -> None:
    while work(heard):
        pass
    paper = heard.paper("Diffusion of proteins")
    heard.announce(entry("Diffusion of proteins", 1, abstract="Another text.", version=2), source="arxiv")
    assert paper not in rows(heard)


def test_the_night_takes_them_when_messages_are_out(heard: Pipeline) -> None:
    while work(heard):
        pass

    def night() -> int:
        with heard.db.transaction() as tx:
            return retention.delete_sentence_vectors(tx, heard.now(), timedelta(days=30))

    assert night() == 0
    heard.make_due(sentence_vector, created_at=timedelta(days=31))
    assert night() > 0
    assert rows(heard) == {}


def test_while_papers_wait_to_be_matched_it_leaves_them_the_processor(heard: Pipeline) -> None:
    heard.announce(entry("Another paper", 3))
    assert not work(heard), "to be embedded"
    while embed.work(heard.db, heard.settings, heard.embedder):
        pass
    assert not work(heard), "to be matched"
    heard.embed_and_match()
    assert work(heard)
