"""A change of the embedding model: the old one serves until the archive is embedded with the new one."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select

from services import plugins
from services.flow.commands.explain import explain
from services.flow.pipeline import embed
from services.flow.pipeline.match import Shard, work
from services.flow.upkeep import model_rollover, recalibrate
from services.ports import Embedder
from services.settings import settings as process_settings
from services.store.db.database import Database
from services.store.db.tables import model, paper_vector, subscription, transport
from services.store.db.tables import paper as paper_of
from services.store.interests import embedder_health
from services.store.maintenance import due_work, retention
from tests.flow.conftest import Configure
from tests.support.embedding_server import EmbeddingServer, by_words
from tests.support.sinks import Answer
from tests.support.world import Pipeline, entry

GALAXIES = "Galaxies far away"


def lowered(texts: Sequence[str]) -> NDArray[np.float32]:
    """The vectors of another model, which have another length."""
    return by_words([text.lower() for text in texts], 30)


class Change:
    """A world that changes between two embedding models."""

    def __init__(self, world: Pipeline, configure: Configure, old: EmbeddingServer, new: EmbeddingServer) -> None:
        self.world, self.configure, self.old, self.new = world, configure, old, new
        self.shard = Shard(number=0)
        self.configure_model(old)

    def configure_model(self, server: EmbeddingServer) -> None:
        self.configure(embedder=server.setting)
        model_rollover.request_wanted_model(self.world.db, process_settings())

    @property
    def serving(self) -> Embedder:
        return model_rollover.serving_embedder(self.world.db, process_settings())

    def in_use(self) -> list[str]:
        return [embedder.name for embedder in model_rollover.embedders_in_use(self.world.db, process_settings())]

    def subscribe(self, text: str) -> int:
        self.world.embedder = self.serving  # type: ignore[assignment]
        return self.world.subscribe("Interest", interest=text, volume="50/day")

    def ingest(self, *titles: str) -> None:
        entries = [entry(title, abs(hash(title)) % 99_000 + number) for number, title in enumerate(titles, start=1)]
        self.world.announce(*entries)
        self.work()

    def work(self) -> None:
        embedders = model_rollover.embedders_in_use(self.world.db, process_settings())
        while embed.work(self.world.db, self.world.settings, *embedders):
            pass
        while work(self.world.db, self.world.settings, [self.shard]):
            pass

    def work_slow(self) -> None:
        """Runs the slow stage until nothing is left to do."""
        db, config = self.world.db, process_settings()
        has_worked = True
        while has_worked:
            has_worked = recalibrate.compile_waiting(db, self.serving)
            has_worked |= embed.work_backlog(db, config, *model_rollover.embedders_in_use(db, config))
            has_worked |= model_rollover.take_over(db, config)
        self.work()  # matches the papers that wait for interests of the new model

    def matched(self) -> set[tuple[int, str]]:
        titles = {row["id"]: row["title"] for row in self.world.rows(select(paper_of))}
        return {(subscription_id, titles[paper_id]) for subscription_id, paper_id in self.world.matches()}

    def models(self) -> dict[str, int]:
        names = [row["model"] for row in self.world.rows(select(paper_vector))]
        return {name: names.count(name) for name in sorted(set(names))}

    def row(self, subscription_id: int) -> dict[str, Any]:
        return self.world.rows(select(subscription).where(subscription.c.id == subscription_id))[0]


@pytest.fixture
def change(world: Pipeline, configure: Configure) -> Iterator[Change]:
    plugins.embedder.cache_clear()
    with EmbeddingServer(model="old") as old, EmbeddingServer(lowered, model="new") as new:
        yield Change(world, configure, old, new)


def test_the_old_model_serves_until_the_archive_is_embedded(change: Change) -> None:
    interest_id = change.subscribe(GALAXIES)
    change.ingest(GALAXIES, "Proteins")
    assert change.models() == {"openai:old": 2}
    change.configure_model(change.new)
    assert change.serving.name == "openai:old"
    assert change.in_use() == ["openai:old", "openai:new"]
    assert model_rollover.status_lines(change.world.db, process_settings()) == [
        "The archive is embedded anew with openai:new: 0 of 2 papers. openai:old serves."
    ]
    change.ingest("Galaxies not so far away")
    assert (interest_id, "Galaxies not so far away") in change.matched()
    assert change.models() == {"openai:new": 1, "openai:old": 3}
    change.work_slow()
    assert change.serving.name == "openai:new"
    assert (change.row(interest_id)["model"], change.row(interest_id)["error"]) == ("openai:new", "")
    assert len(change.row(interest_id)["weights"]) == 30
    assert model_rollover.status_lines(change.world.db, process_settings()) == []
    change.ingest("Galaxies away so far")
    assert (interest_id, "Galaxies away so far") in change.matched()


def test_papers_matched_with_the_old_model_are_not_matched_again(change: Change) -> None:
    change.subscribe(GALAXIES)
    change.ingest(GALAXIES, "Proteins", "Robots")
    before = change.matched()
    assert before == {(1, GALAXIES)}
    change.new.embed = lambda texts: by_words(
        [GALAXIES if "e" in text and len(text) < 12 else text for text in texts], 30
    )
    change.configure_model(change.new)
    change.work_slow()
    assert change.row(1)["model"] == "openai:new"
    assert change.matched() == before
    change.ingest("Seven trees")
    assert (1, "Seven trees") in change.matched(), "the new model matches each short title with an e"


def test_papers_without_a_vector_of_the_old_model_are_matched_with_the_new_one(change: Change) -> None:
    interest_id = change.subscribe(GALAXIES)
    change.ingest("Proteins")
    change.configure_model(change.new)
    change.old.judge = lambda asked: Answer(status=503)
    change.ingest(GALAXIES)
    assert change.matched() == set()
    change.work_slow()
    assert change.matched() == {(interest_id, GALAXIES)}


def test_interests_of_both_models_match_during_the_change(change: Change) -> None:
    first, second = change.subscribe(GALAXIES), change.subscribe(GALAXIES)
    change.ingest("Proteins")
    change.configure_model(change.new)
    while embed.work_backlog(
        change.world.db, process_settings(), *model_rollover.embedders_in_use(change.world.db, process_settings())
    ):
        pass
    assert model_rollover.take_over(change.world.db, process_settings())
    assert recalibrate.compile_waiting(change.world.db, change.serving)
    assert {change.row(first)["model"], change.row(second)["model"]} == {"openai:old", "openai:new"}
    assert change.in_use() == ["openai:new", "openai:old"]
    change.ingest(GALAXIES)
    assert change.matched() == {(first, GALAXIES), (second, GALAXIES)}
    for interest_id in (first, second):
        steps = dict(explain(change.world.db, change.serving, str(change.world.paper("Proteins")), interest_id))
        assert steps["not matched"].startswith("not close enough to the interest")


def test_a_change_back_to_the_old_model_takes_effect_at_once(change: Change) -> None:
    interest_id = change.subscribe(GALAXIES)
    change.ingest("Proteins")
    change.configure_model(change.new)
    change.configure_model(change.old)
    assert change.serving.name == "openai:old"
    change.ingest(GALAXIES)
    assert change.matched() == {(interest_id, GALAXIES)}
    assert change.models() == {"openai:old": 2}


def test_interests_wait_for_the_new_model_when_the_old_one_is_no_longer_available(change: Change) -> None:
    interest_id = change.subscribe(GALAXIES)
    change.ingest("Proteins")
    change.configure_model(change.new)
    with change.world.db.transaction() as tx:
        tx.execute(model.update().where(model.c.name == "openai:old").values(setting="gone:with the wind"))
    assert change.serving.name == "openai:new"
    change.ingest(GALAXIES)
    change.work_slow()
    assert change.matched() == {(interest_id, GALAXIES)}


def test_retention_deletes_the_vectors_of_an_unused_model(change: Change, db: Database) -> None:
    change.subscribe(GALAXIES)
    change.ingest("Proteins", "Robots")
    change.configure_model(change.new)

    def delete_unused() -> int:
        with db.transaction() as tx:
            return retention.delete_unused_vectors(tx, db.now(), timedelta(days=30))

    assert delete_unused() == 0, "the old model still serves"
    change.work_slow()
    assert (delete_unused(), delete_unused(), delete_unused()) == (2, 1, 0)
    assert change.models() == {"openai:new": 2}
    assert [row["name"] for row in change.world.rows(select(model))] == ["openai:new"]


def test_vectors_of_another_length_under_an_old_name_are_refused(change: Change, db: Database) -> None:
    change.ingest("Proteins")
    change.old.embed = lowered
    plugins.embedder.cache_clear()  # a worker that was just started
    change.ingest("Robots")
    assert change.models() == {"openai:old": 1}
    with db.transaction() as tx:
        failure = embedder_health.failure(tx, "openai:old")
    assert failure is not None
    assert (
        "openai:old gives vectors of 30 numbers, the stored ones have 24; check which model is served" in failure.reason
    )


def test_each_model_has_its_own_backoff(change: Change, db: Database) -> None:
    change.ingest("Proteins")
    change.new.judge = lambda asked: Answer(status=429, headers={"Retry-After": "60"})
    change.configure_model(change.new)
    embedders = model_rollover.embedders_in_use(db, process_settings())
    assert not embed.work_backlog(db, process_settings(), *embedders)
    with db.transaction() as tx:
        assert embedder_health.failure(tx, "openai:old") is None
        assert embedder_health.failure(tx, "openai:new") is not None
    change.ingest("Robots")
    assert change.models() == {"openai:old": 2}
    lines = model_rollover.status_lines(db, process_settings())
    assert lines[1].startswith("openai:new gives no vectors at the moment: embedding server: the server answered 429")
    change.world.make_due(transport, check_at=timedelta(minutes=5))
    with db.transaction() as tx:
        assert "slow" in due_work.stages_with_work(tx, db.now(), 1.0, *(embedder.name for embedder in embedders))
