"""Embedding by a server that fails, asks for pauses and comes back."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from psycopg import connect
from sqlalchemy import select

from services import plugins
from services.domain.subscriptions.draft import Draft
from services.flow.commands.explain import explain
from services.flow.commands.preview import preview
from services.flow.pipeline import embed
from services.flow.pipeline.match import Shard
from services.flow.upkeep import recalibrate, recovery
from services.store.db import rate_limits
from services.store.db.database import WAKE_CHANNEL
from services.store.db.secrets import SecretBox
from services.store.db.tables import paper_vector, subscription, transport
from services.store.interests import embedder_health
from services.store.maintenance import due_work
from tests.support.embedding_server import EmbeddingServer
from tests.support.sinks import Answer
from tests.support.world import Pipeline, entry

DOWN = Answer(status=503)


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as server:
        yield server


@pytest.fixture
def remote(world: Pipeline, server: EmbeddingServer) -> Pipeline:
    """A world whose vectors come from the server."""
    plugins.embedder.cache_clear()
    model: Any = plugins.embedder(server.setting)
    world.embedder, world.shard = model, Shard(number=0)
    return world


def backlog(world: Pipeline) -> bool:
    return embed.work_backlog(world.db, world.settings, world.embedder)


def state(world: Pipeline) -> tuple[str, datetime | None]:
    with world.db.transaction() as tx:
        failure = embedder_health.failure(tx, world.embedder.name)
    return (failure.reason, failure.retry_at) if failure else ("", None)


def rested(world: Pipeline) -> None:
    world.make_due(transport, check_at=timedelta(hours=1))


def vectors(world: Pipeline) -> int:
    return len(world.rows(select(paper_vector)))


def test_a_server_embeds_and_interests_match(remote: Pipeline, server: EmbeddingServer) -> None:
    interest = remote.subscribe("Interest", interest="diffusion models of images", volume="50/day")
    remote.announce(entry("Diffusion models of images", 1), entry("Galaxies far away", 2))
    remote.embed_and_match()
    assert remote.matches() == {(interest, remote.paper("Diffusion models of images"))}
    assert {row["model"] for row in remote.rows(select(paper_vector))} == {"openai:words"}


def test_a_pause_that_is_asked_for_is_kept_as_a_row(remote: Pipeline, server: EmbeddingServer) -> None:
    query = remote.subscribe("Query", query="galaxies")
    server.say(Answer(status=429, headers={"Retry-After": "600"}))
    remote.announce(entry("Galaxies far away", 1))
    with connect(remote.settings.database_url.get_secret_value().replace("+psycopg", ""), autocommit=True) as listener:
        listener.execute(f"LISTEN {WAKE_CHANNEL}")
        remote.embed_and_match()
        notices = [one.payload.split() for one in listener.notifies(timeout=5, stop_after=1)]
    assert {one for one, _ in remote.matches()} == {query}, "words do not wait"
    because, at = state(remote)
    assert "429" in because
    assert at is not None
    assert 590 < (at - remote.now()).total_seconds() <= 600
    assert [(stage, 590 < float(after) <= 601) for stage, after in notices] == [("slow", True)]
    asked = len(server.requests)
    assert not backlog(remote)
    assert len(server.requests) == asked, "nobody asks before"
    rested(remote)
    assert backlog(remote)
    assert state(remote) == ("", None)
    assert vectors(remote) == 1


def test_without_a_pause_of_its_own_it_is_asked_rarer_each_time(remote: Pipeline, server: EmbeddingServer) -> None:
    remote.announce(entry("Galaxies far away", 1))
    server.say(*[DOWN] * 4)
    pauses = []
    remote.embed_and_match()
    for _ in range(4):
        _, at = state(remote)
        assert at is not None
        pauses.append(round((at - remote.now()).total_seconds() / 30))
        rested(remote)
        backlog(remote)
    assert pauses == [1, 2, 4, 8]
    assert state(remote) == ("", None)


def test_words_never_wait_for_a_server_that_failed_last_time(remote: Pipeline, server: EmbeddingServer) -> None:
    query = remote.subscribe("Query", query="galaxies")
    server.say(DOWN)
    remote.announce(entry("Galaxies far away", 1))
    remote.embed_and_match()
    rested(remote)
    remote.announce(entry("Galaxies quite near", 2))
    remote.embed_and_match()
    assert len(server.requests) == 1
    assert {one for one, _ in remote.matches()} == {query}
    assert len(remote.matches()) == 2
    assert backlog(remote)
    assert vectors(remote) == 2


def test_deliveries_do_not_let_it_go(remote: Pipeline, server: EmbeddingServer) -> None:
    server.say(DOWN)
    remote.announce(entry("Galaxies far away", 1))
    remote.embed_and_match()
    rested(remote)
    assert not recovery.probe_transport(remote.db, remote.settings, SecretBox(["a key"]))
    assert state(remote)[0] != ""


def test_while_it_rests_the_sweep_does_not_call_for_it(remote: Pipeline, server: EmbeddingServer) -> None:
    server.say(DOWN, DOWN)
    remote.subscribe("Interest", interest="galaxies")
    remote.announce(entry("Galaxies far away", 1))
    remote.embed_and_match()
    with remote.db.transaction() as tx:
        for other in ("bounces", "clean-up"):
            rate_limits.acquire(tx, other, timedelta(hours=1), remote.now())
        assert "slow" not in due_work.stages_with_work(tx, remote.now(), 1.0, remote.embedder.name)
    rested(remote)
    with remote.db.transaction() as tx:
        assert "slow" in due_work.stages_with_work(tx, remote.now(), 1.0, remote.embedder.name)


def test_an_interest_that_waits_is_tried_rarer_too_and_comes_through(remote: Pipeline, server: EmbeddingServer) -> None:
    server.say(DOWN, DOWN)
    one = remote.subscribe("Interest", interest="galaxies far away", volume="50/day")
    assert "embedding server: the server answered 503" in remote.rows(select(subscription))[0]["error"]
    assert not recalibrate.compile_waiting(remote.db, remote.embedder)
    assert state(remote)[0] != ""
    assert not recalibrate.compile_waiting(remote.db, remote.embedder)
    assert len(server.requests) == 2, "it rests"
    remote.announce(entry("Galaxies far away", 1))
    remote.embed_and_match()
    rested(remote)
    assert backlog(remote)
    assert recalibrate.compile_waiting(remote.db, remote.embedder)
    remote.embed_and_match()
    assert remote.rows(select(subscription))[0]["error"] == ""
    assert {found for found, _ in remote.matches()} == {one}


def test_thresholds_are_not_calibrated_on_a_model_that_nobody_knows(remote: Pipeline, server: EmbeddingServer) -> None:
    one = remote.subscribe("Interest", interest="galaxies far away")
    before = remote.rows(select(subscription))[0]["threshold"]
    remote.make_due(subscription, calibrated_at=timedelta(days=2))
    plugins.embedder.cache_clear()
    fresh = plugins.embedder(server.setting)  # a worker that was just started
    server.say(DOWN)
    assert not recalibrate.recalibrate_due(remote.db, fresh)
    (row,) = remote.rows(select(subscription).where(subscription.c.id == one))
    assert (row["threshold"], row["error"]) == (before, "")
    rested(remote)
    assert recalibrate.recalibrate_due(remote.db, fresh)


def test_why_says_that_the_paper_waits_for_the_embedder(remote: Pipeline, server: EmbeddingServer) -> None:
    one = remote.subscribe("Interest", interest="galaxies far away")
    server.say(DOWN)
    remote.announce(entry("Galaxies far away", 1))
    remote.embed_and_match()
    steps = dict(explain(remote.db, remote.embedder, str(remote.paper("Galaxies far away")), one))
    assert steps["not matched"] == (
        "the paper has no vector of the interest's model yet. The embedder gives no vectors (embedding server: the "
        "server answered 503): interests wait for it, queries go on."
    )


def test_nobody_is_sent_away_for_longer_than_an_hour(remote: Pipeline, server: EmbeddingServer) -> None:
    server.say(Answer(status=429, headers={"Retry-After": "600000"}))
    remote.announce(entry("Galaxies far away", 1))
    remote.embed_and_match()
    _, at = state(remote)
    assert at is not None
    assert 3590 < (at - remote.now()).total_seconds() <= 3600


def test_no_page_waits_for_a_server_that_failed_a_moment_ago(remote: Pipeline, server: EmbeddingServer) -> None:
    server.say(DOWN)
    remote.announce(entry("Galaxies far away", 1))
    remote.embed_and_match()
    seen = preview(remote.db, remote.embedder, Draft(interest="galaxies"))
    assert seen.warnings[0].startswith("waits for the embedder: embedding server: the server answered 503")
    remote.subscribe("Interest", interest="galaxies")
    assert "answered 503" in remote.rows(select(subscription))[0]["error"]
    assert len(server.requests) == 1
    rested(remote)
    assert backlog(remote)
    assert recalibrate.compile_waiting(remote.db, remote.embedder)
