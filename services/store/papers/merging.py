"""Two papers become one: everything that hangs on the one that goes follows to the one that stays."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, and_, bindparam, delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.delivery.merged_items import Item, settle, stage_of
from services.domain.delivery.state_machine import State
from services.store.db.database import Row, lock, rows
from services.store.db.tables import (
    delivery,
    delivery_item,
    embedding_attempt,
    event,
    feedback,
    interest_example,
    match,
    paper,
    paper_appearance,
    paper_identifier,
    paper_vector,
    paper_words,
    quarantine,
)

_LOCK = "merging"
_TOLD = ("not_before", "cadence", "delivery_id", "dropped_because", "created_at")
_MATCHED = ("run_id", "score", "decided", "revision", "notified_at", "created_at")


def lock_against_merges(tx: Connection) -> None:
    """Lets no two papers become one until this transaction ends; to be called first in it.

    Whoever reads a paper's id and writes it into another row needs it, or the row could name a paper that is no more.
    """
    lock(tx, _LOCK, shared=True)


def current_ids(tx: Connection, ids: Collection[int]) -> dict[int, int]:
    """Paper id → the id it goes by now."""
    query = select(paper.c.id, func.coalesce(paper.c.merged_into, paper.c.id).label("now"))
    return {row.id: row.now for row in tx.execute(query.where(paper.c.id.in_(ids)))}


def already_notified(tx: Connection, ids: Collection[int]) -> set[int]:
    """Those of the papers that some channel was sent, or may have been."""
    went = or_(delivery.c.bytes_final, delivery.c.state.in_([State.SENT, State.SENDING, State.UNCERTAIN]))
    query = select(delivery_item.c.paper_id).join(delivery, delivery.c.id == delivery_item.c.delivery_id)
    return set(tx.scalars(query.where(delivery_item.c.paper_id.in_(ids), went).distinct()))


def merged_with(paper_id: int) -> str:
    """Why what waited under an old name is not sent."""
    return f"merged with paper {paper_id}"


def merge_papers(tx: Connection, stays: int, goes: int, now: datetime) -> None:
    """Makes `goes` another name of `stays`, whose own row says already what is known of both.

    What both have (a match of one subscription, an item on one channel) stays in part with the old row, as history.
    Nobody else writes a row that names either paper meanwhile: see `hold_off`.
    """
    lock(tx, _LOCK)
    tx.execute(update(paper_identifier).where(paper_identifier.c.paper_id == goes).values(paper_id=stays))
    for table in (paper_words, quarantine, embedding_attempt):
        tx.execute(delete(table).where(table.c.paper_id == goes))
    _appearances(tx, stays, goes)
    _vectors(tx, stays, goes)
    _move(tx, event, stays, goes)
    _move(tx, interest_example, stays, goes)
    newer = upsert(feedback).excluded.created_at > feedback.c.created_at
    _move(tx, feedback, stays, goes, set_=("verdict", "created_at"), where=newer)
    _items(tx, stays, goes)
    _matches(tx, stays, goes, now)
    first_seen = select(paper.c.first_seen_at).where(paper.c.id == goes).scalar_subquery()
    earliest = func.least(paper.c.first_seen_at, first_seen)
    tx.execute(update(paper).where(paper.c.id == stays).values(first_seen_at=earliest))
    for known_as in (paper.c.id == goes, paper.c.merged_into == goes):
        tx.execute(update(paper).where(known_as).values(merged_into=stays, updated_at=now))


def _move(
    tx: Connection, table: Table, stays: int, goes: int, set_: Collection[str] | dict[str, Any] = (), where: Any = None
) -> None:
    """Moves a table's rows; of two with one key the staying paper's remains, with the columns `set_` of the other."""
    mine = [literal(stays) if column.name == "paper_id" else column for column in table.c]
    new = upsert(table).from_select(list(table.c.keys()), select(*mine).where(table.c.paper_id == goes))
    key = list(table.primary_key)
    if set_:
        taken = set_ if isinstance(set_, dict) else {name: new.excluded[name] for name in set_}
        tx.execute(new.on_conflict_do_update(index_elements=key, set_=taken, where=where))
    else:
        tx.execute(new.on_conflict_do_nothing(index_elements=key))
    tx.execute(delete(table).where(table.c.paper_id == goes))


def _appearances(tx: Connection, stays: int, goes: int) -> None:
    fresh, known = upsert(paper_appearance).excluded, paper_appearance.c
    both = {
        "announced_on": func.least(known.announced_on, fresh.announced_on),
        "first_seen_at": func.least(known.first_seen_at, fresh.first_seen_at),
        "silent": and_(known.silent, fresh.silent),
    }
    _move(tx, paper_appearance, stays, goes, set_=both)


def _vectors(tx: Connection, stays: int, goes: int) -> None:
    """A vector is that of a text: the going paper's serves only if its text became that of both."""
    other = paper.alias()
    same = and_(paper.c.title == other.c.title, paper.c.abstract == other.c.abstract)
    query = select(paper.c.id).join(other, same).where(paper.c.id == stays, other.c.id == goes)
    if tx.execute(query).first() is None:
        tx.execute(delete(paper_vector).where(paper_vector.c.paper_id == goes))
    else:
        _move(tx, paper_vector, stays, goes, set_=[one.name for one in paper_vector.c if not one.primary_key])


# ── what was matched and told ─────────────────────────────────────────────────────────────────────────────────


def _items(tx: Connection, stays: int, goes: int) -> None:
    """One item a channel counts and is the staying paper's; another keeps the old name and is never sent again."""
    pairs = _pairs(tx, delivery_item, "channel_id", stays, goes)
    # Locked, so that no worker claims meanwhile what is dropped here; those that one has already are left to it.
    known = {row["delivery_id"] for pair in pairs for row in pair} - {None}
    query = select(delivery.c.id, delivery.c.state, delivery.c.bytes_final).where(delivery.c.id.in_(known))
    states = {row["id"]: row for row in rows(tx, query.order_by(delivery.c.id).with_for_update())}
    _rewrite(tx, delivery_item, [change for pair in pairs for change in _settled(*pair, states)])


def _settled(mine: Row, other: Row, states: dict[int, Row]) -> tuple[Row, Row]:
    """The new contents of two items of one channel. The rows keep their papers, so what counts changes its row."""
    settled = settle(_item(mine, states), _item(other, states))
    counts, history = (other, mine) if settled.replaced_wins else (mine, other)
    kept = _take(counts, _TOLD) | {"not_before": settled.not_before, "cadence": settled.cadence}
    left = _take(history, _TOLD)
    if settled.drop_other:
        left |= {"dropped_because": merged_with(mine["paper_id"]), "delivery_id": None}
    return {"key": mine["id"], **kept}, {"key": other["id"], **left}


def _item(row: Row, states: dict[int, Row]) -> Item:
    sent_with = states.get(row["delivery_id"])
    state, bytes_final = (State(sent_with["state"]), sent_with["bytes_final"]) if sent_with else (None, False)
    stage = stage_of(dropped=bool(row["dropped_because"]), state=state, bytes_final=bytes_final)
    return Item(stage, row["not_before"], row["cadence"])


def _matches(tx: Connection, stays: int, goes: int, now: datetime) -> None:
    """One match a subscription counts, the told one if one was; another keeps the old name and is told no more."""
    changes = []
    for mine, other in _pairs(tx, match, "subscription_id", stays, goes):
        swap = mine["notified_at"] is None and other["notified_at"] is not None
        counts, history = (other, mine) if swap else (mine, other)
        changes.append({"key": mine["id"], **_take(counts, _MATCHED)})
        left = _take(history, _MATCHED) | {"notified_at": history["notified_at"] or now}
        changes.append({"key": other["id"], **left})
    _rewrite(tx, match, changes)


def _pairs(tx: Connection, table: Table, by: str, stays: int, goes: int) -> list[tuple[Row, Row]]:
    """Moves the rows that only the going paper has; the others as (staying, going) with the same `by`, locked."""
    query = select(table).where(table.c.paper_id.in_([stays, goes])).order_by(table.c.id).with_for_update()
    found = {(row["paper_id"], row[by]): row for row in rows(tx, query)}
    others = {key: row for (paper_id, key), row in found.items() if paper_id == goes}
    alone = [row["id"] for key, row in others.items() if (stays, key) not in found]
    tx.execute(update(table).where(table.c.id.in_(alone)).values(paper_id=stays))
    return [(found[stays, key], row) for key, row in others.items() if (stays, key) in found]


def _take(row: Row, names: Collection[str]) -> Row:
    return {name: row[name] for name in names}


def _rewrite(tx: Connection, table: Table, changes: Sequence[Row]) -> None:
    """Sets the columns of each row `key`."""
    if changes:
        values = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in changes[0] if name != "key"}
        query = update(table).where(table.c.id == bindparam("key")).values(values)
        tx.execute(query, [{"key" if n == "key" else f"new_{n}": v for n, v in one.items()} for one in changes])
