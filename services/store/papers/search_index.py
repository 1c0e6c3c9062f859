"""The search index: terms and words of each paper, so that queries and interests do not read the texts again."""

from collections.abc import Collection, Iterable

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, select
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.interests.terms import pack_terms, terms_of
from services.domain.papers.paper import Paper
from services.domain.query.paper_text import PaperText
from services.domain.query.tsquery import to_tsvector
from services.store.db.tables import paper, paper_words

_IS_UNINDEXED = and_(paper.c.merged_into.is_(None), ~exists().where(paper_words.c.paper_id == paper.c.id))


def index(tx: Connection, loaded: Iterable[Paper]) -> None:
    """Adds papers; a paper that is indexed already stays as it is, since it was indexed with the same text."""
    texts = [(paper.id, PaperText.of(paper)) for paper in loaded]
    rows = [{"paper_id": id, "terms": pack_terms(terms_of(text)), "words": to_tsvector(text)} for id, text in texts]
    if rows:
        tx.execute(upsert(paper_words).on_conflict_do_nothing(), rows)


def remove(tx: Connection, ids: Collection[int]) -> None:
    """Removes papers whose text has changed."""
    if ids:
        tx.execute(delete(paper_words).where(paper_words.c.paper_id.in_(ids)))


def unindexed(tx: Connection, limit: int) -> list[int]:
    """Papers that are not indexed, the newest first."""
    return list(tx.scalars(select(paper.c.id).where(_IS_UNINDEXED).order_by(paper.c.id.desc()).limit(limit)))


def any_unindexed() -> ColumnElement[bool]:
    """SQL: whether any paper is not indexed."""
    return exists(select(paper.c.id).where(_IS_UNINDEXED))
