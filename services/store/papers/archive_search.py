"""Search in the archive for previews and thresholds: papers closest to an interest, and papers that a query finds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    cast,
    exists,
    func,
    literal,
    select,
    text,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import TSQUERY

from services.domain.interests.learning import Interest
from services.domain.interests.terms import TermTable
from services.domain.query.evaluate import matches
from services.domain.query.paper_text import PaperText
from services.domain.query.parser import parse
from services.domain.query.tsquery import TRUNCATED, TsQuery, to_tsquery
from services.domain.subscriptions.draft import Draft
from services.domain.text.tokens import fold
from services.store.db.database import any_id
from services.store.db.tables import paper, paper_appearance, paper_vector, paper_words, source
from services.store.papers import papers
from services.store.papers.found_papers import FoundPapers, Vector, Window

Conditions = Sequence[ColumnElement[bool]]
WINDOW_DAYS = 60
"""Thresholds are calibrated on this many of the archive's newest days."""
MAX_SENT_IDS = 30_000
"""A query that finds more papers than this is compared here with the ids of the closest papers, not sent as ids."""
OVERFETCH_FACTOR = 4
"""In that case this many times more of the closest papers are fetched."""
MIN_RESCORED = 5_000
"""The least number of papers, those closest by vector, that are scored with their terms."""
RESCORED_PER_WANTED = 6
"""The number of papers scored with their terms for each wanted paper, if that is more."""


def window(tx: Connection) -> Window | None:
    """The archive's newest `WINDOW_DAYS` days, or as many as there are; None while the archive is empty."""
    first, last = papers.days(tx)
    if first is None or last is None:
        return None
    return Window(first=max(first, last - timedelta(days=WINDOW_DAYS - 1)), last=last)


def papers_per_day(tx: Connection, window: Window) -> dict[date, int]:
    """The days of the window that have papers, with their number."""
    query = select(paper.c.announced_on, func.count()).where(*_in_window(window)).group_by(paper.c.announced_on)
    return {row[0]: int(row[1]) for row in tx.execute(query.order_by(paper.c.announced_on))}


def unindexed(tx: Connection, window: Window) -> list[int]:
    """The papers of the window that are not in the search index yet."""
    in_index = exists().where(paper_words.c.paper_id == paper.c.id)
    return list(tx.scalars(select(paper.c.id).where(*_in_window(window), ~in_index)))


def count_embedded(tx: Connection, model: str, window: Window) -> int:
    """The number of papers in the window that have a vector of the model."""
    return tx.scalars(
        select(func.count())
        .select_from(paper)
        .join(paper_vector, paper_vector.c.paper_id == paper.c.id)
        .where(*_in_window(window), paper_vector.c.model == model)
    ).one()


def primary_categories(tx: Connection, ids: Collection[int]) -> dict[str, int]:
    """How many of the papers have each primary category; papers without one are left out."""
    primary = paper.c.categories[1]
    query = select(primary, func.count()).where(paper.c.id == any_id(ids), primary.is_not(None)).group_by(primary)
    return {row[0]: int(row[1]) for row in tx.execute(query)}


def relevance(tx: Connection, query: str, ids: Collection[int]) -> dict[int, float]:
    """How much of each paper's words the query is about, by PostgreSQL's `ts_rank`: a word in the title counts most.

    0 for a paper that is not indexed, and for a query that the index cannot express.
    """
    tsquery = to_tsquery(parse(query)).tsquery
    if tsquery is None:
        return dict.fromkeys(ids, 0.0)
    rank = func.ts_rank(paper_words.c.words, cast(tsquery, TSQUERY))
    rows = tx.execute(select(paper_words.c.paper_id, rank).where(paper_words.c.paper_id == any_id(ids)))
    return dict.fromkeys(ids, 0.0) | {row[0]: float(row[1]) for row in rows}


def upvotes(tx: Connection, ids: Collection[int]) -> dict[int, int]:
    rows = tx.execute(select(paper.c.id, paper.c.upvotes).where(paper.c.id == any_id(ids)))
    return {row[0]: row[1] for row in rows}


def newest_ids(tx: Connection, window: Window, limit: int) -> list[int]:
    query = select(paper.c.id).where(*_in_window(window)).order_by(paper.c.announced_on.desc(), paper.c.id.desc())
    return list(tx.scalars(query.limit(limit)))


def closest(
    tx: Connection,
    model: str,
    interest: Interest,
    draft: Draft,
    window: Window,
    wanted: float,
    *,
    max_sent_ids: int = MAX_SENT_IDS,
) -> FoundPapers:
    """The best-scored papers among those that match the draft's query, sources and upvotes.

    Only the papers closest by vector are scored with their terms: `MIN_RESCORED`, or `RESCORED_PER_WANTED` times the
    `wanted` papers. Papers that rank high by their terms alone are missed: of the best 1 in 200, nearly all are among
    the closest 1 in 20 (docs/decisions/0036).
    """
    query = _ts_query(draft)
    conditions = [paper_vector.c.model == model, *_conditions(tx, draft, query, window)]
    limit = max(MIN_RESCORED, round(RESCORED_PER_WANTED * wanted))
    if query.tsquery is None:
        return _add_term_scores(tx, interest, query, _closest_by_vector(tx, interest, conditions, window, limit))
    with _prefer_index(tx):
        matching = tx.scalars(select(func.array_agg(paper_words.c.paper_id)).where(_query_holds(query))).one() or []
    nearest = None
    if len(matching) > max_sent_ids:
        # Sending and looking up this many ids takes longer than fetching more papers and dropping some.
        overfetched = _closest_by_vector(tx, interest, conditions, window, OVERFETCH_FACTOR * limit)
        filtered = overfetched.at(np.isin(overfetched.ids, np.array(matching, np.int64)))
        if len(filtered) >= limit or len(overfetched) < OVERFETCH_FACTOR * limit:
            nearest = filtered.at(slice(limit))
    if nearest is None:
        nearest = _closest_by_vector(tx, interest, [*conditions, paper.c.id == any_id(matching)], window, limit)
    return _add_term_scores(tx, interest, query, nearest)


def _closest_by_vector(
    tx: Connection, interest: Interest, conditions: Conditions, window: Window, limit: int
) -> FoundPapers:
    """The papers with the highest product of their vector and the interest's weights, the highest first."""
    distance = paper_vector.c.vector.max_inner_product(interest.weights).label("distance")
    rows = (
        select(paper.c.id, _age(window), distance)
        .join(paper_vector, paper_vector.c.paper_id == paper.c.id)
        .where(*conditions)
        .order_by("distance")
        .limit(limit)
        .subquery()
        .c
    )
    ids, ages, distances = tx.execute(select(*map(func.array_agg, (rows.id, rows.age, rows.distance)))).one()
    candidates = _found_papers(ids, ages, (), -np.array(distances or (), np.float32))
    return candidates.at(np.argsort(-candidates.scores, kind="stable"))


def _add_term_scores(tx: Connection, interest: Interest, query: TsQuery, nearest: FoundPapers) -> FoundPapers:
    """Adds what the papers' terms contribute to their scores; the best first."""
    ids, unsure, terms, lengths = tx.execute(
        select(
            func.array_agg(paper_words.c.paper_id),
            func.array_agg(_is_unsure(query)),
            *in_one_value(paper_words.c.terms),
        ).where(paper_words.c.paper_id == any_id(nearest.ids.tolist()))
    ).one()
    order = np.argsort(nearest.ids)
    rows = order[np.searchsorted(nearest.ids, np.array(ids or (), np.int64), sorter=order)]
    term_scores = TermTable.joined(terms or b"", lengths or ()).scores(interest.terms)
    scores = nearest.scores[rows] + term_scores
    candidates = FoundPapers(nearest.ids[rows], nearest.ages[rows], scores, np.array(unsure or (), bool))
    return candidates.at(np.argsort(-candidates.scores, kind="stable"))


def passing(tx: Connection, draft: Draft, window: Window, unindexed: Collection[int] | None = None) -> FoundPapers:
    """The papers that match the draft's query, sources and upvotes, the newest first.

    Of the papers that are not in the search index, all are unsure, or only those in `unindexed`.
    """
    query = _ts_query(draft)
    conditions = _conditions(tx, draft, query, window)
    indexed = (
        select(paper.c.id, _age(window), _is_unsure(query))
        .join(paper_words, paper_words.c.paper_id == paper.c.id)
        .where(*conditions)
    )
    indexed = indexed if query.tsquery is None else indexed.where(_query_holds(query))
    # The newest papers may not be in the search index yet.
    not_indexed = select(paper.c.id, _age(window), literal(True).label("unsure")).where(*conditions)
    if unindexed is None:
        not_indexed = not_indexed.where(~exists().where(paper_words.c.paper_id == paper.c.id))
    else:
        not_indexed = not_indexed.where(paper.c.id == any_id(unindexed))
    rows = indexed.union_all(not_indexed).subquery().c
    with _prefer_index(tx):
        ids, ages, unsure = tx.execute(select(*map(func.array_agg, (rows.id, rows.age, rows.unsure)))).one()
    candidates = _found_papers(ids, ages, unsure, np.zeros(len(ids or ()), np.float32))
    return candidates.at(np.lexsort((-candidates.ids, candidates.ages)))


def confirm(tx: Connection, draft: Draft, candidates: FoundPapers) -> FoundPapers:
    """Reads the texts of the unsure papers and drops those that the query does not match."""
    if not draft.query or not candidates.unsure.any():
        return candidates
    query = parse(draft.query)
    loaded = papers.load(tx, candidates.ids[candidates.unsure].tolist())
    confirmed = [id for id, paper in loaded.items() if matches(query, PaperText.of(paper))]
    return candidates.at(~candidates.unsure | np.isin(candidates.ids, confirmed))


# ── parts of the statements ───────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _prefer_index(tx: Connection) -> Iterator[None]:
    """For statements on words: the planner ignores the cost of unpacking each row's words in a sequential scan."""
    tx.execute(text("SET LOCAL enable_seqscan = off"))
    yield
    tx.execute(text("SET LOCAL enable_seqscan = on"))


def _ts_query(draft: Draft) -> TsQuery:
    return to_tsquery(parse(draft.query)) if draft.query else TsQuery(None, exact=True)


def _conditions(tx: Connection, draft: Draft, query: TsQuery, window: Window) -> list[ColumnElement[bool]]:
    """Days, upvotes and sources: everything but the words."""
    conditions = _in_window(window)
    if draft.min_upvotes:
        conditions.append(paper.c.upvotes >= draft.min_upvotes)
    if draft.sources:
        conditions.append(_has_appeared_in(draft.sources))
    if query.sources:
        kinds = set(tx.scalars(select(source.c.kind).distinct()))
        conditions.extend(_has_appeared_in([kind for kind in kinds if fold(kind) == name]) for name in query.sources)
    return conditions


def _in_window(window: Window) -> list[ColumnElement[bool]]:
    return [paper.c.announced_on.between(window.first, window.last), *papers.CURRENT]


def _has_appeared_in(kinds: Collection[str]) -> ColumnElement[bool]:
    return exists().where(
        paper_appearance.c.paper_id == paper.c.id,
        paper_appearance.c.source_id == source.c.id,
        source.c.kind.in_(kinds),
    )


def _query_holds(query: TsQuery) -> ColumnElement[bool]:
    """By the GIN index on words. Includes papers whose words are cut short, which are unsure."""
    return paper_words.c.words.op("@@")(cast(f"({query.tsquery}) | '{TRUNCATED}'", TSQUERY))


def _is_unsure(query: TsQuery) -> ColumnElement[bool]:
    if not query.exact:
        return literal(True).label("unsure")
    if query.tsquery is None:
        return literal(False).label("unsure")
    # A subquery that uses the GIN index: testing the words of each row would take most of the time.
    long_papers = select(paper_words.c.paper_id).where(paper_words.c.words.op("@@")(cast(f"'{TRUNCATED}'", TSQUERY)))
    return paper_words.c.paper_id.in_(long_papers).label("unsure")


def _age(window: Window) -> ColumnElement[int]:
    return type_coerce(literal(window.last) - paper.c.announced_on, Integer).label("age")


def in_one_value(terms: ColumnElement[bytes]) -> tuple[ColumnElement[Any], ...]:
    """The terms of all rows in one value, and the length in bytes of each row's terms."""
    return func.string_agg(terms, cast(b"", LargeBinary)), func.array_agg(func.octet_length(terms))


def _found_papers(ids: Any, ages: Any, unsure: Any, scores: Vector) -> FoundPapers:
    return FoundPapers(
        np.array(ids or (), np.int64),
        np.array(ages or (), np.int64),
        scores,
        np.array(unsure or np.zeros(len(scores), bool), bool),
    )
