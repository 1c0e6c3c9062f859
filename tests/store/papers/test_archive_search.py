"""A search of the archive in SQL finds the papers whose texts match."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.interests.learning import Interest
from services.domain.interests.terms import TermTable, terms_of
from services.domain.papers.ingestion import Appearance
from services.domain.papers.paper import Paper
from services.domain.query.evaluate import PaperText, matches
from services.domain.query.parser import parse
from services.domain.subscriptions.draft import Draft, check
from services.domain.subscriptions.matcher import Candidate, CompiledSubscription, explain_non_match
from services.errors import QueryError
from services.store.db.database import Database
from services.store.interests import training_set
from services.store.papers import appearances, archive_search, papers, search_index, vectors
from services.store.papers.found_papers import FoundPapers, Window
from services.store.sources import sources
from tests.conftest import empty
from tests.domain.subscriptions.test_matcher import PAPERS

NOW = datetime(2026, 5, 4, tzinfo=UTC)
LAST = date(2025, 6, 30)
MODEL = "four"
LONG = "zebra " + "the " * 20_000 + "quagga okapi"
CLAUSES = (
    "model", "language", '"language model*"', "learning", "diffus*", "title:learning", '"we data"~9', "=LLM", "=llm",
    "=Transformers", "robot", "cat:cs.*", "cat:cs.LG", "cat:cs", "source:arxiv", "source:daily-papers", "quagga",
    "abstract:(method OR task)", "author:wang", 'author:"Y. Wang"', '"we present"~3', '"data model method"~20', "the",
    "title:(model OR the)", '"quagga okapi"', "author:(wang OR zhang)", "=state-of-the-art",
    'author:"Wang, Y."', 'author:"Wei Li"', 'author:"Zhang L"',
)  # fmt: skip


def archived() -> list[Paper]:
    copies = [
        replace(candidate.paper, id=number + 1, announced_on=LAST - timedelta(days=number), first_seen_at=NOW)
        for number, candidate in enumerate(PAPERS)
    ]
    return [*copies, replace(copies[0], id=99, title="A long one", abstract=LONG, withdrawn=False)]


def vector(number: int) -> list[float]:
    sample = np.random.default_rng(number).normal(size=4)
    return [float(x) for x in sample / np.linalg.norm(sample)]


@pytest.fixture(scope="module")
def db(_database: Database) -> Database:
    """Emptied once: all tests of this module search one archive."""
    return empty(_database)


@pytest.fixture(scope="module")
def stored(db: Database) -> list[Paper]:
    """Papers with words and vectors, except for two."""
    archive = archived()
    with db.transaction() as tx:
        papers.insert_all(tx, archive, NOW)
        for kind in ("arxiv", "daily-papers"):
            source_id = sources.source_of_imports(tx, kind)
            seen = {(paper.id, source_id): Appearance(LAST, silent=True) for paper in archive if kind in paper.sources}
            appearances.record(tx, seen, NOW)
        embedded = [paper for paper in archive if paper.id not in (7, 8)]
        search_index.index(tx, embedded)
        rows = np.array([vector(paper.id) for paper in embedded], np.float32)
        vectors.store(tx, MODEL, [paper.id for paper in embedded], rows)
        return list(papers.load(tx, [paper.id for paper in archive]).values())


def search(db: Database, draft: Draft, within: Window) -> FoundPapers:
    with db.transaction() as tx:
        return archive_search.confirm(tx, draft, archive_search.passing(tx, draft, within))


def texts() -> st.SearchStrategy[str]:
    def extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        several = st.lists(inner, min_size=2, max_size=3)
        return several.map(" ".join) | several.map(lambda parts: f"({' OR '.join(parts)})") | inner.map("-({})".format)

    return st.recursive(st.sampled_from(CLAUSES), extend, max_leaves=5)


@settings(max_examples=100, deadline=None)
@given(texts())
def test_a_query_finds_the_papers_that_it_matches(db: Database, stored: list[Paper], text: str) -> None:
    try:
        query = parse(text)
    except QueryError:
        return
    draft = check(Draft(query=text))
    within = Window(first=LAST - timedelta(days=500), last=LAST)
    result = search(db, draft, within)
    expected = {paper.id for paper in stored if not paper.withdrawn and matches(query, PaperText.of(paper))}
    assert set(result.ids.tolist()) == expected
    assert len(set(result.ids.tolist())) == len(result)


@pytest.mark.parametrize("clause", [clause for clause in CLAUSES if clause != '"data model method"~20'])
def test_texts_are_read_only_if_the_index_is_not_exact(db: Database, stored: list[Paper], clause: str) -> None:
    within = Window(first=LAST - timedelta(days=500), last=LAST)
    with db.transaction() as tx:
        result = archive_search.passing(tx, check(Draft(query=clause)), within)
    sure = {"=llm", 'author:"Y. Wang"', 'author:"Wang, Y."', 'author:"Wei Li"', 'author:"Zhang L"', "=state-of-the-art"}
    assert clause in sure or set(result.ids[result.unsure].tolist()) <= {7, 8, 99}


def test_a_search_filters_by_days_sources_and_upvotes(db: Database, stored: list[Paper]) -> None:
    within = Window(first=LAST - timedelta(days=20), last=LAST - timedelta(days=2))
    draft = check(Draft(query="the OR of OR a", sources=("daily-papers",), min_upvotes=2))
    subscription = CompiledSubscription(id=1, query=parse(draft.query), sources=frozenset(draft.sources), min_upvotes=2)
    expected = {
        paper.id: (within.last - paper.announced_on).days
        for paper in stored
        if within.first <= paper.announced_on <= within.last
        and not explain_non_match(subscription, Candidate(paper=paper, text=PaperText.of(paper)))
    }
    result = search(db, draft, within)
    assert dict(zip(result.ids.tolist(), result.ages.tolist(), strict=True)) == expected != {}
    assert result.ages.tolist() == sorted(result.ages)


@pytest.mark.parametrize("max_sent_ids", [0, archive_search.MAX_SENT_IDS])
@pytest.mark.parametrize("query", ["", "model OR data", '-"data model method"~20 the', "source:daily-papers -model"])
def test_the_closest_papers_have_the_scores_of_matching(
    db: Database, stored: list[Paper], query: str, max_sent_ids: int
) -> None:
    terms = {"": 0.1, "model": 0.4, "languag model": -0.2, "cat:cs.CL": 1}
    interest = Interest(np.array(vector(1000), np.float32), terms)
    within = Window(first=LAST - timedelta(days=500), last=LAST)
    draft = check(Draft(interest="x", query=query))
    with db.transaction() as tx:
        closest = archive_search.closest(tx, MODEL, interest, draft, within, 5, max_sent_ids=max_sent_ids)
        result = archive_search.confirm(tx, draft, closest)
    candidates = [paper for paper in stored if not paper.withdrawn and paper.id not in (7, 8)]
    candidates = [paper for paper in candidates if not query or matches(parse(query), PaperText.of(paper))]
    rows = np.array([vector(paper.id) for paper in candidates], np.float32)
    expected = interest.scores(rows, TermTable.of(terms_of(PaperText.of(paper)) for paper in candidates))
    order = np.argsort(-expected, kind="stable")
    assert result.ids.tolist() == [candidates[row].id for row in order]
    assert result.scores == pytest.approx(expected[order], abs=1e-5)


def test_an_empty_archive_has_no_results(db: Database) -> None:
    nowhere = Window(first=date(1990, 1, 1), last=date(1990, 1, 2))
    interest = Interest(np.ones(4, np.float32), {"model": 1.0})
    with db.transaction() as tx:
        assert len(archive_search.closest(tx, MODEL, interest, Draft(), nowhere, 5)) == 0
        assert len(archive_search.passing(tx, Draft(query="model"), nowhere)) == 0
        assert archive_search.papers_per_day(tx, nowhere) == {}
        assert archive_search.unindexed(tx, nowhere) == []
        assert archive_search.count_embedded(tx, MODEL, nowhere) == 0
        assert len(training_set.newest(tx, "no such model").paper_ids) == 0
