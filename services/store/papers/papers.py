"""Papers, their identifiers, appearances and vectors."""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    Select,
    Table,
    TableValuedAlias,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    column,
    delete,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, aggregate_order_by
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.papers.ingestion import Appearance
from services.domain.papers.paper import Identifier, Paper, title_key
from services.errors import NotFound
from services.store.db.tables import paper, paper_appearance, paper_identifier, paper_vector, sentence_vector, source
from services.store.papers import merging, search_index

_NUMBER = re.compile(r"[0-9]{1,18}")


def _select() -> Select[Any]:
    identifiers = (
        select(
            func.array_agg(
                aggregate_order_by(
                    paper_identifier.c.scheme + ":" + paper_identifier.c.value, paper_identifier.c.scheme
                )
            )
        )
        .where(paper_identifier.c.paper_id == paper.c.id)
        .scalar_subquery()
    )
    kinds = (
        select(func.array_agg(func.distinct(source.c.kind)))
        .join(paper_appearance, paper_appearance.c.source_id == source.c.id)
        .where(paper_appearance.c.paper_id == paper.c.id)
        .scalar_subquery()
    )
    return select(paper, identifiers.label("identifiers"), kinds.label("sources"))


def _paper(row: Any) -> Paper:
    return Paper(
        id=row.id,
        title=row.title,
        abstract=row.abstract,
        authors=tuple(row.authors),
        author_count=row.author_count,
        categories=tuple(row.categories),
        identifiers=tuple(Identifier(*name.split(":", 1)) for name in row.identifiers or ()),
        sources=tuple(sorted(row.sources or ())),
        announced_on=row.announced_on,
        published_on=row.published_on,
        first_seen_at=row.first_seen_at,
        version=row.version,
        upvotes=row.upvotes,
        comments=row.comments,
        withdrawn=row.withdrawn,
        links=row.links,
    )


def load(tx: Connection, ids: Collection[int]) -> dict[int, Paper]:
    """The papers of these ids; one that was merged away is answered by what it became, under its own id."""
    found_rows = tx.execute(_select().where(paper.c.id == _any(ids))).all() if ids else []
    found = {row.id: _paper(row) for row in found_rows if row.merged_into is None}
    moved = {row.id: row.merged_into for row in found_rows if row.merged_into is not None}
    if moved:
        targets = load(tx, set(moved.values()))
        found |= {old: targets[new] for old, new in moved.items() if new in targets}
    return found


def between(tx: Connection, first: date, last: date) -> list[Paper]:
    """The archive's papers announced on `first` … `last`, the newest first."""
    window = and_(paper.c.announced_on.between(first, last), paper.c.merged_into.is_(None))
    query = _select().where(window).order_by(paper.c.announced_on.desc(), paper.c.id)
    return [_paper(row) for row in tx.execute(query)]


def find(tx: Connection, name: str) -> int:
    """The id of a paper by our id, `arxiv:2506.01234`, `doi:…` or a bare arXiv id. Raises NotFound."""
    scheme, _, value = name.strip().partition(":")
    if not value:
        scheme, value = ("id", scheme) if _NUMBER.fullmatch(scheme) else ("arxiv", scheme)
    found: int | None = None
    if scheme == "id" and _NUMBER.fullmatch(value):
        query = select(func.coalesce(paper.c.merged_into, paper.c.id)).where(paper.c.id == int(value))
        found = tx.scalars(query).first()
    elif scheme != "id":
        value = value.lower() if scheme == "doi" else re.sub(r"v\d+$", "", value)
        wanted = (paper_identifier.c.scheme == scheme.lower()) & (paper_identifier.c.value == value)
        found = tx.scalars(select(paper_identifier.c.paper_id).where(wanted)).first()
    if found is None:
        raise NotFound(f"no paper {name!r} in the archive; use its number here, arxiv:2506.01234 or doi:10.…")
    return found


def by_identifiers(tx: Connection, identifiers: Collection[Identifier]) -> dict[Identifier, int]:
    if not identifiers:
        return {}
    pairs = {"schemes": [one.scheme for one in identifiers], "values": [one.value for one in identifiers]}
    return {Identifier(row.scheme, row.value): row.paper_id for row in tx.execute(_NAMED, pairs)}


def by_titles(tx: Connection, keys: Collection[str]) -> list[int]:
    """Ids of the papers with one of these title keys; PostgreSQL's md5() keeps their index narrow."""
    md5s = [hashlib.md5(key.encode(), usedforsecurity=False).hexdigest() for key in keys]
    return list(tx.scalars(_TITLED, {"md5s": md5s})) if md5s else []


def appearances(tx: Connection, ids: Collection[int]) -> dict[int, dict[int, bool]]:
    """paper → source → whether its appearance there was silent."""
    found: dict[int, dict[int, bool]] = {}
    mine = paper_appearance.c.paper_id == _any(ids)
    for row in tx.execute(select(paper_appearance).where(mine)) if ids else ():
        found.setdefault(row.paper_id, {})[row.source_id] = row.silent
    return found


def new_ids(tx: Connection, count: int) -> list[int]:
    sequence = text("SELECT nextval(pg_get_serial_sequence('paper', 'id')) FROM generate_series(1, :count)")
    return list(tx.scalars(sequence, {"count": count})) if count else []


def insert_all(tx: Connection, papers: Sequence[Paper], now: datetime) -> None:
    values = [{"id": one.id, "first_seen_at": one.first_seen_at, **_values(one, now)} for one in papers]
    _write(tx, _INSERT, values)


def update_all(tx: Connection, papers: Sequence[Paper], now: datetime) -> None:
    _write(tx, _UPDATE, [{"id": one.id, **_values(one, now)} for one in papers])


def _values(one: Paper, now: datetime) -> dict[str, Any]:
    return {
        "title": one.title,
        "abstract": one.abstract,
        "authors": one.authors,
        "author_count": one.author_count,
        "categories": one.categories,
        "title_key": title_key(one.title),
        "announced_on": one.announced_on,
        "published_on": one.published_on,
        "version": one.version,
        "upvotes": one.upvotes,
        "comments": one.comments,
        "withdrawn": one.withdrawn,
        "links": dict(one.links),
        "updated_at": now,
    }


def identify(tx: Connection, papers: Iterable[Paper]) -> None:
    """Notes the papers' identifiers; one that belongs to another paper already stays there."""
    values = [{"scheme": i.scheme, "value": i.value, "paper_id": one.id} for one in papers for i in one.identifiers]
    _write(tx, _IDENTIFY, values)


def appear(tx: Connection, appearances: Mapping[tuple[int, int], Appearance], now: datetime) -> None:
    """Notes in which source each paper stood; an appearance once heard stays heard."""
    values = [
        {"paper_id": one, "source_id": where, "announced_on": it.day, "first_seen_at": now, "silent": it.silent}
        for (one, where), it in sorted(appearances.items(), key=lambda item: item[0])
    ]
    _write(tx, _APPEAR, values)


# ── many rows at once ─────────────────────────────────────────────────────────────────────────────────────────

_VALUES = (
    *("title", "abstract", "authors", "author_count", "categories", "title_key", "announced_on", "published_on"),
    *("version", "upvotes", "comments", "withdrawn", "links", "updated_at"),
)


def _any(ids: Collection[int]) -> ColumnElement[Any]:
    """One parameter however many they are: a list of them would be planned anew for each length."""
    return any_(literal(list(ids), ARRAY(BigInteger)))


def _given(table: Table, names: Sequence[str]) -> TableValuedAlias:
    """Rows in one JSON parameter, with the types of the table's columns: one statement instead of one for each."""
    columns = [column(name, table.c[name].type) for name in names]
    rows_given = func.json_to_recordset(cast(bindparam("rows", type_=Text), JSON))
    return rows_given.table_valued(*columns).render_derived(name="given", with_types=True)


def _insert(table: Table, names: Sequence[str]) -> Insert:
    return upsert(table).from_select(list(names), select(_given(table, names)))


def _write(tx: Connection, statement: Executable, values: Sequence[Mapping[str, Any]]) -> None:
    if values:
        tx.execute(statement, {"rows": json.dumps(values, default=str)})


_NAMED = select(paper_identifier).where(
    tuple_(paper_identifier.c.scheme, paper_identifier.c.value).in_(
        select(
            func.unnest(bindparam("schemes", type_=ARRAY(Text))), func.unnest(bindparam("values", type_=ARRAY(Text)))
        )
    )
)
_TITLED = select(paper.c.id).where(
    paper.c.merged_into.is_(None), func.md5(paper.c.title_key) == any_(bindparam("md5s", type_=ARRAY(Text)))
)
_INSERT = _insert(paper, ["id", "first_seen_at", *_VALUES])
_new = _given(paper, ["id", *_VALUES])
_UPDATE = update(paper).where(paper.c.id == _new.c.id).values({name: _new.c[name] for name in _VALUES})
_IDENTIFY = _insert(paper_identifier, ["scheme", "value", "paper_id"]).on_conflict_do_nothing()
_APPEARANCE = _insert(paper_appearance, ["paper_id", "source_id", "announced_on", "first_seen_at", "silent"])
_APPEAR = _APPEARANCE.on_conflict_do_update(
    index_elements=[paper_appearance.c.paper_id, paper_appearance.c.source_id],
    set_={"silent": False},
    # What stays as it is is not written again.
    where=paper_appearance.c.silent & ~_APPEARANCE.excluded.silent,
)


# ── vectors ───────────────────────────────────────────────────────────────────────────────────────────────────


def vectors(tx: Connection, ids: Collection[int], model: str) -> dict[int, NDArray[np.float32]]:
    query = select(paper_vector.c.paper_id, paper_vector.c.vector)
    found = tx.execute(query.where(paper_vector.c.model == model, paper_vector.c.paper_id.in_(ids)))
    return {row.paper_id: np.asarray(row.vector, dtype=np.float32) for row in found}


def store_vectors(tx: Connection, model: str, ids: Sequence[int], rows: NDArray[np.float32]) -> None:
    """Notes vectors; that of a paper which became another since is left out."""
    merging.lock_against_merges(tx)
    now = merging.current_ids(tx, ids)
    found = zip(ids, rows, strict=True)
    values = [{"paper_id": one, "model": model, "vector": row} for one, row in found if now[one] == one]
    if values:
        tx.execute(upsert(paper_vector).on_conflict_do_nothing(), values)


def forget_vectors(tx: Connection, ids: Collection[int]) -> None:
    """For papers whose text has changed: they are embedded anew, and their words noted anew."""
    search_index.remove(tx, ids)
    if ids:
        tx.execute(delete(paper_vector).where(paper_vector.c.paper_id.in_(ids)))
        tx.execute(delete(sentence_vector).where(sentence_vector.c.paper_id.in_(ids)))


LIVING = (paper.c.merged_into.is_(None), ~paper.c.withdrawn)
"""What the index over the days holds, so that counting needs no look at the papers."""


def days(tx: Connection) -> tuple[date | None, date | None]:
    """The archive's first and last day."""
    first, last = (select(end(paper.c.announced_on)).where(*LIVING).scalar_subquery() for end in (func.min, func.max))
    row = tx.execute(select(first, last)).one()
    return row[0], row[1]


def span(tx: Connection) -> tuple[date | None, date | None, int]:
    """The archive's first and last day, and its number of papers."""
    present = or_(paper.c.merged_into.is_(None))
    row = tx.execute(
        select(func.min(paper.c.announced_on), func.max(paper.c.announced_on), func.count()).where(present)
    ).one()
    return row[0], row[1], row[2]
