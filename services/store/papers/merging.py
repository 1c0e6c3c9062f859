"""Merging of two papers: the rows of the replaced paper become rows of the kept paper."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Table, and_, bindparam, case, delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.delivery.merged_items import Item, merged_with, settle, stage_of
from services.domain.delivery.state_machine import State
from services.store.db.database import lock
from services.store.db.records import columns_for, fetch_all
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
    paper_mark,
    paper_vector,
    paper_words,
    quarantine,
)

_LOCK = "merging"


def lock_against_merges(tx: Connection) -> None:
    """Lets no papers be merged until this transaction ends; to be called before anything else in it.

    A transaction that reads a paper's id and writes it into another row needs this lock. Otherwise the row could name a
    paper that was replaced meanwhile.
    """
    lock(tx, _LOCK, shared=True)


def current_ids(tx: Connection, ids: Collection[int]) -> dict[int, int]:
    """By paper id, the id of the paper that is kept in its place; its own id when it was not replaced."""
    query = select(paper.c.id, func.coalesce(paper.c.merged_into, paper.c.id).label("current")).where(
        paper.c.id.in_(ids)
    )
    return {row.id: row.current for row in tx.execute(query)}


def already_notified(tx: Connection, ids: Collection[int]) -> set[int]:
    """The given papers that were, or may have been, sent to any channel."""
    sent = or_(delivery.c.bytes_final, delivery.c.state.in_([State.SENT, State.SENDING, State.UNCERTAIN]))
    query = (
        select(delivery_item.c.paper_id)
        .join(delivery, delivery.c.id == delivery_item.c.delivery_id)
        .where(delivery_item.c.paper_id.in_(ids), sent)
        .distinct()
    )
    return set(tx.scalars(query))


def merge_papers(tx: Connection, kept: int, replaced: int, now: datetime) -> None:
    """Moves the rows of the paper `replaced` to `kept`, whose own row must have the united contents already.

    Where both have a row of one key (a match of one subscription, an item on one channel), the replaced paper keeps one
    of the two rows as history. Meanwhile no other transaction writes a row that names either paper: see
    `lock_against_merges`.
    """
    lock(tx, _LOCK)
    tx.execute(update(paper_identifier).where(paper_identifier.c.paper_id == replaced).values(paper_id=kept))
    for table in (paper_words, quarantine, embedding_attempt):
        tx.execute(delete(table).where(table.c.paper_id == replaced))
    _move_appearances(tx, kept, replaced)
    _move_vectors(tx, kept, replaced)
    _move(tx, event, kept, replaced)
    _move(tx, interest_example, kept, replaced)
    newer = upsert(feedback).excluded.created_at > feedback.c.created_at
    _move(tx, feedback, kept, replaced, set_=("verdict", "created_at"), where=newer)
    _move_marks(tx, kept, replaced)
    _merge_items(tx, kept, replaced)
    _merge_matches(tx, kept, replaced, now)
    first_seen = select(paper.c.first_seen_at).where(paper.c.id == replaced).scalar_subquery()
    earliest = func.least(paper.c.first_seen_at, first_seen)
    tx.execute(update(paper).where(paper.c.id == kept).values(first_seen_at=earliest))
    for same in (paper.c.id == replaced, paper.c.merged_into == replaced):
        tx.execute(update(paper).where(same).values(merged_into=kept, updated_at=now))


def _move(
    tx: Connection,
    table: Table,
    kept: int,
    replaced: int,
    set_: Collection[str] | dict[str, Any] = (),
    where: Any = None,
) -> None:
    """Moves a table's rows. Of two rows with one key the kept paper's stays, with the columns `set_` of the other."""
    columns = [literal(kept) if column.name == "paper_id" else column for column in table.c]
    moved = upsert(table).from_select(list(table.c.keys()), select(*columns).where(table.c.paper_id == replaced))
    key = list(table.primary_key)
    if set_:
        changes = set_ if isinstance(set_, dict) else {name: moved.excluded[name] for name in set_}
        tx.execute(moved.on_conflict_do_update(index_elements=key, set_=changes, where=where))
    else:
        tx.execute(moved.on_conflict_do_nothing(index_elements=key))
    tx.execute(delete(table).where(table.c.paper_id == replaced))


def _move_appearances(tx: Connection, kept: int, replaced: int) -> None:
    moved, known = upsert(paper_appearance).excluded, paper_appearance.c
    united = {
        "announced_on": func.least(known.announced_on, moved.announced_on),
        "first_seen_at": func.least(known.first_seen_at, moved.first_seen_at),
        "silent": and_(known.silent, moved.silent),
        "entry_ids": case(
            (known.entry_ids.op("@>")(moved.entry_ids), known.entry_ids),
            else_=func.array_cat(known.entry_ids, moved.entry_ids),
        ),
    }
    _move(tx, paper_appearance, kept, replaced, set_=united)


def _move_marks(tx: Connection, kept: int, replaced: int) -> None:
    """A paper that was read or starred under either of its numbers stays so."""
    moved, known = upsert(paper_mark).excluded, paper_mark.c
    united = {name: func.coalesce(known[name], moved[name]) for name in ("read_at", "starred_at")}
    _move(tx, paper_mark, kept, replaced, set_=united)


def _move_vectors(tx: Connection, kept: int, replaced: int) -> None:
    """A vector belongs to a text: the replaced paper's is used only if the kept paper has taken its text."""
    other = paper.alias()
    same_text = (
        select(paper.c.id)
        .join(other, and_(paper.c.title == other.c.title, paper.c.abstract == other.c.abstract))
        .where(paper.c.id == kept, other.c.id == replaced)
    )
    if tx.execute(same_text).first() is None:
        tx.execute(delete(paper_vector).where(paper_vector.c.paper_id == replaced))
    else:
        set_ = [column.name for column in paper_vector.c if not column.primary_key]
        _move(tx, paper_vector, kept, replaced, set_=set_)


# ── matches and delivery items ────────────────────────────────────────────────────────────────────────────────


class _PaperRow(Protocol):
    @property
    def id(self) -> int: ...

    @property
    def paper_id(self) -> int: ...


@dataclass(frozen=True, slots=True)
class _ItemRow:
    id: int
    paper_id: int
    channel_id: int
    not_before: datetime
    cadence: str
    delivery_id: int | None
    dropped_because: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class _SentWith:
    id: int
    state: str
    bytes_final: bool


@dataclass(frozen=True, slots=True)
class _MatchRow:
    id: int
    paper_id: int
    subscription_id: int
    run_id: int | None
    score: float | None
    decided: dict[str, Any]
    revision: int
    notified_at: datetime | None
    created_at: datetime


_R = TypeVar("_R", bound=_PaperRow)
_ITEM_CONTENTS = ("not_before", "cadence", "delivery_id", "dropped_because", "created_at")
_MATCH_CONTENTS = ("run_id", "score", "decided", "revision", "notified_at", "created_at")


def _merge_items(tx: Connection, kept: int, replaced: int) -> None:
    """Of two items on one channel one is kept and gets the kept paper's id; the other is never sent again."""
    pairs = _pairs(tx, _ItemRow, delivery_item, "channel_id", kept, replaced)
    ids = {item.delivery_id for pair in pairs for item in pair} - {None}
    # Locked, so that no worker claims a delivery whose item is dropped here. A claimed delivery is left to its worker.
    query = (
        select(*columns_for(delivery, _SentWith))
        .where(delivery.c.id.in_(ids))
        .order_by(delivery.c.id)
        .with_for_update()
    )  # fmt: skip
    deliveries = {row.id: row for row in fetch_all(tx, _SentWith, query)}
    _rewrite(tx, delivery_item, [change for pair in pairs for change in _settled(*pair, deliveries)])


def _settled(
    item: _ItemRow, other: _ItemRow, deliveries: dict[int, _SentWith]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The new contents of the kept paper's item and of the replaced paper's. The rows keep their papers.

    The contents of the item that wins therefore move to the kept paper's row.
    """
    settlement = settle(_item(item, deliveries), _item(other, deliveries))
    winner, loser = (other, item) if settlement.replaced_wins else (item, other)
    current = _contents(winner, _ITEM_CONTENTS)
    current |= {"not_before": settlement.not_before, "cadence": settlement.cadence}
    history = _contents(loser, _ITEM_CONTENTS)
    if settlement.drop_other:
        history |= {"dropped_because": merged_with(item.paper_id), "delivery_id": None}
    return {"key": item.id, **current}, {"key": other.id, **history}


def _item(row: _ItemRow, deliveries: dict[int, _SentWith]) -> Item:
    sent_with = None if row.delivery_id is None else deliveries.get(row.delivery_id)
    state, bytes_final = (State(sent_with.state), sent_with.bytes_final) if sent_with else (None, False)
    stage = stage_of(dropped=bool(row.dropped_because), state=state, bytes_final=bytes_final)
    return Item(stage, row.not_before, row.cadence)


def _merge_matches(tx: Connection, kept: int, replaced: int, now: datetime) -> None:
    """Of two matches of one subscription one is kept, the notified one if there is one; the other causes no message."""
    changes = []
    for own, other in _pairs(tx, _MatchRow, match, "subscription_id", kept, replaced):
        swap = own.notified_at is None and other.notified_at is not None
        winner, loser = (other, own) if swap else (own, other)
        changes.append({"key": own.id, **_contents(winner, _MATCH_CONTENTS)})
        history = _contents(loser, _MATCH_CONTENTS) | {"notified_at": loser.notified_at or now}
        changes.append({"key": other.id, **history})
    _rewrite(tx, match, changes)


def _pairs(tx: Connection, kind: type[_R], table: Table, by: str, kept: int, replaced: int) -> list[tuple[_R, _R]]:
    """The rows of both papers with the same value of the column `by`, as (kept, replaced), locked.

    Rows that only the replaced paper has are given to the kept one.
    """
    query = (
        select(*columns_for(table, kind))
        .where(table.c.paper_id.in_([kept, replaced]))
        .order_by(table.c.id)
        .with_for_update()
    )
    rows = {(row.paper_id, getattr(row, by)): row for row in fetch_all(tx, kind, query)}
    others = {key: row for (paper_id, key), row in rows.items() if paper_id == replaced}
    alone = [row.id for key, row in others.items() if (kept, key) not in rows]
    tx.execute(update(table).where(table.c.id.in_(alone)).values(paper_id=kept))
    return [(rows[kept, key], row) for key, row in others.items() if (kept, key) in rows]


def _contents(row: _ItemRow | _MatchRow, names: Collection[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _rewrite(tx: Connection, table: Table, changes: Sequence[dict[str, Any]]) -> None:
    """Sets the columns of the row whose id is the change's `key`."""
    if changes:
        values = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in changes[0] if name != "key"}
        query = update(table).where(table.c.id == bindparam("key")).values(values)
        parameters = [
            {"key" if name == "key" else f"new_{name}": value for name, value in change.items()} for change in changes
        ]
        tx.execute(query, parameters)
