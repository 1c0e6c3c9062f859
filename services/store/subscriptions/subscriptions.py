"""Subscriptions; each save takes the next number of its shard, so that a worker sees all that it has not read."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, LargeBinary, and_, delete, func, insert, select, update

from services.domain.interests.calibration import CompiledInterest
from services.domain.subscriptions.draft import Draft
from services.errors import ConfigError, NotFound
from services.store.db.database import Row, first, rows
from services.store.db.revisions import next_revision
from services.store.db.tables import (
    account,
    channel,
    interest_example,
    match,
    shard,
    subscription,
    subscription_channel,
)
from services.store.delivery import digest_schedule
from services.store.papers import merging

MAX_PER_ACCOUNT = 100
AT_ONCE = 2000
"""Rows that a new worker fetches."""
_MATCHED_BY = (
    *(
        "id",
        "account_id",
        "revision",
        "deleted_at",
        "query",
        "volume",
        "model",
        "terms",
        "threshold",
        "relaxed_thresholds",
    ),
    *("sources", "min_upvotes"),
)


def save(
    tx: Connection,
    account_id: int,
    draft: Draft,
    compiled: CompiledInterest,
    channels: Sequence[int],
    subscription_id: int | None = None,
) -> int:
    """Stores a checked draft as a new subscription, or in place of an old one of the same account."""
    number = _shard_of(tx, account_id)
    values = {
        "name": draft.name, "for_whom": draft.for_whom, "query": draft.query, "interest": draft.interest,
        "trending": draft.trending, "min_upvotes": draft.min_upvotes, "sources": list(draft.sources),
        "volume": draft.volume, "cadence": draft.cadence, "weights": compiled.weights, "terms": compiled.terms,
        "threshold": compiled.threshold, "relaxed_thresholds": compiled.relaxed_thresholds,
        "calibrated_at": func.now() if compiled.weights else None,
        "model": compiled.model, "estimated": compiled.estimated, "error": compiled.error,
        "shard": number, "revision": next_revision(tx, number),
    }  # fmt: skip
    if subscription_id is None:
        _refuse_more(tx, account_id)
        new = insert(subscription).values(account_id=account_id, **values)
        subscription_id = tx.scalars(new.returning(subscription.c.id)).one()
    else:
        find(tx, subscription_id, account_id)
        anew = {**values, "watched_since": func.now(), "reminded_at": None}
        tx.execute(update(subscription).where(subscription.c.id == subscription_id).values(anew))
        digest_schedule.reschedule_all(tx, account_id, subscription_id)
    _set_examples(tx, subscription_id, draft)
    _set_channels(tx, account_id, subscription_id, channels)
    return int(subscription_id)


def change(tx: Connection, subscription_id: int, account_id: int, **values: Any) -> None:
    row = find(tx, subscription_id, account_id)
    revision = next_revision(tx, row["shard"])
    tx.execute(update(subscription).where(subscription.c.id == subscription_id).values(revision=revision, **values))


def remove(tx: Connection, subscription_id: int, account_id: int) -> None:
    """A deletion is a row with `deleted_at` and a number, so that matchers hear of it."""
    change(tx, subscription_id, account_id, deleted_at=func.now())


def find(tx: Connection, subscription_id: int, account_id: int | None = None) -> Row:
    wanted = and_(subscription.c.id == subscription_id, subscription.c.deleted_at.is_(None))
    if account_id is not None:
        wanted = and_(wanted, subscription.c.account_id == account_id)
    row = first(tx, select(subscription, account.c.email).join(account).where(wanted))
    if row is None:
        raise NotFound(f"no subscription {subscription_id}")
    return row


def all_of(tx: Connection, account_id: int | None = None) -> Sequence[Row]:
    query = select(subscription, account.c.email).join(account).where(subscription.c.deleted_at.is_(None))
    query = query.where(subscription.c.account_id == account_id) if account_id is not None else query
    return rows(tx, query.order_by(subscription.c.id))


def channels_of(tx: Connection, ids: Collection[int]) -> dict[int, list[tuple[int, str, str]]]:
    """Subscription → (channel, kind, label) of its living channels."""
    query = select(subscription_channel.c.subscription_id, channel.c.id, channel.c.kind, channel.c.label).join(
        channel, channel.c.id == subscription_channel.c.channel_id
    )
    found: dict[int, list[tuple[int, str, str]]] = {}
    for one, *rest in tx.execute(
        query.where(subscription_channel.c.subscription_id.in_(ids), channel.c.deleted_at.is_(None))
    ):
        found.setdefault(one, []).append((rest[0], rest[1], rest[2]))
    return found


def examples_of(tx: Connection, subscription_id: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids of the liked and of the disliked papers."""
    rows = tx.execute(select(interest_example).where(interest_example.c.subscription_id == subscription_id)).all()
    return tuple(r.paper_id for r in rows if r.liked), tuple(r.paper_id for r in rows if not r.liked)


def since(tx: Connection, number: int, revision: int) -> Iterator[Row]:
    """What was saved or deleted in a shard after `revision`, in order: what matching needs of a row.

    Rows are fetched as they are asked for, since a new worker reads all there are; weights come in binary form, for
    to read their digits would take most of its time.
    """
    newer = and_(subscription.c.shard == number, subscription.c.revision > revision)
    columns = [subscription.c[name] for name in _MATCHED_BY]
    query = select(*columns, func.vector_send(subscription.c.weights, type_=LargeBinary).label("weights"))
    query = query.where(newer).order_by(subscription.c.revision)
    for row in tx.execute(query, execution_options={"yield_per": AT_ONCE}).mappings():
        weights = row["weights"]
        # Two 16-bit numbers, of which the first is the dimension, and floats in the network's order.
        yield {**row, "weights": weights and np.frombuffer(weights, ">f4", offset=4).astype(np.float32)}


def note_error(tx: Connection, subscription_id: int, error: str) -> None:
    """Shows an owner what keeps the subscription from matching; no new revision, since nothing changes."""
    tx.execute(update(subscription).where(subscription.c.id == subscription_id).values(error=error))


def pause(tx: Connection, subscription_id: int, account_id: int, until: datetime | None) -> None:
    """Pauses until a moment, or resumes (None); what waits already is held back too, or told at the usual time."""
    change(tx, subscription_id, account_id, paused_until=until, watched_since=func.now(), reminded_at=None)
    digest_schedule.reschedule_all(tx, account_id, subscription_id)


def matched_papers(tx: Connection, account_id: int) -> set[int]:
    """Papers that the account's living subscriptions have matched."""
    query = select(match.c.paper_id).join(subscription, subscription.c.id == match.c.subscription_id)
    return set(tx.scalars(query.where(match.c.account_id == account_id, subscription.c.deleted_at.is_(None))))


def upvote_steps(tx: Connection) -> frozenset[int]:
    """The `min_upvotes` in use."""
    living = and_(subscription.c.deleted_at.is_(None), subscription.c.min_upvotes > 0)
    return frozenset(tx.scalars(select(subscription.c.min_upvotes).where(living).distinct()))


def _shard_of(tx: Connection, account_id: int) -> int:
    return account_id % tx.scalars(select(func.count()).select_from(shard)).one()


def _refuse_more(tx: Connection, account_id: int) -> None:
    living = and_(subscription.c.account_id == account_id, subscription.c.deleted_at.is_(None))
    if tx.scalars(select(func.count()).where(living)).one() >= MAX_PER_ACCOUNT:
        raise ConfigError(f"an account has at most {MAX_PER_ACCOUNT} subscriptions; delete one first")


def _set_examples(tx: Connection, subscription_id: int, draft: Draft) -> None:
    merging.lock_against_merges(tx)
    now = merging.current_ids(tx, {*draft.liked, *draft.disliked})
    tx.execute(delete(interest_example).where(interest_example.c.subscription_id == subscription_id))
    verdicts = {now.get(one, one): one in draft.liked for one in (*draft.disliked, *draft.liked)}
    if verdicts:
        rows = [
            {"subscription_id": subscription_id, "paper_id": one, "liked": liked} for one, liked in verdicts.items()
        ]
        tx.execute(insert(interest_example), rows)


def _set_channels(tx: Connection, account_id: int, subscription_id: int, channels: Sequence[int]) -> None:
    tx.execute(delete(subscription_channel).where(subscription_channel.c.subscription_id == subscription_id))
    rows = [
        {"account_id": account_id, "subscription_id": subscription_id, "channel_id": one}
        for one in dict.fromkeys(channels)
    ]
    if rows:
        tx.execute(insert(subscription_channel), rows)
