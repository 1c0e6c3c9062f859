"""Papers are stored, and found by each of their identifiers."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select

from services.domain.papers.ingestion import Appearance
from services.domain.papers.paper import Identifier, Paper, title_key
from services.errors import NotFound
from services.store.db.database import Database
from services.store.db.tables import paper_appearance
from services.store.papers import appearances, papers
from services.store.sources import sources

NOW = datetime(2026, 5, 4, tzinfo=UTC)
ONE = Paper(
    id=7,
    title="One paper",
    identifiers=(Identifier("arxiv", "2605.00007"), Identifier("doi", "10.1/ab"), Identifier("doi", "10.1000/ab")),
    links={"abstract": "https://news.example.org/p/7"},
    announced_on=date(2026, 5, 4),
    first_seen_at=NOW,
)


@pytest.fixture(autouse=True)
def archive(db: Database) -> None:
    with db.transaction() as tx:
        papers.insert_all(tx, [ONE], NOW)
        papers.identify(tx, [ONE])


@pytest.mark.parametrize("name", ["7", "id:7", "arxiv:2605.00007", "arxiv:2605.00007v2", "2605.00007", "doi:10.1/AB"])
def test_a_paper_is_found_by_each_of_its_identifiers(db: Database, name: str) -> None:
    with db.transaction() as tx:
        assert papers.find(tx, name) == 7


@pytest.mark.parametrize(
    "name",
    [
        "https://arxiv.org/abs/2605.00007v2",
        "https://arxiv.org/pdf/2605.00007v1.pdf",
        "arxiv.org/abs/2605.00007",
        "https://huggingface.co/papers/2605.00007",
        "doi:10.48550/arXiv.2605.00007",
        "https://doi.org/10.48550/arXiv.2605.00007",
        "arXiv:2605.00007v1 [astro-ph.EP]",
        "<10.1000/AB>",
        "https://doi.org/10.1000/ab",
        "https://www.tandfonline.com/doi/full/10.1000/ab?af=R",
        "https://news.example.org/p/7",
    ],
)
def test_a_paper_is_found_by_each_way_to_write_its_name(db: Database, name: str) -> None:
    with db.transaction() as tx:
        assert papers.find_all(tx, [name, "7"]) == {name: 7, "7": 7}


@pytest.mark.parametrize(
    "name",
    ["https://news.example.org/p/8", "8", "id:abc", "²", "9" * 40, "arxiv:", "", "doi:10.1/x", "'; DROP TABLE paper"],
)
def test_an_unknown_name_is_not_found(db: Database, name: str) -> None:
    with db.transaction() as tx, pytest.raises(NotFound):
        papers.find(tx, name)


ODD = Paper(
    id=8,
    title="Quotes ' \" and \\ braces {a,b} % :name $1 \u2028 \U0001f600 é",
    abstract="NULL",
    authors=("O'Neil, {J}", 'A "B" C', "", "NULL", "李"),
    author_count=1024,
    categories=("cs.LG", 'a,"b"'),
    identifiers=(Identifier("arxiv", "2605.00008"), Identifier("doi", "10.1/a:b'c\\d")),
    announced_on=date(2026, 5, 4),
    published_on=date(1, 1, 1),
    first_seen_at=NOW,
    version=3,
    upvotes=7,
    comments=1,
    withdrawn=True,
    links={"pdf": "https://example.org/?a=1&b='x'", 'c"d': "{}"},
)


def test_a_paper_is_loaded_as_it_was_stored(db: Database) -> None:
    with db.transaction() as tx:
        papers.insert_all(tx, [ODD], NOW)
        papers.identify(tx, [ODD])
        assert papers.load(tx, [7, 8, 9]) == {7: ONE, 8: ODD}
        assert papers.by_titles(tx, {title_key(ODD.title), "no such title"}) == [8]
        assert papers.by_identifiers(tx, {*ODD.identifiers, Identifier("doi", "10.1/none")}) == dict.fromkeys(
            ODD.identifiers, 8
        )


def test_an_update_changes_everything_but_the_time_of_first_sight(db: Database) -> None:
    changed = replace(ODD, id=7, identifiers=ONE.identifiers, first_seen_at=NOW + timedelta(days=1))
    with db.transaction() as tx:
        papers.update_all(tx, [changed], NOW)
        assert papers.load(tx, [7]) == {7: replace(changed, first_seen_at=NOW)}


def test_an_identifier_stays_with_the_paper_that_had_it_first(db: Database) -> None:
    with db.transaction() as tx:
        papers.insert_all(tx, [ODD], NOW)
        papers.identify(tx, [replace(ODD, identifiers=ONE.identifiers)])
        assert set(papers.by_identifiers(tx, ONE.identifiers).values()) == {7}


def test_empty_lookups_find_nothing(db: Database) -> None:
    with db.transaction() as tx:
        assert not papers.load(tx, [])
        assert not appearances.silence_by_source(tx, [])
        assert not papers.by_identifiers(tx, [])
        assert not papers.by_titles(tx, [])


def test_an_appearance_keeps_its_first_day_and_stays_announced(db: Database) -> None:
    with db.transaction() as tx:
        source_id = sources.source_of_imports(tx, "feed")
        for silent in (True, False, True):
            appearances.record(tx, {(7, source_id): Appearance(NOW.date() + timedelta(days=silent), silent)}, NOW)
            silence = appearances.silence_by_source(tx, [7])
        assert silence == {7: {source_id: False}}
        (row,) = tx.execute(select(paper_appearance.c.announced_on)).all()
        assert row.announced_on == NOW.date() + timedelta(days=1)
