"""Subscriptions. Each save takes the next revision of its shard, by which workers find what they have not read yet."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, LargeBinary, and_, delete, func, insert, select, true, update

from services.domain.interests.calibration import CompiledInterest
from services.domain.subscriptions.draft import Draft
from services.errors import ConfigError, NotFound
from services.settings import settings
from services.store.db import change_log
from services.store.db.records import columns_for, fetch_all, fetch_first, field_names
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
from services.store.subscriptions.records import (
    SubscribedChannel,
    Subscription,
    SubscriptionChange,
    SubscriptionWithEmail,
)

FETCH_SIZE = 2000
"""Rows that a new worker fetches at a time."""


def save(
    tx: Connection,
    account_id: int,
    draft: Draft,
    compiled: CompiledInterest,
    channels: Sequence[int],
    subscription_id: int | None = None,
) -> int:
    """Stores a checked draft as a new subscription, or in place of `subscription_id`, which must be the account's."""
    number = account_id % tx.scalars(select(func.count()).select_from(shard)).one()
    values = {
        "name": draft.name, "for_whom": draft.for_whom, "query": draft.query, "interest": draft.interest,
        "trending": draft.trending, "min_upvotes": draft.min_upvotes, "sources": list(draft.sources),
        "volume": draft.volume if draft.has_interest else "", "best": "" if draft.has_interest else draft.volume,
        "wide": draft.wide, "cadence": draft.cadence,
        "weights": compiled.weights, "terms": compiled.terms, "threshold": compiled.threshold,
        "relaxed_thresholds": compiled.relaxed_thresholds,
        "calibrated_at": func.now() if compiled.weights else None,
        "model": compiled.model, "estimated": compiled.estimated, "error": compiled.error,
        "shard": number, "revision": next_revision(tx, number),
    }  # fmt: skip
    if subscription_id is None:
        _check_room(tx, account_id)
        new = insert(subscription).values(account_id=account_id, **values)
        subscription_id = int(tx.scalars(new.returning(subscription.c.id)).one())
        change_log.record(tx, account_id, "subscribed", draft.name)
    else:
        before = find(tx, subscription_id, account_id)
        _record_change(tx, before, draft)
        values |= {"watched_since": func.now(), "reminded_at": None}
        tx.execute(update(subscription).where(subscription.c.id == subscription_id).values(values))
        digest_schedule.reschedule_all(tx, account_id, subscription_id)
    _set_examples(tx, subscription_id, draft)
    _set_channels(tx, account_id, subscription_id, channels)
    return subscription_id


def change(tx: Connection, subscription_id: int, account_id: int, **values: Any) -> None:
    number = find(tx, subscription_id, account_id).shard
    revision = next_revision(tx, number)
    tx.execute(update(subscription).where(subscription.c.id == subscription_id).values(revision=revision, **values))


def remove(tx: Connection, subscription_id: int, account_id: int) -> None:
    """Marks the subscription as deleted. The row keeps a new revision, so that matching reads the deletion."""
    change_log.record(tx, account_id, "deleted the subscription", find(tx, subscription_id, account_id).name)
    change(tx, subscription_id, account_id, deleted_at=func.now())


def pause(tx: Connection, subscription_id: int, account_id: int, until: datetime | None) -> None:
    """Pauses until a moment, or resumes (None). Items that wait already are rescheduled."""
    step = "paused the subscription" if until else "resumed the subscription"
    change_log.record(tx, account_id, step, find(tx, subscription_id, account_id).name)
    change(tx, subscription_id, account_id, paused_until=until, watched_since=func.now(), reminded_at=None)
    digest_schedule.reschedule_all(tx, account_id, subscription_id)


def set_error(tx: Connection, subscription_id: int, error: str) -> None:
    """Shows the owner why the subscription does not match. The revision stays, since matching does not change."""
    tx.execute(update(subscription).where(subscription.c.id == subscription_id).values(error=error))


def find(tx: Connection, subscription_id: int, account_id: int | None = None) -> SubscriptionWithEmail:
    """The undeleted subscription. Raises NotFound, also for the subscription of another account."""
    query = (
        select(*columns_for(subscription, SubscriptionWithEmail), account.c.email)
        .join(account)
        .where(
            subscription.c.id == subscription_id,
            subscription.c.deleted_at.is_(None),
            subscription.c.account_id == account_id if account_id is not None else true(),
        )
    )
    row = fetch_first(tx, SubscriptionWithEmail, query)
    if row is None:
        raise NotFound(f"no subscription {subscription_id}")
    return row


def list_all(tx: Connection, account_id: int | None = None) -> list[SubscriptionWithEmail]:
    """The undeleted subscriptions of one account or of all."""
    query = (
        select(*columns_for(subscription, SubscriptionWithEmail), account.c.email)
        .join(account)
        .where(
            subscription.c.deleted_at.is_(None),
            subscription.c.account_id == account_id if account_id is not None else true(),
        )
        .order_by(subscription.c.id)
    )
    return fetch_all(tx, SubscriptionWithEmail, query)


def channels_of(tx: Connection, ids: Collection[int]) -> dict[int, list[SubscribedChannel]]:
    """The undeleted channels of each subscription that has any."""
    query = (
        select(subscription_channel.c.subscription_id, channel.c.id, channel.c.kind, channel.c.label)
        .join(channel, channel.c.id == subscription_channel.c.channel_id)
        .where(subscription_channel.c.subscription_id.in_(ids), channel.c.deleted_at.is_(None))
    )
    channels = defaultdict[int, list[SubscribedChannel]](list)
    for subscription_id, *values in tx.execute(query):
        channels[subscription_id].append(SubscribedChannel(*values))
    return dict(channels)


def examples_of(tx: Connection, subscription_id: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids of the liked and of the disliked papers."""
    examples = tx.execute(select(interest_example).where(interest_example.c.subscription_id == subscription_id)).all()
    liked = tuple(example.paper_id for example in examples if example.liked)
    return liked, tuple(example.paper_id for example in examples if not example.liked)


def draft_of(tx: Connection, row: Subscription) -> Draft:
    """The stored subscription as the draft that it was saved from."""
    liked, disliked = examples_of(tx, row.id)
    return Draft(
        name=row.name,
        for_whom=row.for_whom,
        query=row.query,
        interest=row.interest,
        liked=liked,
        disliked=disliked,
        trending=row.trending,
        volume=row.volume or row.best,
        wide=row.wide,
        sources=tuple(row.sources),
        min_upvotes=row.min_upvotes,
        cadence=row.cadence,
    )


def changed_since(tx: Connection, number: int, revision: int) -> Iterator[SubscriptionChange]:
    """Subscriptions of shard `number` that were saved or deleted after `revision`, by ascending revision.

    Uses `ix_subscription_freshness`. A new worker reads all subscriptions, so rows are fetched in parts, and weights
    come in binary form: parsing them as text would take most of the time.
    """
    columns = [
        func.vector_send(column, type_=LargeBinary) if column is subscription.c.weights else column
        for column in columns_for(subscription, SubscriptionChange)
    ]
    query = (
        select(*columns)
        .where(subscription.c.shard == number, subscription.c.revision > revision)
        .order_by(subscription.c.revision)
    )
    weights_at = field_names(SubscriptionChange).index("weights")
    for row in tx.execute(query, execution_options={"yield_per": FETCH_SIZE}):
        values = list(row)
        if values[weights_at] is not None:
            # The binary form is two 16-bit numbers, the first of which is the dimension, then floats in network order.
            values[weights_at] = np.frombuffer(values[weights_at], ">f4", offset=4).astype(np.float32)
        yield SubscriptionChange(*values)


def matched_papers(tx: Connection, account_id: int, without: int | None = None) -> set[int]:
    """Papers that the account's undeleted subscriptions have matched, those of the subscription `without` left out."""
    query = (
        select(match.c.paper_id)
        .join(subscription, subscription.c.id == match.c.subscription_id)
        .where(
            match.c.account_id == account_id,
            subscription.c.deleted_at.is_(None),
            subscription.c.id != (without or 0),
        )
    )
    return set(tx.scalars(query))


def min_upvotes_in_use(tx: Connection) -> frozenset[int]:
    """The different values of `min_upvotes` above 0 of undeleted subscriptions."""
    undeleted = and_(subscription.c.deleted_at.is_(None), subscription.c.min_upvotes > 0)
    return frozenset(tx.scalars(select(subscription.c.min_upvotes).where(undeleted).distinct()))


def _record_change(tx: Connection, before: Subscription, draft: Draft) -> None:
    stored = draft_of(tx, before)
    changed = [field.name for field in fields(Draft) if getattr(stored, field.name) != getattr(draft, field.name)]
    detail = f"{draft.name}: {', '.join(changed).replace('_', ' ')}" if changed else draft.name
    change_log.record(tx, before.account_id, "changed the subscription", detail)


def _check_room(tx: Connection, account_id: int) -> None:
    undeleted = and_(subscription.c.account_id == account_id, subscription.c.deleted_at.is_(None))
    most = settings().max_subscriptions
    if tx.scalars(select(func.count()).where(undeleted)).one() >= most:
        raise ConfigError(f"an account has at most {most} subscriptions; delete one first")


def _set_examples(tx: Connection, subscription_id: int, draft: Draft) -> None:
    merging.lock_against_merges(tx)
    current = merging.current_ids(tx, {*draft.liked, *draft.disliked})
    tx.execute(delete(interest_example).where(interest_example.c.subscription_id == subscription_id))
    # A paper that is named as both, perhaps because of a merge, is a liked one.
    liked = {current.get(paper_id, paper_id): False for paper_id in draft.disliked}
    liked |= {current.get(paper_id, paper_id): True for paper_id in draft.liked}
    if liked:
        examples = [
            {"subscription_id": subscription_id, "paper_id": paper_id, "liked": is_liked}
            for paper_id, is_liked in liked.items()
        ]
        tx.execute(insert(interest_example), examples)


def _set_channels(tx: Connection, account_id: int, subscription_id: int, channels: Sequence[int]) -> None:
    tx.execute(delete(subscription_channel).where(subscription_channel.c.subscription_id == subscription_id))
    links = [
        {"account_id": account_id, "subscription_id": subscription_id, "channel_id": channel_id}
        for channel_id in dict.fromkeys(channels)
    ]
    if links:
        tx.execute(insert(subscription_channel), links)
