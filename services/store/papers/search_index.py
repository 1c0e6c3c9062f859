"""The words of papers, kept so that the archive can be counted and scored without reading its texts anew."""

from collections.abc import Collection, Iterable

from sqlalchemy import ColumnElement, Connection, delete, exists, select
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.interests.terms import packed, terms_of
from services.domain.papers.paper import Paper
from services.domain.query.paper_text import PaperText
from services.domain.query.tsquery import to_tsvector
from services.store.db.tables import paper, paper_words


def index(tx: Connection, found: Iterable[Paper]) -> None:
    """Notes the words of papers; what is known stays, for it was made of the same text."""
    texts = [(one.id, PaperText.of(one)) for one in found]
    values = [{"paper_id": id, "terms": packed(terms_of(text)), "words": to_tsvector(text)} for id, text in texts]
    if values:
        tx.execute(upsert(paper_words).on_conflict_do_nothing(), values)


def remove(tx: Connection, ids: Collection[int]) -> None:
    """For papers whose text has changed."""
    if ids:
        tx.execute(delete(paper_words).where(paper_words.c.paper_id.in_(ids)))


def unindexed(tx: Connection, limit: int) -> list[int]:
    """Papers whose words nobody noted yet, the newest first."""
    query = select(paper.c.id).where(paper.c.merged_into.is_(None), ~_known())
    return list(tx.scalars(query.order_by(paper.c.id.desc()).limit(limit)))


def any_lacking() -> ColumnElement[bool]:
    return exists(select(paper.c.id).where(paper.c.merged_into.is_(None), ~_known()))


def _known() -> ColumnElement[bool]:
    return exists().where(paper_words.c.paper_id == paper.c.id)
