"""Embedding models. The settings name the wanted one; the previous one serves until the archive is embedded."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.errors import EmbedderError
from services.store.db.tables import model, paper, paper_vector, subscription
from services.store.interests import embedding_backlog, sentence_vectors

DELETE_BATCH_SIZE = 500
"""Vectors of a replaced model that one transaction deletes."""
_IN_USE = exists().where(
    subscription.c.deleted_at.is_(None),
    subscription.c.volume != "",
    subscription.c.weights.is_not(None),
    subscription.c.model == model.c.name,
)
"""SQL: whether an interest is compiled with a model."""


@dataclass(frozen=True, slots=True)
class RolloverProgress:
    """How many of the papers are embedded with the wanted model."""

    embedded: int
    papers: int


def request(tx: Connection, name: str, setting: str, now: datetime) -> None:
    """Records the model that the settings name, and the setting that makes it. The very first model serves at once."""
    is_first = not tx.scalars(select(exists(select(model.c.name)))).one()
    tx.execute(
        upsert(model)
        .values(name=name, setting=setting, wanted_at=now, ready_at=now if is_first else None)
        .on_conflict_do_update(index_elements=["name"], set_={"setting": setting, "wanted_at": now})
    )


def serving_instead(tx: Connection, name: str) -> str | None:
    """The setting of the model that serves instead of the wanted one; None if the wanted one serves."""
    ready = tx.execute(
        select(model.c.name, model.c.setting).where(model.c.ready_at.is_not(None)).order_by(model.c.wanted_at.desc())
    ).all()
    return None if not ready or name in {row.name for row in ready} else str(ready[0].setting)


def settings_in_use(tx: Connection) -> list[str]:
    """Settings of the models that interests are compiled with."""
    return list(tx.scalars(select(model.c.setting).where(_IN_USE)))


def make_ready(tx: Connection, name: str, now: datetime) -> bool:
    """Lets a model serve once no paper waits to be embedded with it; whether it starts to serve now."""
    is_complete = and_(model.c.name == name, model.c.ready_at.is_(None), ~embedding_backlog.any_waiting(name))
    return tx.execute(update(model).where(is_complete).values(ready_at=now)).rowcount > 0


def unready(name: str) -> ColumnElement[bool]:
    """SQL: whether a model is wanted and does not serve yet."""
    return exists(select(model.c.name).where(model.c.name == name, model.c.ready_at.is_(None)))


def check_length(tx: Connection, name: str, length: int) -> None:
    """Records the length of a model's vectors. Raises EmbedderError if stored vectors have another length."""
    known = tx.scalars(select(model.c.dimensions).where(model.c.name == name)).first()
    if known is None:
        tx.execute(update(model).where(model.c.name == name).values(dimensions=length))
    elif known != length:
        raise EmbedderError(
            f"{name} gives vectors of {length} numbers, the stored ones have {known}; check which model is served"
        )


def progress(tx: Connection, name: str) -> RolloverProgress | None:
    """How far the archive is embedded with a model that does not serve yet; None for any other model."""
    if not tx.scalars(select(unready(name))).one():
        return None
    papers = select(func.count()).select_from(paper).where(paper.c.merged_into.is_(None))
    embedded = papers.join(paper_vector, paper_vector.c.paper_id == paper.c.id).where(paper_vector.c.model == name)
    return RolloverProgress(embedded=tx.scalars(embedded).one(), papers=tx.scalars(papers).one())


def delete_unused(tx: Connection) -> int:
    """Deletes some vectors of a model that a later one has replaced and that no interest uses, and at last its row.

    The number of deleted rows.
    """
    later = model.alias()
    is_replaced = exists().where(later.c.wanted_at > model.c.wanted_at, later.c.ready_at.is_not(None))
    name = tx.scalars(select(model.c.name).where(is_replaced, ~_IN_USE).limit(1)).first()
    if name is None:
        return 0
    batch = select(paper_vector.c.paper_id).where(paper_vector.c.model == name).limit(DELETE_BATCH_SIZE)
    sentence_vectors.delete_model(tx, name)
    return (
        tx.execute(
            delete(paper_vector).where(paper_vector.c.model == name, paper_vector.c.paper_id.in_(batch))
        ).rowcount
        or tx.execute(delete(model).where(model.c.name == name)).rowcount
    )
