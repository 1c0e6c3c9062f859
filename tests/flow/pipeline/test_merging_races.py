"""Merging in any order and together with the other stages neither loses papers nor sends them again."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from random import Random
from time import monotonic
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select, text, update

from services.domain.papers.paper import Entry, Identifier, Listing
from services.domain.subscriptions.matcher import Candidate, Match, Matcher
from services.flow.pipeline import embed, ingest
from services.flow.pipeline.deliver.gather import gather_due
from services.flow.pipeline.deliver.send import send_due
from services.store.db.secrets import SecretBox
from services.store.db.tables import (
    channel,
    delivery,
    delivery_item,
    match,
    paper,
    paper_appearance,
    paper_identifier,
    subscription,
)
from services.store.papers import merging
from services.store.sources import sources
from services.store.subscriptions import match_runs, matches
from services.store.subscriptions.records import NewMatch
from tests.support.world import DAY, Pipeline

WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
DEADLINE = 60
FIRST = Entry(title="Planning once", identifiers=(Identifier("arxiv", "2605.00001"),), announced_on=DAY)
SECOND = Entry(title="Planning again", identifiers=(Identifier("doi", "10.1000/x"),), announced_on=DAY)
LINK = Entry(title="Planning", identifiers=(*FIRST.identifiers, *SECOND.identifiers), announced_on=DAY)


def kept_papers(world: Pipeline) -> dict[int, int]:
    return {row["id"]: row["merged_into"] or row["id"] for row in world.rows(select(paper))}


def sent(world: Pipeline) -> Counter[tuple[int, int]]:
    """(channel, living paper) → how often it went out."""
    now = kept_papers(world)
    query = select(delivery_item.c.channel_id, delivery_item.c.paper_id).join(
        delivery, delivery.c.id == delivery_item.c.delivery_id
    )
    rows = world.rows(query.where(delivery.c.state == "sent", delivery_item.c.dropped_because == ""))
    return Counter((row["channel_id"], now[row["paper_id"]]) for row in rows)


def settle(world: Pipeline) -> None:
    world.embed_and_match()
    world.notify()
    world.let_days_pass()
    world.deliver()


def hold_on(tx: Connection, work: Future[Any]) -> None:
    """Waits until other work has to wait for this transaction."""
    end = monotonic() + DEADLINE
    while not tx.scalars(text(WAITING)).one():
        assert not work.done(), work.result()
        assert monotonic() < end, "nobody waits"


# ── two connections ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_merge_waits_for_a_match_that_is_being_written(world: Pipeline) -> None:
    asked = world.subscribe(query="planning")
    world.announce(FIRST)
    settle(world)
    world.announce(SECOND, silent=True)
    second = world.paper(SECOND.title)
    new_match = NewMatch(world.account, asked, second, score=None, reason="", revision=1)
    with ThreadPoolExecutor() as pool:
        with world.db.transaction() as tx:
            matches.store(tx, [new_match])
            merge = pool.submit(world.announce, LINK)
            hold_on(tx, merge)
        merge.result(DEADLINE)
    settle(world)
    assert sent(world) == {(world.email, world.paper(FIRST.title)): 1}
    assert all(row["notified_at"] for row in world.rows(select(match)))


def _backlog(world: Pipeline) -> None:
    while embed.work_backlog(world.db, world.settings, world.embedder):
        pass


def _gather(world: Pipeline) -> None:
    while gather_due(world.db, world.settings):
        pass


def _embed(world: Pipeline) -> None:
    while embed.work(world.db, world.settings, world.embedder):
        pass


def _send(world: Pipeline) -> None:
    while send_due(world.db, world.settings, SecretBox(world.settings.secret_keys)):
        pass


def _nothing(world: Pipeline) -> None:
    pass


@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [
        (_nothing, _embed),
        (_embed, Pipeline.embed_and_match),
        (_nothing, _backlog),
        (Pipeline.embed_and_match, Pipeline.notify),
        (lambda world: (world.embed_and_match(), world.notify()), _gather),
    ],
    ids=["embed", "match", "backlog", "notify", "gather"],
)
def test_other_stages_wait_for_a_merge_and_see_it_complete(
    world: Pipeline, before: Callable[[Pipeline], object], meanwhile: Callable[[Pipeline], object]
) -> None:
    world.subscribe("First", query="once")
    world.subscribe("Second", query="again")
    world.announce(FIRST)
    world.announce(SECOND)
    before(world)
    with ThreadPoolExecutor() as pool:
        with world.db.transaction() as tx:
            where = sources.source_of_imports(tx, "daily-papers")
            listing = Listing(format="test", entries=(LINK,), announced_on=DAY)
            ingest.store(tx, where, listing, now=world.now(), silent=True)
            stage = pool.submit(meanwhile, world)
            hold_on(tx, stage)
        stage.result(DEADLINE)
    settle(world)
    (one,) = set(kept_papers(world).values())
    assert {row["paper_id"] for row in world.rows(select(match))} == {one}
    assert sent(world) == {(world.email, one): 1}
    assert len(world.mails()) == 1


def test_a_message_is_not_rendered_while_its_paper_is_merged(world: Pipeline) -> None:
    world.subscribe(query="again")
    world.announce(FIRST)
    world.announce(SECOND)
    world.embed_and_match()
    world.notify()
    _gather(world)
    with ThreadPoolExecutor() as pool:
        with world.db.transaction() as tx:
            listing = Listing(format="test", entries=(LINK,), announced_on=DAY)
            ingest.store(tx, sources.source_of_imports(tx, "daily-papers"), listing, now=world.now(), silent=True)
            stage = pool.submit(_send, world)
            hold_on(tx, stage)
        stage.result(DEADLINE)
    (mail,) = world.mails()
    assert f"Subject: {FIRST.title}\n" in mail
    assert sent(world) == {(world.email, world.paper(FIRST.title)): 1}


class Asked(Matcher):
    """A matcher that remembers of which papers it was asked."""

    papers: ClassVar[list[int]] = []

    def match(self, candidates: Sequence[Candidate]) -> list[Match]:
        self.papers.extend(one.paper.id for one in candidates)
        return list(super().match(candidates))


def test_no_paper_is_matched_while_it_is_merged(world: Pipeline) -> None:
    world.subscribe(query="planning")
    world.announce(FIRST)
    world.announce(SECOND)
    _embed(world)
    world.shard.matchers[""] = Asked()
    with ThreadPoolExecutor() as pool:
        with world.db.transaction() as tx:
            listing = Listing(format="test", entries=(LINK,), announced_on=DAY)
            ingest.store(tx, sources.source_of_imports(tx, "daily-papers"), listing, now=world.now(), silent=True)
            stage = pool.submit(world.embed_and_match)
            hold_on(tx, stage)
            assert Asked.papers == []
        stage.result(DEADLINE)
    assert set(Asked.papers) == set(kept_papers(world).values())


def test_no_event_is_written_for_a_replaced_paper(world: Pipeline) -> None:
    world.announce(FIRST)
    world.announce(SECOND)
    with ThreadPoolExecutor() as pool:
        with world.db.transaction() as tx:
            merging.lock_against_merges(tx)
            match_runs.open_run(tx, [(one, "vector") for one in kept_papers(world)])
            merge = pool.submit(world.announce, LINK)
            hold_on(tx, merge)
        merge.result(DEADLINE)
    with world.db.transaction() as tx:
        assert match_runs.events_of(tx, 3).keys() == set(kept_papers(world).values())


def test_all_stages_together_neither_deadlock_nor_lose_nor_repeat_papers(world: Pipeline) -> None:
    chance = Random(7)
    world.subscribe("First", query="planning")
    world.subscribe("Second", query="planning")
    listings = [[_random_entry(chance, 12) for _ in range(6)] for _ in range(25)]
    done: list[bool] = []

    def until_done(*stages: Callable[[], object]) -> None:
        while not done:
            for stage in stages:
                stage()

    with ThreadPoolExecutor() as pool:
        busy = [
            pool.submit(until_done, world.embed_and_match, world.notify),
            pool.submit(until_done, world.notify, world.deliver),
            pool.submit(until_done, world.deliver, lambda: _backlog(world)),
        ]
        try:
            for entries in listings:
                world.announce(*entries)
                assert not any(worker.done() for worker in busy), [w.result() for w in busy if w.done()]
        finally:
            done.append(True)
        for worker in busy:
            worker.result(DEADLINE)
    settle(world)
    _check_names(world, [one for entries in listings for one in entries])
    before = sent(world)
    assert before.keys() == {(world.email, one) for one in kept_papers(world).values()}
    world.announce(*(one for entries in listings for one in entries))
    settle(world)
    assert sum(sent(world).values()) == sum(before.values())


def _random_entry(chance: Random, names: int) -> Entry:
    number = chance.randrange(names)
    known = [("arxiv", f"2605.{number:05d}"), ("doi", f"10.1000/{number}"), ("openreview", f"abcdefgh{number}")]
    identifiers = tuple(Identifier(*one) for one in chance.sample(known, chance.randint(1, 2)))
    return Entry(title=f"Planning {number} {chance.randrange(9)}", identifiers=identifiers, announced_on=DAY)


# ── any order ─────────────────────────────────────────────────────────────────────────────────────────────────

IDENTIFIERS = (
    *(("arxiv", f"2605.{n:05d}") for n in range(1, 4)),
    ("doi", "10.1000/x"),
    ("doi", "10.1000/y"),
    ("openreview", "abcdefgh"),
)
TITLES = ("Planning", "Planning of agents in open worlds", "On the planning of many agents", "Planning, at last")
AUTHORS = ((), ("Ada Lovelace",), ("Charles Babbage",))
PROGRESS = ("announce", "match", "notify", "gather", "deliver")

entries = st.builds(
    Entry,
    title=st.sampled_from(TITLES),
    authors=st.sampled_from(AUTHORS),
    identifiers=st.lists(st.sampled_from(IDENTIFIERS).map(lambda one: Identifier(*one)), max_size=2, unique=True).map(
        tuple
    ),
    announced_on=st.just(DAY),
)
steps = st.lists(
    st.tuples(st.lists(entries, min_size=1, max_size=3), st.sampled_from(PROGRESS), st.booleans()),
    min_size=1,
    max_size=6,
)


def _start_anew(world: Pipeline) -> None:
    """Deletes papers and deliveries and keeps the subscriptions."""
    with world.db.transaction() as tx:
        tx.execute(text("TRUNCATE paper, run, match, delivery RESTART IDENTITY CASCADE"))
        tx.execute(update(channel).values(last_digest_on=None))
    if not world.rows(select(subscription)):
        world.subscribe("First", query="planning")
        world.subscribe("Second", query="agents", cadence="daily")


def _check_names(world: Pipeline, taken: Iterable[Entry]) -> None:
    """No identifier names a paper that is no more, no chain is left, and stated links are one paper."""
    now = kept_papers(world)
    assert all(now[target] == target for target in now.values())
    named = world.rows(select(paper_identifier))
    assert all(now[row["paper_id"]] == row["paper_id"] for row in named)
    owner = {Identifier(row["scheme"], row["value"]): row["paper_id"] for row in named}
    for entry in taken:
        assert len({owner[one] for one in entry.identifiers}) <= 1, entry


@given(steps=steps)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_any_order_identifiers_lead_to_one_paper_that_is_sent_once(
    world: Pipeline, steps: list[tuple[list[Entry], str, bool]]
) -> None:
    _start_anew(world)
    taken: list[Entry] = []
    stages = [world.embed_and_match, world.notify, lambda: _gather(world), world.deliver]
    for entries, progress, silent in steps:
        world.announce(*entries, silent=silent)
        taken += entries
        before = sent(world)
        for stage in stages[: PROGRESS.index(progress)]:
            stage()
        # Two papers that were sent may prove to be one; from then on nothing more replaced_id out.
        new = sent(world) - before
        assert all(times == 1 and not before[one] for one, times in new.items())
        _check_names(world, taken)
    world.announce(*taken)
    before = sent(world)
    settle(world)
    _check_names(world, taken)
    assert all(times == 1 and not before[one] for one, times in (sent(world) - before).items())
    announced = world.rows(select(paper_appearance.c.paper_id).where(~paper_appearance.c.silent))
    assert {paper_id for _, paper_id in sent(world)} == {row["paper_id"] for row in announced}
