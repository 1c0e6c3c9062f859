"""Which stages have rows that nobody works on: what the sweep wakes."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, exists, or_, select

from services.domain.delivery import DISABLED_FOR
from services.store import (
    backlog,
    channels,
    deliveries,
    embedding,
    followed,
    ledger,
    matches,
    pace,
    reminders,
    runs,
    sending,
    sentences,
    slots,
    sources,
    subscriptions,
    words,
)
from services.store.models import unready
from services.store.tables import (
    batch,
    channel,
    delivery,
    delivery_item,
    listing,
    match,
    match_job,
    run,
    source,
    subscription,
    transport,
)


def stages(tx: Connection, now: datetime, scale: float, *models: str) -> list[str]:
    """Names of the queues' work, as `workers.tasks` knows it; `match.N` for each shard that has a job.

    `models` are in use, the first one serves.
    """
    questions: dict[str, Any] = {
        "poll": exists(select(source.c.id).where(sources.due(now))),
        "ingest": exists(select(listing.c.id).where(sources.listing_due(now))),
        "embed": exists(select(run.c.id).where(runs.unembedded(now))),
        "notify": exists(select(match.c.id).where(matches.closed(now, scale))),
        "slow": or_(
            *(and_(or_(backlog.waiting(one), unready(one)), ~embedding.rests(one, now)) for one in models),
            exists(select(batch.c.id).where(ledger.gaps_due(now))),
            and_(subscriptions.any_waiting_for_embedder(models[0]), ~embedding.rests(models[0], now)),
            words.any_lacking(),
            *(and_(sentences.any_wanted(one), ~embedding.rests(one, now)) for one in models),
            pace.is_open("bounces", now),
            exists(select(subscription.c.id).where(reminders.due(now))),
            pace.is_open("clean-up", now),
            exists(select(subscription.c.id).where(subscriptions.uncalibrated(now), subscription.c.model == models[0])),
        ),
    }
    answers = tx.execute(select(*(question.label(name) for name, question in questions.items()))).mappings().one()
    shards = tx.scalars(select(match_job.c.shard).where(runs.unmatched(now)).distinct())
    due = [name for name, yes in answers.items() if yes] + [f"match.{number}" for number in shards]
    return [*due, "deliver"] if _deliver_due(tx, now, scale) else due


def _deliver_due(tx: Connection, now: datetime, scale: float) -> bool:
    questions = (
        exists(select(channel.c.id).where(slots.due(now))),
        exists(select(delivery_item.c.id).where(deliveries.items_due(now))),
        exists(select(delivery.c.id).where(sending.sendable(now))),
        exists(select(delivery.c.id).where(sending.expired(now))),
        exists(select(transport.c.key).where(channels.checks_due(now))),
        exists(select(delivery.c.id).where(followed.due(now))),
        exists(select(channel.c.id).where(followed.given_up(now, DISABLED_FOR * scale))),
    )
    return any(tx.scalars(select(question)).one() for question in questions)
