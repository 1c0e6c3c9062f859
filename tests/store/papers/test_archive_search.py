"""The archive asked in SQL gives the answers that the papers' texts give."""

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
    found = [
        replace(one.paper, id=number + 1, announced_on=LAST - timedelta(days=number), first_seen_at=NOW)
        for number, one in enumerate(PAPERS)
    ]
    return [*found, replace(found[0], id=99, title="A long one", abstract=LONG, withdrawn=False)]


def vector(number: int) -> list[float]:
    one = np.random.default_rng(number).normal(size=4)
    return [float(x) for x in one / np.linalg.norm(one)]


@pytest.fixture(scope="module")
def db(_database: Database) -> Database:
    """Emptied once: all tests of this module ask one archive."""
    return empty(_database)


@pytest.fixture(scope="module")
def stored(db: Database) -> list[Paper]:
    """Papers with words and vectors, two of them without."""
    found = archived()
    with db.transaction() as tx:
        papers.insert_all(tx, found, NOW)
        for kind in ("arxiv", "daily-papers"):
            where = sources.source_of_imports(tx, kind)
            mine = {(one.id, where): Appearance(LAST, silent=True) for one in found if kind in one.sources}
            appearances.record(tx, mine, NOW)
        known = [one for one in found if one.id not in (7, 8)]
        search_index.index(tx, known)
        rows = np.array([vector(one.id) for one in known], np.float32)
        vectors.store(tx, MODEL, [one.id for one in known], rows)
        return list(papers.load(tx, [one.id for one in found]).values())


def asked(db: Database, draft: Draft, within: Window) -> FoundPapers:
    with db.transaction() as tx:
        return archive_search.confirm(tx, draft, archive_search.passing(tx, draft, within))


def texts() -> st.SearchStrategy[str]:
    def extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        several = st.lists(inner, min_size=2, max_size=3)
        return several.map(" ".join) | several.map(lambda parts: f"({' OR '.join(parts)})") | inner.map("-({})".format)

    return st.recursive(st.sampled_from(CLAUSES), extend, max_leaves=5)


@settings(max_examples=100, deadline=None)
@given(texts())
def test_a_query_finds_in_sql_what_it_matches(db: Database, stored: list[Paper], text: str) -> None:
    try:
        query = parse(text)
    except QueryError:
        return
    draft = check(Draft(query=text))
    within = Window(first=LAST - timedelta(days=500), last=LAST)
    found = asked(db, draft, within)
    expected = {one.id for one in stored if not one.withdrawn and matches(query, PaperText.of(one))}
    assert set(found.ids.tolist()) == expected
    assert len(set(found.ids.tolist())) == len(found)


@pytest.mark.parametrize("clause", [one for one in CLAUSES if one != '"data model method"~20'])
def test_what_the_index_can_answer_is_not_read(db: Database, stored: list[Paper], clause: str) -> None:
    within = Window(first=LAST - timedelta(days=500), last=LAST)
    with db.transaction() as tx:
        found = archive_search.passing(tx, check(Draft(query=clause)), within)
    sure = {"=llm", 'author:"Y. Wang"', 'author:"Wang, Y."', 'author:"Wei Li"', 'author:"Zhang L"', "=state-of-the-art"}
    assert clause in sure or set(found.ids[found.unsure].tolist()) <= {7, 8, 99}


def test_days_sources_and_upvotes_are_asked_for(db: Database, stored: list[Paper]) -> None:
    within = Window(first=LAST - timedelta(days=20), last=LAST - timedelta(days=2))
    draft = check(Draft(query="the OR of OR a", sources=("daily-papers",), min_upvotes=2))
    mine = CompiledSubscription(id=1, query=parse(draft.query), sources=frozenset(draft.sources), min_upvotes=2)
    expected = {
        one.id: (within.last - one.announced_on).days
        for one in stored
        if within.first <= one.announced_on <= within.last
        and not explain_non_match(mine, Candidate(paper=one, text=PaperText.of(one)))
    }
    found = asked(db, draft, within)
    assert dict(zip(found.ids.tolist(), found.ages.tolist(), strict=True)) == expected != {}
    assert found.ages.tolist() == sorted(found.ages)


@pytest.mark.parametrize("max_sent_ids", [0, archive_search.MAX_SENT_IDS])
@pytest.mark.parametrize("query", ["", "model OR data", '-"data model method"~20 the', "source:daily-papers -model"])
def test_the_closest_are_scored_as_matching_scores(
    db: Database, stored: list[Paper], query: str, max_sent_ids: int
) -> None:
    terms = {"": 0.1, "model": 0.4, "languag model": -0.2, "cat:cs.CL": 1}
    interest = Interest(np.array(vector(1000), np.float32), terms)
    within = Window(first=LAST - timedelta(days=500), last=LAST)
    draft = check(Draft(interest="x", query=query))
    with db.transaction() as tx:
        closest = archive_search.closest(tx, MODEL, interest, draft, within, 5, max_sent_ids=max_sent_ids)
        found = archive_search.confirm(tx, draft, closest)
    theirs = [one for one in stored if not one.withdrawn and one.id not in (7, 8)]
    theirs = [one for one in theirs if not query or matches(parse(query), PaperText.of(one))]
    rows = np.array([vector(one.id) for one in theirs], np.float32)
    expected = interest.scores(rows, TermTable.of(terms_of(PaperText.of(one)) for one in theirs))
    order = np.argsort(-expected, kind="stable")
    assert found.ids.tolist() == [theirs[row].id for row in order]
    assert found.scores == pytest.approx(expected[order], abs=1e-5)


def test_an_empty_archive_answers(db: Database) -> None:
    nowhere = Window(first=date(1990, 1, 1), last=date(1990, 1, 2))
    interest = Interest(np.ones(4, np.float32), {"model": 1.0})
    with db.transaction() as tx:
        assert len(archive_search.closest(tx, MODEL, interest, Draft(), nowhere, 5)) == 0
        assert len(archive_search.passing(tx, Draft(query="model"), nowhere)) == 0
        assert archive_search.count_papers(tx, nowhere) == (0, nowhere.last)
        assert archive_search.count_embedded(tx, MODEL, nowhere) == 0
        assert len(training_set.newest(tx, "no such model").paper_ids) == 0
