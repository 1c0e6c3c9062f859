"""Which papers an entry proves to be one, and what the kept paper takes from the others."""

from datetime import UTC, date, datetime, timedelta

import pytest

from services.domain.papers.deduplication import PaperIndex, choose_kept, unite
from services.domain.papers.paper import Entry, Identifier, Paper, first_paper

NOW = datetime(2026, 5, 4, tzinfo=UTC)
DAY = date(2026, 5, 4)
TITLE = "Attention is all you really need"


def arxiv(number: int) -> Identifier:
    return Identifier("arxiv", f"2605.{number:05d}")


def doi(name: str) -> Identifier:
    return Identifier("doi", f"10.1000/{name}")


def paper(number: int, title: str = TITLE, *identifiers: Identifier, **values: object) -> Paper:
    entry = Entry(title=title, identifiers=identifiers, **values)  # type: ignore[arg-type]
    return first_paper(entry, number, DAY, NOW)


def same_papers(entry: Entry, *papers: Paper) -> list[int]:
    index = PaperIndex()
    for known in papers:
        index.put(known)
    return [same.id for same in index.find(entry)]


# ── what an entry proves ──────────────────────────────────────────────────────────────────────────────────────


def test_identifiers_that_name_two_papers_prove_them_one() -> None:
    two = paper(1, "Preprint", arxiv(1)), paper(2, "Journal article", doi("x"))
    assert same_papers(Entry(title="Neither", identifiers=(doi("x"), arxiv(1))), *two) == [2, 1]


def test_two_dois_of_one_record_prove_two_papers_one() -> None:
    two = paper(1, TITLE, doi("preprint")), paper(2, TITLE, doi("journal"))
    assert same_papers(Entry(title="x", identifiers=(doi("preprint"), doi("journal"))), *two) == [1, 2]


def test_an_entry_that_names_one_paper_and_has_the_title_of_another_proves_them_one() -> None:
    two = paper(1, "Attention: all that you need", arxiv(1)), paper(2, TITLE)
    assert same_papers(Entry(title=TITLE, identifiers=(arxiv(1),)), *two) == [1, 2]


def test_different_ids_of_one_scheme_outweigh_the_title() -> None:
    assert same_papers(
        Entry(title=TITLE, identifiers=(arxiv(1),)), paper(1, "x", arxiv(1)), paper(2, TITLE, arxiv(2))
    ) == [1]
    through_doi = paper(1, "x", doi("x"), arxiv(1)), paper(2, TITLE, arxiv(2))
    assert same_papers(Entry(title=TITLE, identifiers=(doi("x"),)), *through_doi) == [1]


def test_different_first_authors_outweigh_the_title() -> None:
    named = paper(1, "x", arxiv(1), authors=("Ada Lovelace",)), paper(2, TITLE, authors=("Charles Babbage",))
    assert same_papers(Entry(title=TITLE, identifiers=(arxiv(1),)), *named) == [1]


def test_an_entry_without_identifiers_is_the_oldest_paper_of_its_title() -> None:
    assert same_papers(Entry(title=TITLE), paper(3, TITLE, arxiv(3)), paper(2, TITLE, arxiv(2))) == [2]
    assert same_papers(Entry(title=TITLE), paper(3, TITLE, arxiv(3)), paper(2, TITLE, doi("x"))) == [2]


def test_a_third_paper_must_not_contradict_the_second() -> None:
    three = paper(1, "x", doi("x")), paper(2, TITLE, arxiv(2)), paper(3, TITLE, arxiv(3))
    assert same_papers(Entry(title=TITLE, identifiers=(doi("x"),)), *three) == [1, 2]


def test_a_removed_paper_is_not_found_and_its_identifiers_lead_to_the_kept_paper() -> None:
    index, gone = PaperIndex(), paper(2, "Journal article", doi("x"))
    index.put(gone)
    index.remove(gone)
    index.put(unite(paper(1, TITLE, arxiv(1)), [gone]))
    assert [same.id for same in index.find(Entry(title="y", identifiers=(doi("x"),)))] == [1]
    assert index.find(Entry(title="Journal article")) == []


# ── which is kept ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("notified", "kept"), [((), 1), ((2,), 2), ((1, 2), 1)])
def test_a_paper_that_was_sent_is_kept_otherwise_the_oldest(notified: tuple[int, ...], kept: int) -> None:
    assert choose_kept([paper(2), paper(1)], notified).id == kept


def test_the_kept_paper_has_what_both_papers_had() -> None:
    known = paper(
        1, "Short", arxiv(1), abstract="We do", categories=("cs.LG",), upvotes=3, links={"pdf": "https://a.b/1"}
    )
    other = first_paper(
        Entry(
            title="Long",
            abstract="We do it.",
            authors=("Ada L",),
            categories=("cs.AI",),
            identifiers=(doi("x"),),
            upvotes=9,
            links={"pdf": "https://a.b/2", "code": "https://a.b/c"},
        ),
        2,
        DAY - timedelta(days=3),
        NOW - timedelta(days=1),
    )
    both = unite(known, [other])
    assert (both.id, both.title, both.abstract, both.authors) == (1, "Short", "We do it.", ("Ada L",))
    assert (both.categories, both.identifiers) == (("cs.LG", "cs.AI"), (arxiv(1), doi("x")))
    assert (both.announced_on, both.first_seen_at) == (DAY - timedelta(days=3), NOW - timedelta(days=1))
    assert (both.upvotes, both.links) == (9, {"pdf": "https://a.b/1", "code": "https://a.b/c"})


@pytest.mark.parametrize(
    ("versions", "withdrawn", "expected"),
    [((2, 1), (False, True), False), ((1, 2), (True, False), False), ((1, 2), (False, True), True),
     ((2, 1), (True, False), True), ((1, 1), (False, True), True), ((1, 1), (True, False), True)],
)  # fmt: skip
def test_the_newest_version_decides_whether_the_paper_is_withdrawn(
    versions: tuple[int, int], withdrawn: tuple[bool, bool], expected: bool
) -> None:
    known, other = (paper(n, version=versions[n], withdrawn=withdrawn[n]) for n in (0, 1))
    assert unite(known, [other]).withdrawn is expected
    assert unite(known, [other]).version == max(versions)
