"""What tells the entries of feeds apart, and what a feed may change of a paper that has a source of its own."""

from sqlalchemy import select

from services.domain.papers.paper import Identifier
from services.flow.pipeline import ingest
from services.store.db.tables import event, paper
from services.store.papers import merging
from tests.support.world import Pipeline, entry

WEEKLY = "Top AI Papers of the Week"
ITEM = """<item><title>{title}</title><link>https://news.example.org/p/{name}</link>
<description>Of {name}.</description><guid isPermaLink="false">{guid}</guid><creator>ed</creator></item>"""
CHANNEL = '<rss version="2.0"><channel><title>News</title><link>{home}</link>{items}</channel></rss>'


def newsletter(*names: str, home: str = "https://news.example.org", guid: str = "{}", title: str = WEEKLY) -> bytes:
    items = "".join(ITEM.format(name=name, guid=guid.format(name), title=title) for name in names)
    return CHANNEL.format(home=home, items=items).encode()


def imported(world: Pipeline, body: bytes) -> ingest.Tally:
    return ingest.import_listing(world.db, body, day=None, format=None, silent=False)


def test_each_issue_of_a_newsletter_with_one_title_is_new(world: Pipeline) -> None:
    assert imported(world, newsletter("week-1")).new == 1
    second = imported(world, newsletter("week-2", "week-1"))
    assert (second.new, second.known) == (1, 1)
    third = imported(world, newsletter("week-3", "week-2", "week-1"))
    assert (third.new, third.known) == (1, 2)
    assert len(world.rows(select(event))) == 3


def test_issues_without_guids_are_told_apart_by_their_links(world: Pipeline) -> None:
    without = [newsletter(*names, guid="").replace(b'<guid isPermaLink="false"></guid>', b"") for names in ("a", "ba")]
    assert [imported(world, body).new for body in without] == [1, 1]


def test_a_feed_that_makes_new_ids_for_each_answer_lists_the_same_paper(world: Pipeline) -> None:
    imported(world, newsletter("week-1", guid="session-1-{}"))
    assert imported(world, newsletter("week-1", guid="session-2-{}")).new == 0


def test_two_feeds_list_one_paper_of_one_title(world: Pipeline) -> None:
    imported(world, newsletter("week-1", title="A paper about agents that plan"))
    other = newsletter("copy", home="https://digest.example.com", title="A paper about agents that plan")
    assert imported(world, other).new == 0


def test_entries_of_a_merged_paper_are_known_by_both_their_ids(world: Pipeline) -> None:
    imported(world, newsletter("early"))
    imported(world, newsletter("late"))
    ids = [row["id"] for row in world.rows(select(paper).order_by(paper.c.id))]
    with world.db.transaction() as tx:
        merging.merge_papers(tx, ids[0], ids[1], world.now())
    assert imported(world, newsletter("late", "early")).new == 0


# ── papers that have a source of their own ────────────────────────────────────────────────────────────────────


def row_of(world: Pipeline, title: str = "Planning with tools") -> dict[str, object]:
    (row,) = world.rows(select(paper).where(paper.c.title == title))
    return {name: row[name] for name in ("abstract", "authors", "version", "withdrawn", "links")}


def test_a_feed_cannot_rewrite_a_paper_of_arxiv_by_naming_a_higher_version(world: Pipeline) -> None:
    own = {"abstract": "An agent plans.", "authors": ("Ada L",), "links": {"abstract": "https://arxiv.org/abs/1"}}
    world.announce(entry("Planning with tools", 1, **own), source="arxiv")
    before = row_of(world)
    hostile = {"abstract": "Buy our planner, it is far longer.", "authors": ("Mallory",), "withdrawn": True}
    links = {"abstract": "https://evil.example.org", "code": "https://code.example.org"}
    for source in ("feed", "daily-papers", "jsonl"):
        world.announce(entry("Rewritten", 1, version=9, links=links, **hostile), source=source)
    after = row_of(world)
    assert after == before | {"links": {**own["links"], "code": links["code"]}}  # type: ignore[dict-item]


def test_a_feed_that_lists_a_paper_first_is_corrected_by_arxiv(world: Pipeline) -> None:
    world.announce(entry("Rewritten", 1, version=9, abstract="Buy our planner, it is far longer."), source="feed")
    world.announce(entry("Planning with tools", 1, abstract="An agent plans."), source="arxiv")
    assert row_of(world)["version"] == 1
    assert row_of(world)["abstract"] == "An agent plans."
    world.announce(entry("Planning with tools", 1, abstract="It plans.", version=2), source="arxiv")
    assert (row_of(world)["version"], row_of(world)["abstract"]) == (2, "It plans.")


def test_only_biorxiv_rewrites_a_preprint_of_biorxiv(world: Pipeline) -> None:
    for prefix in ("10.1101", "10.64898"):
        title, identifiers = f"Cells that plan {prefix}", (Identifier("doi", f"{prefix}/2026.01.01.000001"),)
        world.announce(entry(title, abstract="Cells plan.", identifiers=identifiers), source="biorxiv")
        world.announce(entry("Rewritten", abstract="Pills!", identifiers=identifiers, version=7), source="feed")
        assert (row_of(world, title)["version"], row_of(world, title)["abstract"]) == (1, "Cells plan.")
        world.announce(entry(title, abstract="They do.", identifiers=identifiers, version=2), source="biorxiv")
        assert row_of(world, title)["abstract"] == "They do."


def test_feeds_do_not_rewrite_each_others_paper_but_complete_it(world: Pipeline) -> None:
    begin = "We show that planning with tools is easier than planning without them in every one of the cases we tried"
    identifiers = (Identifier("doi", "10.1000/x"),)
    world.announce(entry("Planning with tools", abstract=begin, identifiers=identifiers), source="feed")
    world.announce(
        entry("Rewritten", abstract="Pills! " * 99, identifiers=identifiers, version=9), source="daily-papers"
    )
    assert row_of(world)["abstract"] == begin
    world.announce(entry("Planning", abstract=f"{begin}, and more.", identifiers=identifiers), source="daily-papers")
    assert row_of(world)["abstract"] == f"{begin}, and more."
