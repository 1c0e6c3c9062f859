"""Appearances: in which source each paper was listed, on which day, and whether silently."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, and_, exists, func, or_, select

from services.domain.papers.ingestion import Appearance, SilenceBySource
from services.store.db.database import any_id
from services.store.db.records import fetch_all
from services.store.db.tables import paper_appearance, source
from services.store.papers.bulk import insert_rows, write


@dataclass(frozen=True, slots=True)
class PlaceOfAppearance:
    """A source in which a paper was listed."""

    kind: str
    location: str
    announced_on: date
    first_seen_at: datetime
    silent: bool


def of_paper(tx: Connection, paper_id: int) -> list[PlaceOfAppearance]:
    """Where a paper was listed, the first source first."""
    query = (
        select(
            source.c.kind,
            source.c.location,
            paper_appearance.c.announced_on,
            paper_appearance.c.first_seen_at,
            paper_appearance.c.silent,
        )
        .join(source, source.c.id == paper_appearance.c.source_id)
        .where(paper_appearance.c.paper_id == paper_id)
        .order_by(paper_appearance.c.first_seen_at)
    )
    return fetch_all(tx, PlaceOfAppearance, query)


def was_announced(tx: Connection, paper_id: int) -> bool:
    """Whether any appearance of the paper was not silent."""
    announced = exists().where(paper_appearance.c.paper_id == paper_id, ~paper_appearance.c.silent)
    return bool(tx.scalars(select(announced)).one())


def count(tx: Connection, source_id: int, day: date) -> int:
    """How many papers a source listed for a day."""
    of_day = paper_appearance.c.source_id == source_id, paper_appearance.c.announced_on == day
    return int(tx.scalars(select(func.count()).select_from(paper_appearance).where(*of_day)).one())


def announced_since(tx: Connection, moment: datetime) -> list[int]:
    """The ids of papers with an appearance since `moment` that was not silent."""
    query = (
        select(paper_appearance.c.paper_id)
        .where(paper_appearance.c.first_seen_at >= moment, ~paper_appearance.c.silent)
        .distinct()
    )
    return list(tx.scalars(query))


def silence_by_source(tx: Connection, ids: Collection[int]) -> dict[int, SilenceBySource]:
    """For each paper, by source id, whether its appearance there was silent."""
    by_paper: dict[int, SilenceBySource] = {}
    query = select(paper_appearance).where(paper_appearance.c.paper_id == any_id(ids))
    for row in tx.execute(query) if ids else ():
        by_paper.setdefault(row.paper_id, {})[row.source_id] = row.silent
    return by_paper


def entry_ids(tx: Connection, ids: Collection[int]) -> dict[tuple[int, int], tuple[str, ...]]:
    """By paper id and source id, the ids that feeds gave to the entries of these papers."""
    has_ids = paper_appearance.c.entry_ids != []
    query = select(paper_appearance).where(paper_appearance.c.paper_id == any_id(ids), has_ids)
    rows = tx.execute(query) if ids else ()
    return {(row.paper_id, row.source_id): tuple(row.entry_ids) for row in rows}


def record(tx: Connection, appearances: Mapping[tuple[int, int], Appearance], now: datetime) -> None:
    """Stores the appearance of each (paper id, source id). One that was not silent once never becomes silent."""
    values = [
        {
            "paper_id": paper_id,
            "source_id": source_id,
            "announced_on": appearance.day,
            "first_seen_at": now,
            "silent": appearance.silent,
            "entry_ids": appearance.entry_ids,
        }
        for (paper_id, source_id), appearance in sorted(appearances.items(), key=lambda item: item[0])
    ]
    write(tx, _RECORD, values)


_INSERT = insert_rows(
    paper_appearance, ["paper_id", "source_id", "announced_on", "first_seen_at", "silent", "entry_ids"]
)
_RECORD = _INSERT.on_conflict_do_update(
    index_elements=[paper_appearance.c.paper_id, paper_appearance.c.source_id],
    set_={
        "silent": and_(paper_appearance.c.silent, _INSERT.excluded.silent),
        "entry_ids": _INSERT.excluded.entry_ids,
    },
    # Unchanged rows are not written again.
    where=or_(
        and_(paper_appearance.c.silent, ~_INSERT.excluded.silent),
        paper_appearance.c.entry_ids != _INSERT.excluded.entry_ids,
    ),
)
