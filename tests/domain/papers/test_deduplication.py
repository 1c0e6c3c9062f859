"""Which papers an entry proves to be one, and what the one knows."""

from datetime import UTC, date, datetime, timedelta

import pytest

from services.domain.papers.deduplication import PaperIndex, staying, unite
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


def found(entry: Entry, *papers: Paper) -> list[int]:
    register = PaperIndex()
    for one in papers:
        register.put(one)
    return [one.id for one in register.find(entry)]


# ── what an entry proves ──────────────────────────────────────────────────────────────────────────────────────


def test_identifiers_that_name_two_papers_prove_them_one() -> None:
    two = paper(1, "Preprint", arxiv(1)), paper(2, "Journal article", doi("x"))
    assert found(Entry(title="Neither", identifiers=(doi("x"), arxiv(1))), *two) == [2, 1]


def test_two_dois_of_one_record_prove_two_papers_one() -> None:
    two = paper(1, TITLE, doi("preprint")), paper(2, TITLE, doi("journal"))
    assert found(Entry(title="x", identifiers=(doi("preprint"), doi("journal"))), *two) == [1, 2]


def test_an_entry_that_names_one_paper_and_has_the_title_of_another_proves_them_one() -> None:
    two = paper(1, "Attention: all that you need", arxiv(1)), paper(2, TITLE)
    assert found(Entry(title=TITLE, identifiers=(arxiv(1),)), *two) == [1, 2]


def test_different_ids_of_one_kind_are_never_one_by_title() -> None:
    assert found(Entry(title=TITLE, identifiers=(arxiv(1),)), paper(1, "x", arxiv(1)), paper(2, TITLE, arxiv(2))) == [1]
    through_doi = paper(1, "x", doi("x"), arxiv(1)), paper(2, TITLE, arxiv(2))
    assert found(Entry(title=TITLE, identifiers=(doi("x"),)), *through_doi) == [1]


def test_different_first_authors_are_never_one_by_title() -> None:
    named = paper(1, "x", arxiv(1), authors=("Ada Lovelace",)), paper(2, TITLE, authors=("Charles Babbage",))
    assert found(Entry(title=TITLE, identifiers=(arxiv(1),)), *named) == [1]


def test_without_identifiers_an_entry_proves_nothing_and_is_the_oldest_of_its_title() -> None:
    assert found(Entry(title=TITLE), paper(3, TITLE, arxiv(3)), paper(2, TITLE, arxiv(2))) == [2]
    assert found(Entry(title=TITLE), paper(3, TITLE, arxiv(3)), paper(2, TITLE, doi("x"))) == [2]


def test_a_third_paper_must_not_contradict_the_second() -> None:
    three = paper(1, "x", doi("x")), paper(2, TITLE, arxiv(2)), paper(3, TITLE, arxiv(3))
    assert found(Entry(title=TITLE, identifiers=(doi("x"),)), *three) == [1, 2]


def test_a_removed_paper_is_found_no_more_and_its_names_lead_to_what_it_became() -> None:
    register, gone = PaperIndex(), paper(2, "Journal article", doi("x"))
    register.put(gone)
    register.remove(gone)
    register.put(unite(paper(1, TITLE, arxiv(1)), [gone]))
    assert [one.id for one in register.find(Entry(title="y", identifiers=(doi("x"),)))] == [1]
    assert register.find(Entry(title="Journal article")) == []


# ── what stays ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("told", "stays"), [((), 1), ((2,), 2), ((1, 2), 1)])
def test_a_paper_that_was_sent_stays_else_the_oldest(told: tuple[int, ...], stays: int) -> None:
    assert staying([paper(2), paper(1)], told).id == stays


def test_the_one_knows_what_both_knew() -> None:
    one = paper(
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
    both = unite(one, [other])
    assert (both.id, both.title, both.abstract, both.authors) == (1, "Short", "We do it.", ("Ada L",))
    assert (both.categories, both.identifiers) == (("cs.LG", "cs.AI"), (arxiv(1), doi("x")))
    assert (both.announced_on, both.first_seen_at) == (DAY - timedelta(days=3), NOW - timedelta(days=1))
    assert (both.upvotes, both.links) == (9, {"pdf": "https://a.b/1", "code": "https://a.b/c"})


@pytest.mark.parametrize(
    ("versions", "withdrawn", "expected"),
    [((2, 1), (False, True), False), ((1, 2), (True, False), False), ((1, 2), (False, True), True),
     ((2, 1), (True, False), True), ((1, 1), (False, True), True), ((1, 1), (True, False), True)],
)  # fmt: skip
def test_a_withdrawal_is_the_word_of_the_newest_version(
    versions: tuple[int, int], withdrawn: tuple[bool, bool], expected: bool
) -> None:
    one, other = (paper(n, version=versions[n], withdrawn=withdrawn[n]) for n in (0, 1))
    assert unite(one, [other]).withdrawn is expected
    assert unite(one, [other]).version == max(versions)
