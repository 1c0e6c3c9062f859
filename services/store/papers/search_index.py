"""The words of each paper, stored so that counting and scoring the archive does not read its texts again."""

from collections.abc import Collection, Iterable

from sqlalchemy import ColumnElement, Connection, delete, exists, select
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.interests.terms import packed, terms_of
from services.domain.papers.paper import Paper
from services.domain.query.paper_text import PaperText
from services.domain.query.tsquery import to_tsvector
from services.store.db.tables import paper, paper_words


def index(tx: Connection, papers: Iterable[Paper]) -> None:
    """Stores the words of papers. Stored words are kept, since `remove` is called when a text changes."""
    texts = [(one.id, PaperText.of(one)) for one in papers]
    values = [{"paper_id": id, "terms": packed(terms_of(text)), "words": to_tsvector(text)} for id, text in texts]
    if values:
        tx.execute(upsert(paper_words).on_conflict_do_nothing(), values)


def remove(tx: Connection, ids: Collection[int]) -> None:
    if ids:
        tx.execute(delete(paper_words).where(paper_words.c.paper_id.in_(ids)))


def unindexed(tx: Connection, limit: int) -> list[int]:
    """The ids of papers without stored words, the newest first."""
    query = (
        select(paper.c.id)
        .where(paper.c.merged_into.is_(None), ~_indexed())
        .order_by(paper.c.id.desc())
        .limit(limit)
    )  # fmt: skip
    return list(tx.scalars(query))


def any_unindexed() -> ColumnElement[bool]:
    return exists(select(paper.c.id).where(paper.c.merged_into.is_(None), ~_indexed()))


def _indexed() -> ColumnElement[bool]:
    return exists().where(paper_words.c.paper_id == paper.c.id)
