"""Due work: which stages have rows that no worker works on. The sweep wakes these stages."""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select

from services.domain.delivery.state_machine import KEPT_FOR_DISABLED_CHANNEL
from services.store.accounts import invitations, link_requests
from services.store.db import circuit_breaker, rate_limits
from services.store.db.tables import (
    batch,
    channel,
    delivery,
    delivery_item,
    invitation,
    link_request,
    listing,
    match,
    match_job,
    run,
    source,
    subscription,
    transport,
)
from services.store.delivery import claims, digest_schedule, items, message_updates
from services.store.interests import (
    embedder_health,
    embedding_backlog,
    embedding_models,
    sentence_vectors,
    thresholds,
)
from services.store.papers import search_index
from services.store.sources import batches, listings, sources
from services.store.subscriptions import match_runs, matches, reminders


def stages_with_work(tx: Connection, now: datetime, scale: float, *models: str) -> list[str]:
    """The stages of `workers/tasks.py` that have due rows; `match.N` for each shard N.

    `models` are the embedding models in use, the serving one first.
    """
    is_due: dict[str, ColumnElement[bool]] = {
        "poll": exists(select(source.c.id).where(sources.due(now))),
        "ingest": exists(select(listing.c.id).where(listings.due(now))),
        "embed": exists(select(run.c.id).where(match_runs.is_unembedded(now))),
        "notify": exists(select(match.c.id).where(matches.is_group_complete(now, scale))),
        "slow": _is_upkeep_due(now, models),
    }
    row = tx.execute(select(*(question.label(stage) for stage, question in is_due.items()))).mappings().one()
    shards = tx.scalars(select(match_job.c.shard).where(match_runs.is_unmatched(now)).distinct())
    due = [stage for stage in is_due if row[stage]] + [f"match.{shard}" for shard in shards]
    return [*due, "deliver"] if _is_delivery_due(tx, now, scale) else due


def _is_upkeep_due(now: datetime, models: tuple[str, ...]) -> ColumnElement[bool]:
    serving = models[0]
    return or_(
        *(
            and_(
                or_(embedding_backlog.any_waiting(model), embedding_models.unready(model)),
                ~embedder_health.retry_pending(model, now),
            )
            for model in models
        ),
        exists(select(batch.c.id).where(batches.look_back_due(now))),
        and_(thresholds.any_waiting_for_embedder(serving), ~embedder_health.retry_pending(serving, now)),
        search_index.any_unindexed(),
        *(and_(sentence_vectors.any_wanted(model), ~embedder_health.retry_pending(model, now)) for model in models),
        rate_limits.available("bounces", now),
        exists(select(subscription.c.id).where(reminders.is_due(now))),
        rate_limits.available("clean-up", now),
        exists(select(subscription.c.id).where(thresholds.uncalibrated(now), subscription.c.model == serving)),
    )


def _is_delivery_due(tx: Connection, now: datetime, scale: float) -> bool:
    questions = (
        exists(select(channel.c.id).where(digest_schedule.is_due(now))),
        exists(select(delivery_item.c.id).where(items.is_due(now))),
        exists(select(link_request.c.id).where(link_requests.is_due(now))),
        exists(select(invitation.c.id).where(invitations.is_due(now))),
        exists(select(delivery.c.id).where(claims.sendable(now))),
        exists(select(delivery.c.id).where(claims.is_expired(now))),
        exists(select(transport.c.key).where(circuit_breaker.probes_due(now))),
        exists(select(delivery.c.id).where(message_updates.is_check_due(now))),
        exists(select(channel.c.id).where(message_updates.is_given_up(now, KEPT_FOR_DISABLED_CHANNEL * scale))),
    )
    return any(tx.scalars(select(question)).one() for question in questions)
