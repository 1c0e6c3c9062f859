"""What is deleted in the night, a small batch a transaction. Papers, their names and the guards against telling one
twice (the matches of living subscriptions, the items of living channels) are never among it."""

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
    select,
    tuple_,
    update,
)

from services.domain.delivery.retention import KEPT_FOR, LINKS_KEPT_FOR, UNCONFIRMED_KEPT_FOR
from services.store.db.tables import (
    bounce,
    channel,
    confirmation,
    delivery,
    delivery_item,
    event,
    listing,
    match,
    match_job,
    quarantine,
    rate_limit,
    run,
    sentence_vector,
    signin_link,
    source,
    subscription,
)
from services.store.interests import embedding_models

BATCH = 500
IDLE_GATE = timedelta(days=1)
Step = Callable[[Connection, datetime, timedelta], int]
_FINISHED = and_(delivery.c.next_attempt_at.is_(None), delivery.c.state.in_(["sent", "dead", "cancelled", "uncertain"]))


def rendered(tx: Connection, now: datetime, keep: timedelta) -> int:
    """The bytes of finished messages; a replay after that renders them anew."""
    over = and_(delivery.c.state.in_(["sent", "dead", "cancelled"]), delivery.c.created_at < now - keep)
    found = _batch(delivery, and_(over, delivery.c.rendered.is_not(None)))
    return _done(tx, update(delivery).where(delivery.c.id.in_(found)).values(rendered=None, bytes_final=False))


def events(tx: Connection, now: datetime, keep: timedelta) -> int:
    """What happened to papers, once every subscription was matched against it; runs stay, matches name them.

    Of papers set aside it stays, for the day they are put back.
    """
    matched = select(run.c.id).where(run.c.matched_at < now - keep)
    key = (event.c.run_id, event.c.paper_id, event.c.what)
    aside = exists().where(quarantine.c.paper_id == event.c.paper_id)
    found = select(*key).where(event.c.run_id.in_(matched), ~aside).limit(BATCH)
    return _done(tx, delete(event).where(tuple_(*key).in_(found)))


def jobs(tx: Connection, now: datetime, keep: timedelta) -> int:
    matched = select(run.c.id).where(run.c.matched_at < now - keep)
    key = (match_job.c.run_id, match_job.c.shard)
    over = and_(match_job.c.run_id.in_(matched), match_job.c.done_at.is_not(None))
    return _done(tx, delete(match_job).where(tuple_(*key).in_(select(*key).where(over).limit(BATCH))))


def listings(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Of listings that were read, all but each source's last: one shows that its first poll is over."""
    later = listing.alias()
    has_later = exists().where(
        later.c.source_id == listing.c.source_id, later.c.id > listing.c.id, later.c.done_at.is_not(None)
    )
    return _delete(tx, listing, and_(listing.c.done_at < now - keep, has_later))


def unanswered(tx: Connection, now: datetime, keep: timedelta) -> int:
    """What waited for an address that did not confirm."""
    asked = exists().where(channel.c.id == delivery_item.c.channel_id, ~channel.c.verified)
    waits = and_(delivery_item.c.delivery_id.is_(None), delivery_item.c.dropped_because == "")
    found = _batch(delivery_item, and_(waits, delivery_item.c.not_before < now - UNCONFIRMED_KEPT_FOR, asked))
    because = f"the address was not confirmed for {UNCONFIRMED_KEPT_FOR.days} days"
    return _done(tx, update(delivery_item).where(delivery_item.c.id.in_(found)).values(dropped_because=because))


def deliveries(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Records of long ago. Their items stay, and say what became of them, so that no paper comes again."""
    found = list(tx.scalars(_batch(delivery, and_(_FINISHED, delivery.c.created_at < now - KEPT_FOR))))
    if not found:
        return 0
    told = case((delivery.c.state.in_(["sent", "uncertain"]), "told on "), else_="not delivered on ")
    day = func.to_char(delivery.c.created_at, "YYYY-MM-DD")
    because = select(func.concat(told, day, "; its record is no longer kept"))
    because = because.where(delivery.c.id == delivery_item.c.delivery_id)
    mine = delivery_item.c.delivery_id.in_(found)
    left = case(
        (delivery_item.c.dropped_because == "", because.scalar_subquery()), else_=delivery_item.c.dropped_because
    )
    tx.execute(update(delivery_item).where(mine).values(dropped_because=left, delivery_id=None))
    return _done(tx, delete(delivery).where(delivery.c.id.in_(found)))


def items(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Of channels that were removed long ago: no message can go there any more."""
    gone = exists().where(channel.c.id == delivery_item.c.channel_id, channel.c.deleted_at < now - KEPT_FOR)
    return _delete(tx, delivery_item, and_(gone, delivery_item.c.delivery_id.is_(None)))


def matches(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Of subscriptions that were deleted long ago: nothing matches them any more."""
    gone = exists().where(subscription.c.id == match.c.subscription_id, subscription.c.deleted_at < now - KEPT_FOR)
    return _delete(tx, match, gone)


def questions(tx: Connection, now: datetime, keep: timedelta) -> int:
    return _delete(tx, confirmation, confirmation.c.created_at < now - LINKS_KEPT_FOR)


def links(tx: Connection, now: datetime, keep: timedelta) -> int:
    over = signin_link.c.expires_at < now - LINKS_KEPT_FOR
    found = select(signin_link.c.digest).where(over).limit(BATCH)
    return _done(tx, delete(signin_link).where(signin_link.c.digest.in_(found)))


def bounces(tx: Connection, now: datetime, keep: timedelta) -> int:
    return _delete(tx, bounce, bounce.c.created_at < now - KEPT_FOR)


def gates(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Those of channels nobody has posted to lately: one that is not there is open, and each claim reads them all."""
    of_sources = select(source.c.rate_limit_key).where(source.c.rate_limit_key.is_not(None))
    idle = and_(
        rate_limit.c.key.contains(":"), rate_limit.c.available_at < now - IDLE_GATE, rate_limit.c.key.not_in(of_sources)
    )
    return _done(tx, delete(rate_limit).where(rate_limit.c.key.in_(select(rate_limit.c.key).where(idle).limit(BATCH))))


def vectors(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Of models that no interest stands on any more."""
    return embedding_models.delete_unused(tx)


def sentences(tx: Connection, now: datetime, keep: timedelta) -> int:
    """Vectors of the sentences of papers that were matched long ago: their messages are out."""
    key = (sentence_vector.c.paper_id, sentence_vector.c.model)
    found = select(*key).where(sentence_vector.c.created_at < now - keep).limit(BATCH)
    return _done(tx, delete(sentence_vector).where(tuple_(*key).in_(found)))


STEPS: tuple[Step, ...] = (
    rendered, events, jobs, listings, unanswered, deliveries, items, matches, questions, links, bounces, gates,
    sentences, vectors,
)  # fmt: skip


def _batch(table: Table, where: ColumnElement[bool]) -> Select[tuple[int]]:
    return select(table.c.id).where(where).order_by(table.c.id).limit(BATCH)


def _delete(tx: Connection, table: Table, where: ColumnElement[bool]) -> int:
    return _done(tx, delete(table).where(table.c.id.in_(_batch(table, where))))


def _done(tx: Connection, statement: Delete | Update) -> int:
    return int(tx.execute(statement).rowcount)
