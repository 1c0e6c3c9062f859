"""Nightly retention, in small batches.

Never deletes papers, their identifiers, or the rows that prevent duplicate alerts: the matches of existing
subscriptions and the items of existing channels.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Select,
    Table,
    Update,
    and_,
    case,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
    update,
)

from services.domain.delivery.retention import (
    LINKS_KEPT_FOR,
    RECORDS_KEPT_FOR,
    UNCONFIRMED_KEPT_FOR,
    UNREADABLE_KEPT_FOR,
)
from services.store.accounts import sessions
from services.store.db.tables import (
    account,
    bounce,
    change_log,
    channel,
    confirmation,
    delivery,
    delivery_item,
    event,
    invitation,
    link_request,
    listing,
    match,
    match_job,
    quarantine,
    rate_limit,
    run,
    sentence_vector,
    session,
    signin_link,
    source,
    subscription,
)
from services.store.interests import embedding_models

BATCH_SIZE = 500
IDLE_RATE_LIMIT = timedelta(days=1)
"""The rate limit of a channel is deleted when it has not been used for this time."""
Step = Callable[[Connection, datetime, timedelta], int]
_FINISHED = and_(delivery.c.next_attempt_at.is_(None), delivery.c.state.in_(["sent", "dead", "cancelled", "uncertain"]))


def clear_rendered_messages(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Clears the bytes of finished messages; a later resend renders them again."""
    is_finished = and_(delivery.c.state.in_(["sent", "dead", "cancelled"]), delivery.c.created_at < now - keep)
    batch = _batch(delivery, and_(is_finished, delivery.c.rendered.is_not(None)))
    return _row_count(tx, update(delivery).where(delivery.c.id.in_(batch)).values(rendered=None, bytes_final=False))


def delete_events(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Deletes events that were matched in every shard. Runs stay, since matches refer to them.

    The events of quarantined papers stay, so that these can be matched later.
    """
    matched = select(run.c.id).where(run.c.matched_at < now - keep)
    key = (event.c.run_id, event.c.paper_id, event.c.what)
    is_quarantined = exists().where(quarantine.c.paper_id == event.c.paper_id)
    batch = select(*key).where(event.c.run_id.in_(matched), ~is_quarantined).limit(BATCH_SIZE)
    return _row_count(tx, delete(event).where(tuple_(*key).in_(batch)))


def delete_match_jobs(tx: Connection, now: datetime, keep: timedelta) -> int:
    matched = select(run.c.id).where(run.c.matched_at < now - keep)
    key = (match_job.c.run_id, match_job.c.shard)
    is_done = and_(match_job.c.run_id.in_(matched), match_job.c.done_at.is_not(None))
    return _row_count(tx, delete(match_job).where(tuple_(*key).in_(select(*key).where(is_done).limit(BATCH_SIZE))))


def delete_listings(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Deletes finished listings. Each source keeps the last one that was read: it shows that the first poll is over."""
    later = listing.alias()
    is_superseded = exists().where(
        later.c.source_id == listing.c.source_id,
        later.c.id > listing.c.id,
        later.c.done_at.is_not(None),
        or_(later.c.error == "", listing.c.error != ""),
    )
    return _delete(tx, listing, and_(listing.c.done_at < now - keep, is_superseded))


def drop_unreadable_bodies(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Drops the bytes of listings that could not be read."""
    is_old = and_(listing.c.done_at < now - UNREADABLE_KEPT_FOR, listing.c.body.is_not(None))
    return _row_count(tx, update(listing).where(listing.c.id.in_(_batch(listing, is_old))).values(body=None))


def drop_unconfirmed_items(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Drops items that waited for an address whose owner did not confirm it."""
    is_unconfirmed = exists().where(channel.c.id == delivery_item.c.channel_id, ~channel.c.verified)
    is_waiting = and_(delivery_item.c.delivery_id.is_(None), delivery_item.c.dropped_because == "")
    batch = _batch(
        delivery_item, and_(is_waiting, delivery_item.c.not_before < now - UNCONFIRMED_KEPT_FOR, is_unconfirmed)
    )
    because = f"the address was not confirmed for {UNCONFIRMED_KEPT_FOR.days} days"
    return _row_count(tx, update(delivery_item).where(delivery_item.c.id.in_(batch)).values(dropped_because=because))


def delete_deliveries(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Deletes old deliveries. Their items stay, with a text about their outcome, so that no paper is sent again."""
    ids = list(tx.scalars(_batch(delivery, and_(_FINISHED, delivery.c.created_at < now - RECORDS_KEPT_FOR))))
    if not ids:
        return 0
    outcome = case((delivery.c.state.in_(["sent", "uncertain"]), "sent on "), else_="not delivered on ")
    day = func.to_char(delivery.c.created_at, "YYYY-MM-DD")
    because = select(func.concat(outcome, day, "; its record is no longer kept"))
    because = because.where(delivery.c.id == delivery_item.c.delivery_id)
    reason = case(
        (delivery_item.c.dropped_because == "", because.scalar_subquery()), else_=delivery_item.c.dropped_because
    )
    tx.execute(
        update(delivery_item)
        .where(delivery_item.c.delivery_id.in_(ids))
        .values(dropped_because=reason, delivery_id=None)
    )
    return _row_count(tx, delete(delivery).where(delivery.c.id.in_(ids)))


def delete_items(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Deletes the items of channels that were removed long ago."""
    is_gone = exists().where(channel.c.id == delivery_item.c.channel_id, channel.c.deleted_at < now - RECORDS_KEPT_FOR)
    return _delete(tx, delivery_item, and_(is_gone, delivery_item.c.delivery_id.is_(None)))


def delete_matches(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Deletes the matches of subscriptions that were deleted long ago."""
    is_gone = exists().where(
        subscription.c.id == match.c.subscription_id, subscription.c.deleted_at < now - RECORDS_KEPT_FOR
    )
    return _delete(tx, match, is_gone)


def delete_confirmations(tx: Connection, now: datetime, keep: timedelta) -> int:
    return _delete(tx, confirmation, confirmation.c.created_at < now - LINKS_KEPT_FOR)


def delete_link_requests(tx: Connection, now: datetime, keep: timedelta) -> int:
    return _delete(tx, link_request, link_request.c.created_at < now - LINKS_KEPT_FOR)


def delete_invitations(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Deletes the invitations that can no longer be used, with their links."""
    is_over = or_(invitation.c.used_at < now - keep, invitation.c.revoked_at < now - keep)
    return _delete(tx, invitation, or_(is_over, invitation.c.expires_at < now - keep))


def delete_signin_links(tx: Connection, now: datetime, keep: timedelta) -> int:
    is_expired = signin_link.c.expires_at < now - LINKS_KEPT_FOR
    batch = select(signin_link.c.digest).where(is_expired).limit(BATCH_SIZE)
    return _row_count(tx, delete(signin_link).where(signin_link.c.digest.in_(batch)))


def delete_change_log(tx: Connection, now: datetime, keep: timedelta) -> int:
    """`keep`: PAPERWIRE_CHANGE_LOG_RETENTION."""
    return _delete(tx, change_log, change_log.c.created_at < now - keep)


def delete_accounts(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Deletes one account, with everything that is its own, whose owner asked for it long enough ago."""
    due = select(account.c.id).where(account.c.delete_at <= now).order_by(account.c.delete_at).limit(1)
    return _row_count(tx, delete(account).where(account.c.id.in_(due)))


def delete_sessions(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Deletes the sessions that ended, and those whose time is over."""
    is_over = or_(session.c.ended_at < now - keep, session.c.created_at < now - keep - sessions.LIFETIME)
    return _delete(tx, session, is_over)


def delete_bounces(tx: Connection, now: datetime, keep: timedelta) -> int:
    return _delete(tx, bounce, bounce.c.created_at < now - RECORDS_KEPT_FOR)


def delete_rate_limits(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Deletes the idle rate limits of channels, since each claim reads all rows. A missing row limits nothing."""
    of_sources = select(source.c.rate_limit_key).where(source.c.rate_limit_key.is_not(None))
    is_idle = and_(
        rate_limit.c.key.contains(":"),
        rate_limit.c.available_at < now - IDLE_RATE_LIMIT,
        rate_limit.c.key.not_in(of_sources),
    )
    batch = select(rate_limit.c.key).where(is_idle).limit(BATCH_SIZE)
    return _row_count(tx, delete(rate_limit).where(rate_limit.c.key.in_(batch)))


def delete_unused_vectors(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Deletes vectors of models that no interest uses."""
    return embedding_models.delete_unused(tx)


def delete_sentence_vectors(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Deletes the sentence vectors of papers that were matched long ago, whose messages are sent."""
    key = (sentence_vector.c.paper_id, sentence_vector.c.model)
    batch = select(*key).where(sentence_vector.c.created_at < now - keep).limit(BATCH_SIZE)
    return _row_count(tx, delete(sentence_vector).where(tuple_(*key).in_(batch)))


STEPS: tuple[Step, ...] = (
    delete_accounts,
    clear_rendered_messages,
    delete_events,
    delete_match_jobs,
    delete_listings,
    drop_unreadable_bodies,
    drop_unconfirmed_items,
    delete_deliveries,
    delete_items,
    delete_matches,
    delete_confirmations,
    delete_link_requests,
    delete_invitations,
    delete_signin_links,
    delete_sessions,
    delete_change_log,
    delete_bounces,
    delete_rate_limits,
    delete_sentence_vectors,
    delete_unused_vectors,
)


def _batch(table: Table, where: ColumnElement[bool]) -> Select[tuple[int]]:
    return select(table.c.id).where(where).order_by(table.c.id).limit(BATCH_SIZE)


def _delete(tx: Connection, table: Table, where: ColumnElement[bool]) -> int:
    return _row_count(tx, delete(table).where(table.c.id.in_(_batch(table, where))))


def _row_count(tx: Connection, statement: Delete | Update) -> int:
    return int(tx.execute(statement).rowcount)
