"""The embedding models: one is wanted, by setting; until the archive is embedded with it, the one before serves."""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.errors import EmbedderError
from services.store.db.tables import model, paper, paper_vector, subscription
from services.store.interests import embedding_backlog, sentence_vectors

FORGOTTEN_AT_ONCE = 500
_USED = and_(subscription.c.deleted_at.is_(None), subscription.c.volume != "", subscription.c.weights.is_not(None))


def request(tx: Connection, name: str, setting: str, now: datetime) -> None:
    """Notes which model the settings name, and how it is made again. The first of all serves at once."""
    first = None if tx.scalars(select(exists(select(model.c.name)))).one() else now
    row = upsert(model).values(name=name, setting=setting, wanted_at=now, ready_at=first)
    again = {"setting": setting, "wanted_at": now}
    tx.execute(row.on_conflict_do_update(index_elements=["name"], set_=again))


def before(tx: Connection, name: str) -> str | None:
    """The setting of the model that serves in place of the wanted one; None where that serves itself."""
    newest = select(model.c.name, model.c.setting, model.c.ready_at).where(model.c.ready_at.is_not(None))
    ready = tx.execute(newest.order_by(model.c.wanted_at.desc())).all()
    return None if not ready or name in {one.name for one in ready} else str(ready[0].setting)


def subscriptions_using(tx: Connection) -> list[str]:
    """Settings of the models that living interests were compiled with."""
    used = exists().where(_USED, subscription.c.model == model.c.name)
    return list(tx.scalars(select(model.c.setting).where(used)))


def make_ready(tx: Connection, name: str, now: datetime) -> bool:
    """Lets a model serve once nothing waits to be embedded with it; whether it does so only now."""
    unready = and_(model.c.name == name, model.c.ready_at.is_(None), ~embedding_backlog.waiting(name))
    return tx.execute(update(model).where(unready).values(ready_at=now)).rowcount > 0


def unready(name: str) -> ColumnElement[bool]:
    """SQL: whether a model is wanted and does not serve yet."""
    return exists(select(model.c.name).where(model.c.name == name, model.c.ready_at.is_(None)))


def check_length(tx: Connection, name: str, length: int) -> None:
    """Raises EmbedderError where a model's vectors have another length than those that are stored."""
    known = tx.scalars(select(model.c.dimensions).where(model.c.name == name)).first()
    if known is None:
        tx.execute(update(model).where(model.c.name == name).values(dimensions=length))
    elif known != length:
        raise EmbedderError(f"{name} gives vectors of {length} numbers, before {known}: is it another model by now?")


def progress(tx: Connection, name: str) -> tuple[int, int] | None:
    """How many papers are embedded with a model that does not serve yet, and how many there are; else None."""
    if not tx.scalars(select(unready(name))).one():
        return None
    there = select(func.count()).select_from(paper).where(paper.c.merged_into.is_(None))
    done = there.join(paper_vector, paper_vector.c.paper_id == paper.c.id).where(paper_vector.c.model == name)
    return tx.scalars(done).one(), tx.scalars(there).one()


def forget(tx: Connection) -> int:
    """Deletes some vectors of a model that a later one replaced and no interest stands on; at last its name."""
    later = model.alias()
    replaced = exists().where(later.c.wanted_at > model.c.wanted_at, later.c.ready_at.is_not(None))
    used = exists().where(_USED, subscription.c.model == model.c.name)
    name = tx.scalars(select(model.c.name).where(replaced, ~used).limit(1)).first()
    if name is None:
        return 0
    some = select(paper_vector.c.paper_id).where(paper_vector.c.model == name).limit(FORGOTTEN_AT_ONCE)
    mine = and_(paper_vector.c.model == name, paper_vector.c.paper_id.in_(some))
    sentence_vectors.forget_model(tx, name)
    return (
        tx.execute(delete(paper_vector).where(mine)).rowcount
        or tx.execute(delete(model).where(model.c.name == name)).rowcount
    )
