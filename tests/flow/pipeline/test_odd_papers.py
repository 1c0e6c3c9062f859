"""Odd papers and odd wishes: every paper finds its way, every wish that cannot be met says what to do."""

import numpy as np
import pytest
from sqlalchemy import select

from services.domain.query.tsquery import MAX_CHARACTERS
from services.domain.subscriptions.draft import Draft
from services.errors import ConfigError, NotFound
from services.flow.commands.preview import preview
from services.flow.pipeline import embed
from services.store.db.tables import paper_words
from services.store.db.tables import subscription as subscription_table
from services.store.subscriptions import matches
from services.store.subscriptions.records import NewMatch
from tests.flow.commands.test_interests import fill, stored
from tests.support.world import Pipeline, entry

ODD = {
    "An empty one": "",
    "A long one about agents": "agents plan and act " * 5_000,
    "One of many words": " ".join(f"word{n}" for n in range(60_000)),
    "One of long words": " ".join("x" * 400 + str(n) for n in range(4 * MAX_CHARACTERS // 400)),
    "$\\alpha^{2} \\to \\int_0^\\infty$": "$$\\sum_{i=1}^{n} \\frac{x_i}{\\sqrt{n}} \\xrightarrow{d} N(0,1)$$",
    "扩散模型与智能体": "我们提出一种新的扩散模型。它比以前的方法更好。",
    "…": "!!! ??? ---",
}


@pytest.mark.parametrize("title", ODD)
def test_an_odd_paper_is_matched_previewed_and_liked(world: Pipeline, title: str) -> None:
    fill(world)
    world.embed_and_match()
    everything = world.subscribe(interest="diffusion agents", volume="900/day")
    worded = world.subscribe(query="one OR alpha OR 扩散 OR agent OR n")
    day = world.now().date()
    world.announce(entry(title, 700, abstract=ODD[title], announced_on=day))
    world.embed_and_match()
    odd = world.paper(title)
    assert len(world.rows(select(paper_words).where(paper_words.c.paper_id == odd))) == 1
    seen = preview(world.db, world.embedder, Draft(query="one OR alpha OR 扩散 OR agent OR n"))
    assert ((worded, odd) in world.matches()) is (odd in {hit.paper_id for hit in seen.hits})
    assert ((worded, odd) in world.matches()) is (title != "…")
    row = stored(world, world.subscribe(liked=(odd,)))
    assert np.isfinite(row.weights).all()
    assert row.terms
    assert stored(world, everything).error == ""


def test_a_paper_without_a_vector_is_matched_by_its_words_and_previews_say_so(world: Pipeline) -> None:
    fill(world)
    interested = world.subscribe(interest="diffusion agents", volume="900/day")
    worded = world.subscribe(query="diffusion")
    world.embedder.down = True
    world.announce(entry("Diffusion agents without a vector", 700, announced_on=world.now().date()))
    world.embed_and_match()
    late = world.paper("Diffusion agents without a vector")
    assert (worded, late) in world.matches()
    assert (interested, late) not in world.matches()
    world.embedder.down = False
    seen = preview(world.db, world.embedder, Draft(interest="diffusion agents"))
    assert "1 papers are not embedded yet and were passed over" in seen.warnings


def test_a_liked_paper_that_is_nowhere_is_named(world: Pipeline) -> None:
    with pytest.raises(NotFound, match="no paper 4711 in the archive to like or dislike; import it first"):
        world.subscribe(liked=(4711,))
    assert world.rows(select(subscription_table)) == []


@pytest.mark.parametrize(
    ("volume", "advice"), [("0/week", "pause the subscription instead"), ("10000/day", "use a query instead")]
)
def test_an_impossible_volume_says_what_to_do(world: Pipeline, volume: str, advice: str) -> None:
    with pytest.raises(ConfigError, match=advice):
        world.subscribe(interest="diffusion agents", volume=volume)


def test_a_broad_volume_of_a_small_archive_takes_what_is_similar(world: Pipeline) -> None:
    fill(world)
    row = stored(world, world.subscribe(interest="diffusion agents", volume="1000/day"))
    assert row.threshold == pytest.approx(0.2)


def test_a_match_of_a_subscription_that_was_deleted_meanwhile_is_not_stored(world: Pipeline) -> None:
    one = world.subscribe(query="diffusion")
    world.announce(entry("Diffusion", 1))
    while embed.work(world.db, world.settings, world.embedder):
        pass
    with world.db.transaction() as tx:
        world.shard.refresh(tx)
    row = stored(world, one)
    with world.db.transaction() as tx:
        tx.execute(subscription_table.update().values(deleted_at=world.now()))
    late = NewMatch(
        account_id=world.account,
        subscription_id=one,
        paper_id=world.paper("Diffusion"),
        score=None,
        reason="",
        revision=row.revision,
    )
    with world.db.transaction() as tx:
        assert matches.store(tx, [late]) == 0
    assert world.matches() == set()
