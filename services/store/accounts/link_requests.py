"""Requests for sign-in links by mail. A worker finds out whether an address has an account, and sends the link.

The page stores the same row for every address, so its answer and its time do not tell whether there is an account.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, func, insert, or_, select, update

from services.domain.accounts import signin
from services.domain.accounts.issuer_subject import NOBODY, Identity
from services.errors import Busy
from services.store.accounts.records import LinkRequest
from services.store.db import circuit_breaker
from services.store.db.database import lock, wake
from services.store.db.records import columns_for, fetch_first
from services.store.db.tables import link_request
from services.store.delivery import sending_pause

RETRY_AFTER = timedelta(minutes=1)
"""A mail that was surely not sent is tried again after this time, as long as its link would still work."""
TRANSPORT = "smtp"
"""The transport of mails. While its circuit breaker is open, requests wait."""


def add(tx: Connection, email: str, ip: str, browser: bytes, identity: Identity = NOBODY) -> None:
    """Stores a request. `email` is normalized. Raises Busy when there were too many.

    `identity`: what the link connects with the address.
    """
    lock(tx, "link request")
    since = func.now() - signin.REQUESTS_COUNTED_FOR
    counts = select(
        func.count().filter(link_request.c.email == email),
        func.count().filter(link_request.c.ip == ip),
        func.count(),
    ).where(link_request.c.created_at > since)
    if refusal := signin.refusal(*tx.execute(counts).one()):
        raise Busy(refusal)
    tx.execute(insert(link_request).values(email=email, ip=ip, browser=browser, **identity.key))
    wake(tx, "deliver")


def is_due(now: datetime) -> ColumnElement[bool]:
    """SQL: requests whose mail may be sent now, and those that are too old to be answered."""
    may_send = and_(~sending_pause.is_active(), circuit_breaker.is_closed(TRANSPORT))
    return and_(link_request.c.next_attempt_at <= now, or_(may_send, _is_too_old(now)))


def claim(tx: Connection, now: datetime) -> LinkRequest | None:
    """Takes the oldest due request, which no worker gets again unless it is put back."""
    oldest = (
        select(link_request.c.id)
        .where(is_due(now))
        .order_by(link_request.c.next_attempt_at, link_request.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    taken = update(link_request).where(link_request.c.id == oldest).values(next_attempt_at=None)
    return fetch_first(tx, LinkRequest, taken.returning(*columns_for(link_request, LinkRequest)))


def put_back(tx: Connection, request_id: int, now: datetime) -> None:
    """Has a request answered again: nothing was sent."""
    tx.execute(update(link_request).where(link_request.c.id == request_id).values(next_attempt_at=now + RETRY_AFTER))


def _is_too_old(now: datetime) -> ColumnElement[bool]:
    return link_request.c.created_at < now - signin.LINK_LIFETIME
