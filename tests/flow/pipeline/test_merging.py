"""Papers that a record links are merged: nothing is lost or sent again, and every old identifier still works."""

from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, insert, select, update

from services.domain.delivery.state_machine import DeliveryKind
from services.domain.papers.paper import Entry, Identifier, Paper
from services.domain.subscriptions.matcher import Match, Matcher
from services.flow.commands import channels as channel_commands
from services.flow.commands import explain
from services.flow.pipeline import embed, ingest
from services.flow.pipeline.deliver.gather import gather_due
from services.flow.upkeep import recovery
from services.store.db.tables import (
    delivery,
    delivery_item,
    event,
    feedback,
    match,
    paper_appearance,
    paper_identifier,
    paper_mark,
)
from services.store.db.tables import paper as paper_table
from services.store.delivery import deliveries, items
from services.store.delivery.records import NewDelivery
from services.store.interests import embedding_backlog
from services.store.maintenance import audit, dashboard
from services.store.papers import marks, merging, papers, vectors
from services.store.subscriptions import match_runs, matches, reading_list, subscriptions
from services.store.subscriptions.reading_list import ListFilter
from services.store.subscriptions.records import NewMatch
from services.web.subscription_form import find_paper
from tests.support.world import DAY, Pipeline, entry

SAMPLES = Path(__file__).parents[2] / "data" / "listings" / "one-paper"
PREPRINT = "One paper about agent planning"
ARTICLE = "Planning of agents revisited"


def doi(name: object) -> Identifier:
    return Identifier("doi", f"10.1000/{name}")


def article(title: str = ARTICLE, name: object = "x", **values: Any) -> Entry:
    return Entry(title=title, identifiers=(doi(name),), **{"announced_on": DAY, **values})


def link(number: int = 1, name: object = "x", title: str = PREPRINT, **values: Any) -> Entry:
    """A record of the preprint that states the article's DOI too."""
    one = entry(title, number, **values)
    return Entry(**{**{f: getattr(one, f) for f in one.__slots__}, "identifiers": (*one.identifiers, doi(name))})


def loaded(world: Pipeline, *ids: int) -> dict[int, Paper]:
    with world.db.transaction() as tx:
        return papers.load(tx, ids)


def merged_into(world: Pipeline) -> dict[int, int]:
    query = select(paper_table.c.id, paper_table.c.merged_into).where(paper_table.c.merged_into.is_not(None))
    return {row["id"]: row["merged_into"] for row in world.rows(query)}


def two(world: Pipeline, **values: Any) -> tuple[int, int]:
    """A preprint and an article that nobody knows to be one."""
    world.announce(entry(PREPRINT, 1), article(), **values)
    return world.paper(PREPRINT), world.paper(ARTICLE)


def finish(world: Pipeline) -> None:
    """Everything that is still to happen, days later."""
    world.embed_and_match()
    world.notify()
    world.let_days_pass()
    world.expire_leases()
    while recovery.end_expired_lease(world.db, world.settings):
        pass
    world.deliver()


# ── one paper ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_record_that_links_two_papers_merges_them(world: Pipeline) -> None:
    first, second = two(world)
    tally = world.announce(link())
    assert (tally.new, tally.known, tally.updated) == (0, 1, 1)
    (one,) = set(merged_into(world).values())
    assert {first, second} == {one, *merged_into(world)}
    assert {row["paper_id"] for row in world.rows(select(paper_identifier))} == {one}
    both = loaded(world, first, second)
    assert both[first] == both[second]
    assert set(both[one].identifiers) == {Identifier("arxiv", "2605.00001"), doi("x")}


def test_every_old_identifier_leads_to_the_kept_paper(world: Pipeline) -> None:
    world.subscribe(query="planning")
    world.announce(entry(PREPRINT, 1))
    world.announce(article())
    one, gone = world.paper(PREPRINT), world.paper(ARTICLE)
    finish(world)
    world.announce(link())
    with world.db.transaction() as tx:
        for name in (str(gone), f"id:{gone}", "arxiv:2605.00001", "doi:10.1000/x"):
            assert papers.find(tx, name) == one
        assert find_paper(tx, str(gone)) == one
        seen = reading_list.papers(tx, ListFilter(account_id=world.account), 9)
        assert [row.paper_id for row in seen] == [one]
        assert matches.recent_paper_ids(tx, world.account, limit=9) == [one]
        assert len(dashboard.reasons(tx, world.account, [one])[one]) == 1
    (asked,) = {subscription for subscription, _ in world.matches()}
    steps = explain.explain(world.db, world.embedder, str(gone), asked)
    assert ("merged", f"paper {gone} turned out to be this one") in steps
    assert [stage for stage, _ in steps][-1] == "delivery"
    assert explain.explain(world.db, world.embedder, str(one), asked) == [s for s in steps if s[0] != "merged"]


def test_an_entry_with_the_id_of_one_paper_and_the_title_of_another_merges_them(world: Pipeline) -> None:
    page, spelt = "On planning with many agents at once", "Planning with many agents, all at once"
    world.announce(Entry(title=page, announced_on=DAY))
    world.announce(entry(spelt, 1), source="arxiv")
    assert merged_into(world) == {}
    expected = {world.paper(spelt): world.paper(page)}
    world.announce(entry(page, 1))
    assert merged_into(world) == expected


def test_papers_with_different_ids_of_one_scheme_are_not_merged_by_title(world: Pipeline) -> None:
    world.announce(entry(PREPRINT, 1), entry(PREPRINT, 2))
    world.announce(entry(PREPRINT, 1), entry(PREPRINT, 2))
    assert merged_into(world) == {}
    world.announce(
        Entry(title=PREPRINT, identifiers=(Identifier("arxiv", "2605.00001"), Identifier("arxiv", "2605.00002")))
    )
    assert len(merged_into(world)) == 1


def test_all_papers_of_a_chain_lead_directly_to_the_kept_one(world: Pipeline) -> None:
    world.announce(entry(PREPRINT, 3))
    world.announce(article())
    world.announce(Entry(title="Agents that plan, at last", identifiers=(Identifier("openreview", "abcdefgh"),)))
    first = world.paper(PREPRINT)
    world.announce(Entry(title="x", identifiers=(doi("x"), Identifier("openreview", "abcdefgh"))))
    assert merged_into(world) == {world.paper("Agents that plan, at last"): world.paper(ARTICLE)}
    world.announce(link(3))
    assert set(merged_into(world).values()) == {first}
    assert len(merged_into(world)) == 2


def test_one_listing_may_merge_its_own_new_papers(world: Pipeline) -> None:
    tally = world.announce(
        article(), entry(PREPRINT, 1), link(), Entry(title="y", identifiers=(doi("y"),)), link(1, "y")
    )
    assert (tally.found, tally.new, tally.known) == (5, 1, 4)
    assert world.rows(select(func.count().label("n")).select_from(paper_table)) == [{"n": 1}]
    assert len(world.rows(select(paper_identifier))) == 3


def test_one_listing_may_merge_a_chain_of_known_papers(world: Pipeline) -> None:
    world.announce(entry(PREPRINT, 1))
    world.announce(article(), article("Third", "y"))
    world.announce(Entry(title="z", identifiers=(doi("x"), doi("y"))), link())
    first = world.paper(PREPRINT)
    assert merged_into(world) == {world.paper(ARTICLE): first, world.paper("Third"): first}
    assert {row["paper_id"] for row in world.rows(select(paper_appearance))} == {first}


def test_the_sent_paper_is_kept_otherwise_the_oldest(world: Pipeline) -> None:
    world.subscribe(query="title:revisited")
    world.announce(entry(PREPRINT, 1))
    world.announce(article())
    finish(world)
    world.announce(link())
    assert merged_into(world) == {world.paper(PREPRINT): world.paper(ARTICLE)}
    assert loaded(world, world.paper(ARTICLE))[world.paper(ARTICLE)].title == ARTICLE


def test_the_kept_paper_has_what_both_had(world: Pipeline) -> None:
    world.announce(entry(PREPRINT, 1, abstract="We plan", categories=("cs.AI",), upvotes=7))
    world.announce(
        article(abstract="We plan a lot.", categories=("cs.LG",), version=2, announced_on=DAY - timedelta(days=2))
    )
    world.announce(link(upvotes=3))
    (kept_id,) = merged_into(world).values()
    one = loaded(world, kept_id)[kept_id]
    assert (one.abstract, one.version, one.upvotes) == ("We plan a lot.", 1, 7)
    assert (one.categories, one.announced_on) == (("cs.AI", "cs.LG"), DAY - timedelta(days=2))


@pytest.mark.parametrize("silent", [(True, True), (True, False), (False, True)])
def test_merged_appearances_are_silent_only_if_both_were(world: Pipeline, silent: tuple[bool, bool]) -> None:
    world.announce(entry(PREPRINT, 1), silent=silent[0])
    world.announce(article(), silent=silent[1])
    world.announce(article("Third", "z"), source="arxiv", silent=True)
    world.announce(link(), link(1, "z"), source="feed", silent=True)
    one = loaded(world, world.paper(PREPRINT))[world.paper(PREPRINT)]
    assert one.sources == ("arxiv", "daily-papers", "feed")
    silence = {row["source_id"]: row["silent"] for row in world.rows(select(paper_appearance))}
    assert silence[world.source] == all(silent)
    assert len(silence) == 3


def test_two_silent_papers_are_new_when_an_announced_listing_merges_them(world: Pipeline) -> None:
    two(world, silent=True)
    world.subscribe(query="planning")
    world.announce(link(), source="feed")
    finish(world)
    assert len(world.mails()) == 1


@pytest.mark.parametrize(
    ("asked", "categories"),
    [({"query": '"agent planning" cat:cs.LG'}, ("cs.LG",)), ({"query": '"agent planning"', "sources": ("arxiv",)}, ())],
    ids=["category", "source"],
)
def test_a_source_of_the_replaced_paper_is_an_event(
    world: Pipeline, asked: dict[str, Any], categories: tuple[str, ...]
) -> None:
    world.subscribe(**asked)
    world.announce(entry(PREPRINT, 1))
    world.announce(article(categories=categories), source="arxiv")
    finish(world)
    assert world.matches() == set()
    world.announce(link())
    finish(world)
    assert len(world.mails()) == 1


def test_a_paper_is_not_new_again_when_only_the_replaced_one_was_announced(world: Pipeline) -> None:
    world.announce(entry(PREPRINT, 1), silent=True)
    world.announce(article())
    world.announce(link())
    assert merged_into(world) == {world.paper(ARTICLE): world.paper(PREPRINT)}
    assert [row["what"] for row in world.rows(select(event))] == ["new"]


@pytest.mark.parametrize("order", range(5))
def test_one_paper_in_rss_atom_api_oai_and_old_rdf_is_one(world: Pipeline, order: int) -> None:
    forms = sorted(SAMPLES.glob("*.xml"))
    assert [form.stem for form in forms] == ["api", "atom", "oai", "rdf", "rss"]
    for form in (*forms[order:], *forms[:order]):
        ingest.import_listing(world.db, form.read_bytes(), day=None, format=None, silent=False)
    (row,) = world.rows(select(paper_table))
    one = loaded(world, row["id"])[row["id"]]
    assert one.title == "New Perspective on Hybrid Mesons"
    assert set(one.identifiers) == {Identifier("arxiv", "1805.06430"), Identifier("doi", "10.1140/epja/i2019-12805-4")}
    assert (one.version, len(one.authors), set(one.categories)) == (2, 6, {"nucl-th", "hep-ph"})


# ── what hangs on a paper ─────────────────────────────────────────────────────────────────────────────────────


def test_an_unmatched_event_moves_to_the_kept_paper(world: Pipeline) -> None:
    world.subscribe("Preprints", query='"agent planning"')
    world.subscribe("Articles", query="revisited")
    world.announce(entry(PREPRINT, 1))
    world.announce(article())
    with world.db.transaction() as tx:
        before = match_runs.events_of(tx, 2)
    world.announce(link())
    with world.db.transaction() as tx:
        assert match_runs.events_of(tx, 2) == {world.paper(PREPRINT): before[world.paper(ARTICLE)]}
    finish(world)
    assert {paper_id for _, paper_id in world.matches()} == {world.paper(PREPRINT)}
    assert len(world.mails()) == 1
    assert {row["paper_id"] for row in world.rows(select(event))} == {world.paper(PREPRINT)}


def test_examples_and_verdicts_move_and_the_kept_papers_example_wins(world: Pipeline) -> None:
    first, second = two(world)
    world.embed_and_match()
    one = world.subscribe("One", interest="agent", liked=(second,))
    other = world.subscribe("Other", interest="agent", liked=(first,), disliked=(second,))
    verdicts = [(one, second, "more", 0), (other, first, "more", 0), (other, second, "less", 1)]
    with world.db.transaction() as tx:
        for subscription, paper, verdict, minute in verdicts:
            at = world.now() + timedelta(minutes=minute)
            tx.execute(
                insert(feedback).values(subscription_id=subscription, paper_id=paper, verdict=verdict, created_at=at)
            )
    world.announce(link(), silent=True)
    (kept_id,) = merged_into(world).values()
    with world.db.transaction() as tx:
        assert subscriptions.examples_of(tx, one) == ((kept_id,), ())
        assert subscriptions.examples_of(tx, other) == (((kept_id,), ()) if kept_id == first else ((), (kept_id,)))
    verdict_of = {row["subscription_id"]: (row["paper_id"], row["verdict"]) for row in world.rows(select(feedback))}
    assert verdict_of == {one: (kept_id, "more"), other: (kept_id, "less")}


def test_a_paper_read_under_one_number_and_kept_under_the_other_is_both(world: Pipeline) -> None:
    first, second = two(world)
    with world.db.transaction() as tx:
        marks.set_read(tx, world.account, [first], world.now())
        marks.set_starred(tx, world.account, [second], world.now())
    world.announce(link(), silent=True)
    ((gone, kept_id),) = merged_into(world).items()
    (row,) = world.rows(select(paper_mark))
    assert (row["paper_id"], row["read_at"] is None, row["starred_at"] is None) == (kept_id, False, False)
    with world.db.transaction() as tx:
        assert marks.set_starred(tx, world.account, [gone], None) == 1
    (row,) = world.rows(select(paper_mark))
    assert (row["paper_id"], row["starred_at"]) == (kept_id, None)


def test_an_example_given_by_an_old_number_is_the_kept_paper(world: Pipeline) -> None:
    two(world)
    world.embed_and_match()
    world.announce(link(), silent=True)
    ((gone, kept_id),) = merged_into(world).items()
    one = world.subscribe("One", interest="agent", liked=(gone,))
    with world.db.transaction() as tx:
        assert subscriptions.examples_of(tx, one) == ((kept_id,), ())


@pytest.mark.parametrize("fuller", [True, False])
def test_a_vector_is_kept_with_its_text(world: Pipeline, fuller: bool) -> None:
    text = "We ask what a robot would do."
    world.announce(entry(PREPRINT, 1, abstract="We ask" if fuller else text))
    world.announce(article(abstract=text if fuller else "We ask"))
    kept_id, replaced_id = world.paper(PREPRINT), world.paper(ARTICLE)
    world.embed_and_match()
    with world.db.transaction() as tx:
        before = vectors.load(tx, [kept_id, replaced_id], world.embedder.name)
    world.announce(link(), silent=True)
    with world.db.transaction() as tx:
        kept = vectors.load(tx, [kept_id, replaced_id], world.embedder.name)
        assert embedding_backlog.take(tx, world.embedder.name, 9) == ([kept_id] if fuller else [])
    assert kept.keys() == (set() if fuller else {kept_id})
    embed.work_backlog(world.db, world.settings, world.embedder)
    with world.db.transaction() as tx:
        after = vectors.load(tx, [kept_id, replaced_id], world.embedder.name)
    assert after.keys() == {kept_id}
    assert np.array_equal(after[kept_id], before[kept_id]) != fuller


def test_a_vector_of_the_same_text_moves_to_a_paper_without_one(world: Pipeline) -> None:
    world.announce(entry(PREPRINT, 1, authors=("Ada Lovelace",)))
    world.announce(article(PREPRINT, authors=("Charles Babbage",)))
    kept_id, replaced_id = sorted(row["id"] for row in world.rows(select(paper_table)))
    with world.db.transaction() as tx:
        vectors.store(tx, "words", [replaced_id], np.ones((1, 5), dtype=np.float32))
    world.announce(link(), silent=True)
    assert merged_into(world) == {replaced_id: kept_id}
    with world.db.transaction() as tx:
        assert vectors.load(tx, [kept_id, replaced_id], "words").keys() == {kept_id}


# ── matches and items ─────────────────────────────────────────────────────────────────────────────────────────────

STAGES = ("matched", "waits", "gathered", "claimed", "sending", "uncertain", "sent", "dropped", "dead")
OUT = ("sending", "uncertain", "sent")
TO_COME = ("matched", "waits", "gathered", "claimed")


def bring_to(world: Pipeline, paper: int, subscription: int, channel: int, stage: str) -> None:
    """Brings a paper's match as far as `stage` on a channel."""
    new_match = NewMatch(world.account, subscription, paper, score=None, reason=stage, revision=1)
    item: dict[str, Any] = {
        "account_id": world.account,
        "channel_id": channel,
        "paper_id": paper,
        "cadence": "immediate",
    }
    with world.db.transaction() as tx:
        matches.store(tx, [new_match])
        if stage == "matched":
            return
        tx.execute(update(match).where(match.c.paper_id == paper).values(notified_at=func.now()))
        dropped = "channel removed" if stage == "dropped" else ""
        new = insert(delivery_item).values(**item, not_before=func.now(), dropped_because=dropped)
        made = tx.scalars(new.returning(delivery_item.c.id)).one()
        if stage in ("waits", "dropped"):
            return
        message = NewDelivery(
            account_id=world.account,
            channel_id=channel,
            kind=DeliveryKind.MESSAGE,
            idem_key=f"test:{made}",
            item_ids=[made],
        )
        sent = deliveries.create(tx, message, "localhost")
        state = "pending" if stage == "gathered" else stage
        lease = func.now() if stage in ("claimed", "sending") else None
        values: dict[str, Any] = {
            "state": state,
            "lease_until": lease,
            "next_attempt_at": None if stage in (*OUT, "dead") else func.now(),
        }
        tx.execute(update(delivery).where(delivery.c.id == sent).values(values))


def times_sent(world: Pipeline, *ids: int) -> dict[int, int]:
    """By channel, how often any of the papers was sent there, or may have been."""
    went = delivery.c.state.in_(OUT) & (delivery_item.c.dropped_because == "")
    query = select(delivery_item.c.channel_id).join(delivery, delivery.c.id == delivery_item.c.delivery_id)
    channels = [row["channel_id"] for row in world.rows(query.where(went, delivery_item.c.paper_id.in_(ids)))]
    return {one: channels.count(one) for one in channels}


@pytest.mark.parametrize("how", ["one subscription", "two subscriptions", "two channels"])
@pytest.mark.parametrize("older", STAGES)
def test_items_at_any_two_stages_are_neither_lost_nor_sent_again(world: Pipeline, how: str, older: str) -> None:
    other_channel = channel_commands.find_or_add(
        world.db, world.settings, world.account, "email:bob@example.org", verified=True
    )
    channels = (world.email, other_channel if how == "two channels" else world.email)
    first = world.subscribe("First", query="planning", to=[channels[0]])
    second = first if how == "one subscription" else world.subscribe("Second", query="planning", to=[channels[1]])
    numbers = range(1, len(STAGES) + 1)
    world.announce(*(entry(f"Preprint {n}", n) for n in numbers), silent=True)
    world.announce(*(article(f"Article {n}", n) for n in numbers), silent=True)
    pairs = {
        younger: (world.paper(f"Preprint {n}"), world.paper(f"Article {n}"))
        for n, younger in zip(numbers, STAGES, strict=True)
    }
    for younger, (one, other) in pairs.items():
        bring_to(world, one, first, channels[0], older)
        bring_to(world, other, second, channels[1], younger)
    before = {younger: times_sent(world, *pair) for younger, pair in pairs.items()}
    world.announce(*(link(n, n, title=f"Preprint {n}") for n in numbers), silent=True)
    assert len(merged_into(world)) == len(STAGES)
    assert not [m for m in world.rows(select(match)) if m["paper_id"] in merged_into(world) and not m["notified_at"]]
    finish(world)
    world.run(*(link(n, n, title=f"Preprint {n}") for n in numbers))
    for younger, pair in pairs.items():
        expected = dict(before[younger])
        for stage, beside, channel in ((older, younger, channels[0]), (younger, older, channels[1])):
            # A match beside an item that was given up is a second match of one paper: that is not sent either.
            given_up = stage == "matched" and beside in ("dropped", "dead") and how != "two channels"
            if stage in TO_COME and not given_up:
                expected.setdefault(channel, 1)
        assert times_sent(world, *pair) == expected, (older, younger)
        (kept,) = {p.id for p in loaded(world, *pair).values()}
        history = [row for row in world.items() if row["paper_id"] in pair and row["paper_id"] != kept]
        for row in history:
            dropped = row["dropped_because"] in (f"merged with paper {kept}", "channel removed")
            assert dropped != bool(row["delivery_id"]), "what waited was dropped, what went out is on record"
    with world.db.transaction() as tx:
        assert audit.audit(tx, world.now() + timedelta(hours=1)).items_overdue == 0
        assert audit.audit(tx, world.now() + timedelta(hours=1)).matches_not_notified == 0


def test_of_two_waiting_items_one_is_kept_at_the_earlier_time(world: Pipeline) -> None:
    world.subscribe("Soon", query='"agent planning"', cadence="daily")
    world.subscribe("Late", query="revisited", cadence="weekly")
    two(world)
    world.embed_and_match()
    world.notify()
    with world.db.transaction() as tx:
        later = delivery_item.c.not_before + timedelta(days=7)
        tx.execute(update(delivery_item).where(delivery_item.c.cadence == "weekly").values(not_before=later))
    before = {row["paper_id"]: row for row in world.items()}
    world.announce(link(), silent=True)
    ((gone, kept_id),) = merged_into(world).items()
    after = {row["paper_id"]: row for row in world.items()}
    soonest = min(before.values(), key=lambda row: row["not_before"])
    assert (after[kept_id]["not_before"], after[kept_id]["cadence"]) == (soonest["not_before"], soonest["cadence"])
    assert after[gone]["dropped_because"] == f"merged with paper {kept_id}"
    finish(world)
    (mail,) = world.mails()
    assert "Soon" in mail
    assert "Late" in mail


def test_of_two_matches_the_notified_one_is_kept_with_its_reason(world: Pipeline) -> None:
    world.announce(entry(PREPRINT, 1))
    world.announce(article())
    (one, other), asked = (world.paper(PREPRINT), world.paper(ARTICLE)), world.subscribe(query="planning")
    elsewhere = channel_commands.find_or_add(
        world.db, world.settings, world.account, "email:bob@example.org", verified=True
    )
    bring_to(world, one, world.subscribe("Before", query="planning", to=[elsewhere]), elsewhere, "sent")
    bring_to(world, one, asked, world.email, "matched")
    bring_to(world, other, asked, world.email, "sent")
    world.announce(link(), silent=True)
    with world.db.transaction() as tx:
        counts, history = matches.find(tx, asked, one), matches.find(tx, asked, other)
    assert merged_into(world) == {other: one}
    assert counts is not None
    assert history is not None
    assert (counts.reason, history.reason) == ("sent", "matched")
    assert history.notified_at


def test_two_papers_of_a_claimed_message_are_rendered_as_one(world: Pipeline) -> None:
    world.subscribe(query="planning")
    two(world)
    world.embed_and_match()
    world.notify()
    gather_due(world.db, world.settings)
    world.claim()
    world.announce(link(), silent=True)
    finish(world)
    (mail,) = world.mails()
    (kept_id,) = set(merged_into(world).values())
    assert f"Subject: {loaded(world, kept_id)[kept_id].title}\n" in mail
    with world.db.transaction() as tx:
        assert items.paper_ids(tx, world.deliveries()[0]["id"]) == [kept_id]


def test_a_message_left_without_papers_is_not_sent(world: Pipeline) -> None:
    world.subscribe("First", query='"agent planning"')
    world.subscribe("Second", query="revisited")
    world.announce(entry(PREPRINT, 1))
    finish(world)
    world.announce(article())
    world.embed_and_match()
    world.notify()
    gather_due(world.db, world.settings)
    world.announce(link())
    finish(world)
    assert [row["state"] for row in world.deliveries()] == ["sent", "cancelled"]
    assert len(world.mails()) == 1


# ── what comes late ───────────────────────────────────────────────────────────────────────────────────────────


class Interrupted(Matcher):
    """A matcher during whose work two papers become one."""

    def __init__(self, world: Pipeline) -> None:
        super().__init__()
        self.world, self.turns = world, count()

    def match(self, candidates: Any) -> list[Match]:
        found = list(super().match(candidates))
        if next(self.turns) == 0:
            self.world.announce(link(), silent=True)
        return found


def test_a_match_of_a_paper_replaced_meanwhile_is_of_the_kept_one(world: Pipeline) -> None:
    world.subscribe("First", query='"agent planning"')
    world.announce(entry(PREPRINT, 1))
    finish(world)
    world.subscribe("Second", query="revisited")
    world.announce(article())
    world.shard = type(world.shard)(number=0, matchers={"": Interrupted(world)})
    finish(world)
    assert merged_into(world) == {world.paper(ARTICLE): world.paper(PREPRINT)}
    assert len(world.matches()) == 2
    assert {paper_id for _, paper_id in world.matches()} == {world.paper(PREPRINT)}
    assert len(world.mails()) == 1


def test_a_vector_of_a_paper_replaced_meanwhile_is_not_stored(world: Pipeline) -> None:
    two(world)
    world.announce(link(), silent=True)
    ((gone, kept_id),) = merged_into(world).items()
    with world.db.transaction() as tx:
        vectors.store(tx, "words", [gone, kept_id], np.ones((2, 5), dtype=np.float32))
        assert vectors.load(tx, [gone, kept_id], "words").keys() == {kept_id}
        assert merging.current_ids(tx, [gone, kept_id]) == {gone: kept_id, kept_id: kept_id}


# ── versions and withdrawals ──────────────────────────────────────────────────────────────────────────────────


def test_a_new_version_causes_no_alert_and_is_shown(world: Pipeline) -> None:
    asked = world.subscribe(query="planning")
    world.run(entry(PREPRINT, 1), source="arxiv")
    world.run(entry(PREPRINT, 1, version=3, abstract="We plan anew."), source="arxiv")
    assert len(world.mails()) == 1
    assert explain.explain(world.db, world.embedder, "2605.00001", asked)[0][1].endswith(", version 3")


def test_a_withdrawn_paper_is_dropped_from_waiting_digests_with_the_reason(world: Pipeline) -> None:
    asked = world.subscribe(query="planning")
    world.announce(entry(PREPRINT, 1), entry("Another paper about planning", 2), source="arxiv")
    world.embed_and_match()
    world.notify()
    gather_due(world.db, world.settings)
    world.announce(entry(PREPRINT, 1, version=2, withdrawn=True), source="arxiv")
    finish(world)
    (mail,) = world.mails()
    assert PREPRINT not in mail
    steps = dict(explain.explain(world.db, world.embedder, "2605.00001", asked))
    assert steps["dropped"].endswith("the paper was withdrawn")
    assert "(withdrawn)" in steps["paper"]


def test_explain_states_that_an_unsent_paper_was_withdrawn(world: Pipeline) -> None:
    asked = world.subscribe(query="planning")
    world.announce(entry(PREPRINT, 1), source="arxiv")
    world.embed_and_match()
    world.announce(entry(PREPRINT, 1, version=2, withdrawn=True), source="arxiv")
    finish(world)
    assert world.mails() == []
    steps = dict(explain.explain(world.db, world.embedder, "2605.00001", asked))
    assert steps["notification"] == "nothing to send: the paper was withdrawn"
