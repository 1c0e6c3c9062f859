"""The archive as previews and thresholds ask it: the closest papers, and those that a query finds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    any_,
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
from services.store.db.tables import paper, paper_appearance, paper_vector, paper_words, source
from services.store.papers import papers

Vector = NDArray[np.float32]
Ids = NDArray[np.int64]
Conditions = Sequence[ColumnElement[bool]]
DAYS = 60
MANY, OF_MANY = 30_000, 4
"""Papers that a query lets through; their ids are compared here, out of four times those scored."""
CLOSEST, OF_WANTED = 5_000, 6
"""Papers that are scored with their words: the closest by vector, and more where so many more are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The days that are counted, ends included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Papers with their day and score, 0 without an interest; `unsure` where the query must be asked of the text."""

    ids: Ids
    ages: Ids
    """Days before the window's last."""
    scores: Vector
    unsure: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, rows: NDArray[Any] | slice) -> Found:
        return Found(self.ids[rows], self.ages[rows], self.scores[rows], self.unsure[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Best:
    """What was found in a window, the best first."""

    within: Window
    found: Found


NOTHING = Found(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, bool))


def joined(parts: Sequence[Found]) -> Found:
    """`parts` holds one at least."""
    ids, ages, scores, unsure = zip(*((one.ids, one.ages, one.scores, one.unsure) for one in parts), strict=True)
    return Found(*map(np.concatenate, (ids, ages, scores, unsure)))


def window(tx: Connection) -> Window | None:
    """The archive's last 60 days, or as many as there are; None while it is empty."""
    first, last = papers.days(tx)
    return Window(first=max(first, last - timedelta(days=DAYS - 1)), last=last) if first and last else None


def scanned(tx: Connection, within: Window) -> tuple[int, date]:
    """Papers of the window, and the first of its days that has one."""
    query = select(func.count(), func.min(paper.c.announced_on)).where(*_inside(within))
    count, first = tx.execute(query).one()
    return count, first or within.last


def embedded(tx: Connection, model: str, within: Window) -> int:
    """How many of the window's papers the model has embedded."""
    query = select(func.count()).select_from(paper).join(paper_vector, paper_vector.c.paper_id == paper.c.id)
    return tx.scalars(query.where(*_inside(within), paper_vector.c.model == model)).one()


def inside(best: Best, within: Window) -> Found:
    """Those of a window that does not begin before the one they were found in."""
    found, later = best.found, (within.last - best.within.last).days
    moved = Found(found.ids, found.ages + later, found.scores, found.unsure)
    return moved.at(moved.ages < within.days)


def closest(
    tx: Connection,
    model: str,
    interest: Interest,
    draft: Draft,
    within: Window,
    wanted: float,
    *,
    many: int = MANY,
) -> Found:
    """The best-scored of the papers that the draft's query, sources and upvotes let through.

    The five thousand closest by vector are scored with their words, or six times those wanted. What words alone lift
    from below is left out: of the best 1 in 200 nearly all were among the closest 1 in 20 (docs/decisions/0036).
    """
    asked = _question(draft)
    passes = [paper_vector.c.model == model, *_passes(tx, draft, asked, within)]
    most = max(CLOSEST, round(OF_WANTED * wanted))
    if asked.tsquery is None:
        return _scored(tx, interest, asked, _nearest(tx, interest, passes, within, most))
    with _by_index(tx):
        held = tx.scalars(select(func.array_agg(paper_words.c.paper_id)).where(_holds(asked))).one() or []
    near = None
    if len(held) > many:
        # To send and look up so many ids takes longer than to pass over papers that the query does not let through.
        known = _nearest(tx, interest, passes, within, OF_MANY * most)
        through = known.at(np.isin(known.ids, np.array(held, np.int64)))
        near = through.at(slice(most)) if len(through) >= most or len(known) < OF_MANY * most else None
    if near is None:
        near = _nearest(tx, interest, [*passes, _is_one(held)], within, most)
    return _scored(tx, interest, asked, near)


def _nearest(tx: Connection, interest: Interest, passes: Conditions, within: Window, most: int) -> Found:
    """The closest by vector alone, the closest first."""
    near = paper_vector.c.vector.max_inner_product(interest.weights).label("near")
    chosen = select(paper.c.id, _age(within), near).join(paper_vector, paper_vector.c.paper_id == paper.c.id)
    rows = chosen.where(*passes).order_by("near").limit(most).subquery().c
    ids, ages, distances = tx.execute(select(*map(func.array_agg, (rows.id, rows.age, rows.near)))).one()
    found = _found(ids, ages, (), -np.array(distances or (), np.float32))
    return found.at(np.argsort(-found.scores, kind="stable"))


def _scored(tx: Connection, interest: Interest, asked: TsQuery, near: Found) -> Found:
    """With their words, the best first."""
    named = paper_words.c.paper_id == any_(literal(near.ids.tolist(), ARRAY(BigInteger)))
    columns = func.array_agg(paper_words.c.paper_id), func.array_agg(_unsure(asked)), *in_one_value(paper_words.c.terms)
    ids, unsure, terms, lengths = tx.execute(select(*columns).where(named)).one()
    order = np.argsort(near.ids)
    rows = order[np.searchsorted(near.ids, np.array(ids or (), np.int64), sorter=order)]
    words = TermTable.joined(terms or b"", lengths or ()).scores(interest.terms)
    found = Found(near.ids[rows], near.ages[rows], near.scores[rows] + words, np.array(unsure or (), bool))
    return found.at(np.argsort(-found.scores, kind="stable"))


def passing(tx: Connection, draft: Draft, within: Window) -> Found:
    """The papers that the draft's query, sources and upvotes let through, the newest first."""
    asked = _question(draft)
    passes = _passes(tx, draft, asked, within)
    known = select(paper.c.id, _age(within), _unsure(asked)).join(paper_words, paper_words.c.paper_id == paper.c.id)
    known = known.where(*passes) if asked.tsquery is None else known.where(*passes, _holds(asked))
    # Papers so new that nobody noted their words yet.
    lacking = ~exists().where(paper_words.c.paper_id == paper.c.id)
    rest = select(paper.c.id, _age(within), literal(True).label("unsure")).where(*passes, lacking)
    both = known.union_all(rest).subquery().c
    with _by_index(tx):
        rows = tx.execute(select(*map(func.array_agg, (both.id, both.age, both.unsure)))).one()
    found = _found(rows[0], rows[1], rows[2], np.zeros(len(rows[0] or ()), np.float32))
    return found.at(np.lexsort((-found.ids, found.ages)))


def confirm(tx: Connection, draft: Draft, found: Found) -> Found:
    """Without the papers that turn out not to match the query, which is asked of the texts of those that are unsure."""
    if not draft.query or not found.unsure.any():
        return found
    query = parse(draft.query)
    known = papers.load(tx, found.ids[found.unsure].tolist())
    hold = [id for id, one in known.items() if matches(query, PaperText.of(one))]
    return found.at(~found.unsure | np.isin(found.ids, hold))


# ── what SQL is asked ─────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _by_index(tx: Connection) -> Iterator[None]:
    """For questions to the words: PostgreSQL does not reckon what it takes to unpack each row's when it reads all."""
    tx.execute(text("SET LOCAL enable_seqscan = off"))
    yield
    tx.execute(text("SET LOCAL enable_seqscan = on"))


def _is_one(ids: Sequence[int]) -> ColumnElement[bool]:
    return paper.c.id == any_(literal(list(ids), ARRAY(BigInteger)))


def _question(draft: Draft) -> TsQuery:
    return to_tsquery(parse(draft.query)) if draft.query else TsQuery(None, exact=True)


def _passes(tx: Connection, draft: Draft, asked: TsQuery, within: Window) -> list[ColumnElement[bool]]:
    """All but the words: days, upvotes, sources."""
    passes = _inside(within)
    if draft.min_upvotes:
        passes.append(paper.c.upvotes >= draft.min_upvotes)
    if draft.sources:
        passes.append(_appeared(draft.sources))
    if asked.sources:
        kinds = set(tx.scalars(select(source.c.kind).distinct()))
        passes.extend(_appeared([kind for kind in kinds if fold(kind) == wanted]) for wanted in asked.sources)
    return passes


def _inside(within: Window) -> list[ColumnElement[bool]]:
    return [paper.c.announced_on.between(within.first, within.last), *papers.LIVING]


def _appeared(kinds: Collection[str]) -> ColumnElement[bool]:
    mine = exists().where(paper_appearance.c.paper_id == paper.c.id, paper_appearance.c.source_id == source.c.id)
    return mine.where(source.c.kind.in_(kinds))


def _holds(asked: TsQuery) -> ColumnElement[bool]:
    return paper_words.c.words.op("@@")(cast(f"({asked.tsquery}) | '{TRUNCATED}'", TSQUERY))


def _unsure(asked: TsQuery) -> ColumnElement[bool]:
    if not asked.exact:
        return literal(True).label("unsure")
    if asked.tsquery is None:
        return literal(False).label("unsure")
    # By the index: to look into each row's words would take longer than all else.
    long = select(paper_words.c.paper_id).where(paper_words.c.words.op("@@")(cast(f"'{TRUNCATED}'", TSQUERY)))
    return paper_words.c.paper_id.in_(long).label("unsure")


def _age(within: Window) -> ColumnElement[int]:
    return type_coerce(literal(within.last) - paper.c.announced_on, Integer).label("age")


def in_one_value(terms: ColumnElement[bytes]) -> tuple[ColumnElement[Any], ...]:
    """The terms of all rows in one value, and how long each is."""
    return func.string_agg(terms, cast(b"", LargeBinary)), func.array_agg(func.octet_length(terms))


def _found(ids: Any, ages: Any, unsure: Any, scores: Vector) -> Found:
    sure = np.zeros(len(scores), bool)
    return Found(np.array(ids or (), np.int64), np.array(ages or (), np.int64), scores, np.array(unsure or sure, bool))
