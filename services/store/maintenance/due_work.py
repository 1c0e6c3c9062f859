"""Which stages have rows that nobody works on: what the sweep wakes."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, exists, or_, select

from services.domain.delivery.state_machine import KEPT_FOR_DISABLED_CHANNEL
from services.store.db import circuit_breaker, rate_limits
from services.store.db.tables import (
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
from services.store.delivery import claims, digest_schedule, items, message_updates
from services.store.interests import embedder_health, embedding_backlog, sentence_vectors, thresholds
from services.store.interests.embedding_models import unready
from services.store.papers import search_index
from services.store.sources import batches, listings, sources
from services.store.subscriptions import match_runs, matches, reminders


def stages_with_work(tx: Connection, now: datetime, scale: float, *models: str) -> list[str]:
    """Names of the queues' work, as `workers.tasks` knows it; `match.N` for each shard that has a job.

    `models` are in use, the first one serves.
    """
    questions: dict[str, Any] = {
        "poll": exists(select(source.c.id).where(sources.due(now))),
        "ingest": exists(select(listing.c.id).where(listings.due(now))),
        "embed": exists(select(run.c.id).where(match_runs.is_unembedded(now))),
        "notify": exists(select(match.c.id).where(matches.is_group_complete(now, scale))),
        "slow": or_(
            *(
                and_(or_(embedding_backlog.any_waiting(one), unready(one)), ~embedder_health.retry_pending(one, now))
                for one in models
            ),
            exists(select(batch.c.id).where(batches.look_back_due(now))),
            and_(thresholds.any_waiting_for_embedder(models[0]), ~embedder_health.retry_pending(models[0], now)),
            search_index.any_unindexed(),
            *(and_(sentence_vectors.any_wanted(one), ~embedder_health.retry_pending(one, now)) for one in models),
            rate_limits.available("bounces", now),
            exists(select(subscription.c.id).where(reminders.is_due(now))),
            rate_limits.available("clean-up", now),
            exists(select(subscription.c.id).where(thresholds.uncalibrated(now), subscription.c.model == models[0])),
        ),
    }
    answers = tx.execute(select(*(question.label(name) for name, question in questions.items()))).mappings().one()
    shards = tx.scalars(select(match_job.c.shard).where(match_runs.is_unmatched(now)).distinct())
    due = [name for name, yes in answers.items() if yes] + [f"match.{number}" for number in shards]
    return [*due, "deliver"] if _deliver_due(tx, now, scale) else due


def _deliver_due(tx: Connection, now: datetime, scale: float) -> bool:
    questions = (
        exists(select(channel.c.id).where(digest_schedule.is_due(now))),
        exists(select(delivery_item.c.id).where(items.is_due(now))),
        exists(select(delivery.c.id).where(claims.sendable(now))),
        exists(select(delivery.c.id).where(claims.is_expired(now))),
        exists(select(transport.c.key).where(circuit_breaker.probes_due(now))),
        exists(select(delivery.c.id).where(message_updates.is_check_due(now))),
        exists(select(channel.c.id).where(message_updates.is_given_up(now, KEPT_FOR_DISABLED_CHANNEL * scale))),
    )
    return any(tx.scalars(select(question)).one() for question in questions)
