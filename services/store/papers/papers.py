"""Papers and their identifiers."""

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    Connection,
    Select,
    Text,
    any_,
    bindparam,
    func,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from services.domain.papers import identifiers
from services.domain.papers.paper import Identifier, Paper, title_key
from services.errors import NotFound
from services.store.db.tables import paper, paper_appearance, paper_identifier, source
from services.store.papers.bulk import any_id, given_rows, insert_rows, write

CURRENT = (paper.c.merged_into.is_(None), ~paper.c.withdrawn)
"""Papers that were neither merged nor withdrawn. The index `ix_paper_living` holds these, so that counting them reads
no row of `paper`."""
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


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────


def load(tx: Connection, ids: Collection[int]) -> dict[int, Paper]:
    """The papers by the ids given. For a paper that was merged into another, the value is the other paper."""
    rows = tx.execute(_select().where(paper.c.id == any_id(ids))).all() if ids else []
    papers = {row.id: _paper(row) for row in rows if row.merged_into is None}
    merged = {row.id: row.merged_into for row in rows if row.merged_into is not None}
    if merged:
        targets = load(tx, set(merged.values()))
        papers |= {old: targets[new] for old, new in merged.items() if new in targets}
    return papers


def between(tx: Connection, first: date, last: date) -> list[Paper]:
    """The archive's papers announced on `first` … `last`, the newest first (index `ix_paper_announced_on`)."""
    query = (
        _select()
        .where(paper.c.announced_on.between(first, last), paper.c.merged_into.is_(None))
        .order_by(paper.c.announced_on.desc(), paper.c.id)
    )
    return [_paper(row) for row in tx.execute(query)]


def find(tx: Connection, name: str) -> int:
    """The id of a paper by its number here, its arXiv id, DOI or link, however written. Raises NotFound."""
    return find_all(tx, [name])[name]


def find_all(tx: Connection, names: Collection[str]) -> dict[str, int]:
    """The ids of papers by names as `find` takes them, with at most three statements. Raises NotFound."""
    keys = {name: _key(name) for name in names}
    by_identifier = by_identifiers(tx, {key for key in keys.values() if isinstance(key, Identifier)})
    by_number = _by_numbers(tx, {key for key in keys.values() if isinstance(key, int)})
    found: dict[str, int | None] = {
        name: by_identifier.get(key) if isinstance(key, Identifier) else by_number.get(key or 0)
        for name, key in keys.items()
    }
    found |= _by_links(tx, [name for name, paper_id in found.items() if paper_id is None and "://" in name])
    for name, paper_id in found.items():
        if paper_id is None:
            raise NotFound(f"no paper {name!r} in the archive; use its number here, its link, arXiv id or DOI")
    return {name: paper_id for name, paper_id in found.items() if paper_id is not None}


def _key(name: str) -> Identifier | int | None:
    """What a name of a paper states: an identifier, its number here, or nothing."""
    name = name.strip().strip("<>")
    if number := _NUMBER.fullmatch(name.removeprefix("id:")):
        return int(number[0])
    if recognised := identifiers.recognise(name):
        return recognised.identifier
    scheme, _, value = name.partition(":")
    return Identifier(scheme.lower(), value.strip().lower()) if value and scheme != "id" else None


def _by_links(tx: Connection, names: Collection[str]) -> dict[str, int | None]:
    """Papers without identifiers by the links of their pages. No index has the links: only people ask for them."""
    if not names:
        return {}
    links = {name.strip().strip("<>"): name for name in names}
    link, listing = paper.c.links["abstract"].astext, paper.c.links["listing"].astext
    query = (
        select(func.coalesce(paper.c.merged_into, paper.c.id).label("id"), link.label("link"), listing.label("listing"))
        .where(or_(link.in_(links), listing.in_(links)))
        .order_by(paper.c.id.desc())
    )
    found: dict[str, int | None] = {}
    for row in tx.execute(query):
        found |= {links[url]: row.id for url in (row.listing, row.link) if url in links}
    return found


def _by_numbers(tx: Connection, numbers: Collection[int]) -> dict[int, int]:
    """The ids of papers by their numbers; for a merged paper that of the paper that it became part of."""
    if not numbers:
        return {}
    query = select(paper.c.id, func.coalesce(paper.c.merged_into, paper.c.id)).where(paper.c.id == any_id(numbers))
    return {row[0]: row[1] for row in tx.execute(query)}


def by_identifiers(tx: Connection, identifiers: Collection[Identifier]) -> dict[Identifier, int]:
    if not identifiers:
        return {}
    parameters = {
        "schemes": [identifier.scheme for identifier in identifiers],
        "values": [identifier.value for identifier in identifiers],
    }
    return {Identifier(row.scheme, row.value): row.paper_id for row in tx.execute(_BY_IDENTIFIERS, parameters)}


def by_titles(tx: Connection, keys: Collection[str]) -> list[int]:
    """The ids of the papers with one of these title keys (index `ix_paper_title_key`, narrow since it is of md5())."""
    md5s = [hashlib.md5(key.encode(), usedforsecurity=False).hexdigest() for key in keys]
    return list(tx.scalars(_BY_TITLES, {"md5s": md5s})) if md5s else []


def days(tx: Connection) -> tuple[date | None, date | None]:
    """The archive's first and last announcement day (index `ix_paper_living`)."""
    first, last = (select(end(paper.c.announced_on)).where(*CURRENT).scalar_subquery() for end in (func.min, func.max))
    row = tx.execute(select(first, last)).one()
    return row[0], row[1]


def span(tx: Connection) -> tuple[date | None, date | None, int]:
    """The archive's first and last announcement day, and its number of papers."""
    query = (
        select(func.min(paper.c.announced_on), func.max(paper.c.announced_on), func.count())
        .where(paper.c.merged_into.is_(None))
    )  # fmt: skip
    first, last, count = tx.execute(query).one()
    return first, last, count


_BY_IDENTIFIERS = select(paper_identifier).where(
    tuple_(paper_identifier.c.scheme, paper_identifier.c.value).in_(
        select(
            func.unnest(bindparam("schemes", type_=ARRAY(Text))),
            func.unnest(bindparam("values", type_=ARRAY(Text))),
        )
    )
)
_BY_TITLES = select(paper.c.id).where(
    paper.c.merged_into.is_(None), func.md5(paper.c.title_key) == any_(bindparam("md5s", type_=ARRAY(Text)))
)


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────


def new_ids(tx: Connection, count: int) -> list[int]:
    sequence = text("SELECT nextval(pg_get_serial_sequence('paper', 'id')) FROM generate_series(1, :count)")
    return list(tx.scalars(sequence, {"count": count})) if count else []


def insert_all(tx: Connection, papers: Sequence[Paper], now: datetime) -> None:
    values = [{"id": paper.id, "first_seen_at": paper.first_seen_at, **_values(paper, now)} for paper in papers]
    write(tx, _INSERT, values)


def update_all(tx: Connection, papers: Sequence[Paper], now: datetime) -> None:
    write(tx, _UPDATE, [{"id": paper.id, **_values(paper, now)} for paper in papers])


def identify(tx: Connection, papers: Iterable[Paper]) -> None:
    """Stores the papers' identifiers. An identifier that another paper has already stays with that paper."""
    values = [
        {"scheme": identifier.scheme, "value": identifier.value, "paper_id": paper.id}
        for paper in papers
        for identifier in paper.identifiers
    ]
    write(tx, _IDENTIFY, values)


def _values(paper: Paper, now: datetime) -> dict[str, Any]:
    return {
        "title": paper.title,
        "abstract": paper.abstract,
        "authors": paper.authors,
        "author_count": paper.author_count,
        "categories": paper.categories,
        "title_key": title_key(paper.title),
        "announced_on": paper.announced_on,
        "published_on": paper.published_on,
        "version": paper.version,
        "upvotes": paper.upvotes,
        "comments": paper.comments,
        "withdrawn": paper.withdrawn,
        "links": dict(paper.links),
        "updated_at": now,
    }


_VALUES = (
    *("title", "abstract", "authors", "author_count", "categories", "title_key", "announced_on", "published_on"),
    *("version", "upvotes", "comments", "withdrawn", "links", "updated_at"),
)
_INSERT = insert_rows(paper, ["id", "first_seen_at", *_VALUES])
_given = given_rows(paper, ["id", *_VALUES])
_UPDATE = update(paper).where(paper.c.id == _given.c.id).values({name: _given.c[name] for name in _VALUES})
_IDENTIFY = insert_rows(paper_identifier, ["scheme", "value", "paper_id"]).on_conflict_do_nothing()
