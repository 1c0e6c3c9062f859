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
    """Another model, of another length."""
    return by_words([text.lower() for text in texts], 30)


class Change:
    """A world whose embedder is whichever serves, and the settings that want one."""

    def __init__(self, world: Pipeline, configure: Configure, old: EmbeddingServer, new: EmbeddingServer) -> None:
        self.world, self.configure, self.old, self.new = world, configure, old, new
        self.shard = Shard(number=0)
        self.want(old)

    def want(self, server: EmbeddingServer) -> None:
        self.configure(embedder=server.setting)
        model_rollover.request_wanted_model(self.world.db, process_settings())

    @property
    def serves(self) -> Embedder:
        return model_rollover.serving_embedder(self.world.db, process_settings())

    def used(self) -> list[str]:
        return [one.name for one in model_rollover.embedders_in_use(self.world.db, process_settings())]

    def subscribe(self, text: str) -> int:
        self.world.embedder = self.serves  # type: ignore[assignment]
        return self.world.subscribe("Interest", interest=text, volume="50/day")

    def hear(self, *titles: str) -> None:
        numbers = range(1, len(titles) + 1)
        given = [
            entry(title, abs(hash(title)) % 99_000 + number) for title, number in zip(titles, numbers, strict=True)
        ]
        self.world.announce(*given)
        self.work()

    def work(self) -> None:
        used = model_rollover.embedders_in_use(self.world.db, process_settings())
        while embed.work(self.world.db, self.world.settings, *used):
            pass
        while work(self.world.db, self.world.settings, [self.shard]):
            pass

    def slow(self) -> None:
        """The slow queue until nothing is left for it."""
        db, config = self.world.db, process_settings()
        busy = True
        while busy:
            busy = recalibrate.compile_waiting(db, self.serves)
            busy |= embed.work_backlog(db, config, *model_rollover.embedders_in_use(db, config))
            busy |= model_rollover.take_over(db, config)
        self.work()  # what it left to matching meets interests that have moved

    def matched(self) -> set[tuple[int, str]]:
        titles = {row["id"]: row["title"] for row in self.world.rows(select(paper_of))}
        return {(one, titles[paper]) for one, paper in self.world.matches()}

    def models(self) -> dict[str, int]:
        found = [row["model"] for row in self.world.rows(select(paper_vector))]
        return {name: found.count(name) for name in sorted(set(found))}

    def row(self, one: int) -> dict[str, Any]:
        return self.world.rows(select(subscription).where(subscription.c.id == one))[0]


@pytest.fixture
def change(world: Pipeline, configure: Configure) -> Iterator[Change]:
    plugins.embedder.cache_clear()
    with EmbeddingServer(model="old") as old, EmbeddingServer(lowered, model="new") as new:
        yield Change(world, configure, old, new)


def test_the_old_model_serves_until_the_archive_is_embedded(change: Change) -> None:
    one = change.subscribe(GALAXIES)
    change.hear(GALAXIES, "Proteins")
    assert change.models() == {"openai:old": 2}
    change.want(change.new)
    assert change.serves.name == "openai:old"
    assert change.used() == ["openai:old", "openai:new"]
    assert model_rollover.status_lines(change.world.db, process_settings()) == [
        "The archive is embedded anew with openai:new: 0 of 2 papers. openai:old serves."
    ]
    change.hear("Galaxies not so far away")
    assert (one, "Galaxies not so far away") in change.matched()
    assert change.models() == {"openai:new": 1, "openai:old": 3}
    change.slow()
    assert change.serves.name == "openai:new"
    assert (change.row(one)["model"], change.row(one)["error"]) == ("openai:new", "")
    assert len(change.row(one)["weights"]) == 30
    assert model_rollover.status_lines(change.world.db, process_settings()) == []
    change.hear("Galaxies away so far")
    assert (one, "Galaxies away so far") in change.matched()


def test_what_the_old_model_has_judged_is_no_news_to_the_new_one(change: Change) -> None:
    change.subscribe(GALAXIES)
    change.hear(GALAXIES, "Proteins", "Robots")
    before = change.matched()
    assert before == {(1, GALAXIES)}
    change.new.embed = lambda texts: by_words(
        [GALAXIES if "e" in text and len(text) < 12 else text for text in texts], 30
    )
    change.want(change.new)
    change.slow()
    assert change.row(1)["model"] == "openai:new"
    assert change.matched() == before
    change.hear("Seven trees")
    assert (1, "Seven trees") in change.matched(), "the new model finds everything short with an e"


def test_what_the_old_model_could_not_see_is_caught_up_with(change: Change) -> None:
    one = change.subscribe(GALAXIES)
    change.hear("Proteins")
    change.want(change.new)
    change.old.judge = lambda asked: Answer(status=503)
    change.hear(GALAXIES)
    assert change.matched() == set()
    change.slow()
    assert change.matched() == {(one, GALAXIES)}


def test_interests_of_both_models_match_side_by_side(change: Change) -> None:
    first, second = change.subscribe(GALAXIES), change.subscribe(GALAXIES)
    change.hear("Proteins")
    change.want(change.new)
    while embed.work_backlog(
        change.world.db, process_settings(), *model_rollover.embedders_in_use(change.world.db, process_settings())
    ):
        pass
    assert model_rollover.take_over(change.world.db, process_settings())
    assert recalibrate.compile_waiting(change.world.db, change.serves)
    assert {change.row(first)["model"], change.row(second)["model"]} == {"openai:old", "openai:new"}
    assert change.used() == ["openai:new", "openai:old"]
    change.hear(GALAXIES)
    assert change.matched() == {(first, GALAXIES), (second, GALAXIES)}
    for one in (first, second):
        steps = dict(explain(change.world.db, change.serves, str(change.world.paper("Proteins")), one))
        assert steps["not matched"].startswith("score ")


def test_who_goes_back_in_time_is_served_at_once(change: Change) -> None:
    one = change.subscribe(GALAXIES)
    change.hear("Proteins")
    change.want(change.new)
    change.want(change.old)
    assert change.serves.name == "openai:old"
    change.hear(GALAXIES)
    assert change.matched() == {(one, GALAXIES)}
    assert change.models() == {"openai:old": 2}


def test_an_old_model_that_cannot_be_made_any_more_leaves_interests_to_wait(change: Change) -> None:
    one = change.subscribe(GALAXIES)
    change.hear("Proteins")
    change.want(change.new)
    with change.world.db.transaction() as tx:
        tx.execute(model.update().where(model.c.name == "openai:old").values(setting="gone:with the wind"))
    assert change.serves.name == "openai:new"
    change.hear(GALAXIES)
    change.slow()
    assert change.matched() == {(one, GALAXIES)}


def test_the_night_takes_the_vectors_of_a_model_that_nobody_uses(change: Change, db: Database) -> None:
    change.subscribe(GALAXIES)
    change.hear("Proteins", "Robots")
    change.want(change.new)

    def night() -> int:
        with db.transaction() as tx:
            return retention.delete_unused_vectors(tx, db.now(), timedelta(days=30))

    assert night() == 0, "it serves"
    change.slow()
    assert (night(), night(), night()) == (2, 1, 0)
    assert change.models() == {"openai:new": 2}
    assert [row["name"] for row in change.world.rows(select(model))] == ["openai:new"]


def test_another_model_under_an_old_name_is_refused(change: Change, db: Database) -> None:
    change.hear("Proteins")
    change.old.embed = lowered
    plugins.embedder.cache_clear()  # a worker that was just started
    change.hear("Robots")
    assert change.models() == {"openai:old": 1}
    with db.transaction() as tx:
        failure = embedder_health.failure(tx, "openai:old")
    assert failure is not None
    assert (
        "openai:old gives vectors of 30 numbers, the stored ones have 24; check which model is served" in failure.reason
    )


def test_each_model_rests_alone_and_the_sweep_calls_for_the_other(change: Change, db: Database) -> None:
    change.hear("Proteins")
    change.new.judge = lambda asked: Answer(status=429, headers={"Retry-After": "60"})
    change.want(change.new)
    used = model_rollover.embedders_in_use(db, process_settings())
    assert not embed.work_backlog(db, process_settings(), *used)
    with db.transaction() as tx:
        assert embedder_health.failure(tx, "openai:old") is None
        assert embedder_health.failure(tx, "openai:new") is not None
    change.hear("Robots")
    assert change.models() == {"openai:old": 2}
    lines = model_rollover.status_lines(db, process_settings())
    assert lines[1].startswith("openai:new gives no vectors at the moment: embedding server: the server answered 429")
    change.world.make_due(transport, check_at=timedelta(minutes=5))
    with db.transaction() as tx:
        assert "slow" in due_work.stages_with_work(tx, db.now(), 1.0, *(one.name for one in used))
