"""The change log: who changed which settings of an account, from where. Written in the transaction of the change.

The functions that change settings call `record`. Who acts is known further up: pages and commands say so with `acting`.
What workers do on their own is no change of settings and leaves no entry.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from services.store.db.records import columns_for, fetch_all
from services.store.db.tables import change_log

MAX_DETAIL = 300
"""Characters of an entry's detail, which names what was changed and contains no secret."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes changes: a member who is signed in, the command line, or whoever has a mailed link."""

    name: str
    """The address of the member, or `the command line`, as the log shows it. It outlasts the member."""
    account_id: int | None = None
    member_id: int | None = None
    ip: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A row of `change_log`."""

    id: int
    actor: str
    ip: str
    what: str
    detail: str
    created_at: datetime


_actor: ContextVar[Actor | None] = ContextVar("actor", default=None)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Changes inside are made by `actor`."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def act_as(actor: Actor) -> None:
    """Changes in the rest of this request are made by `actor`."""
    _actor.set(actor)


def record(tx: Connection, account_id: int, what: str, detail: str = "") -> None:
    """Writes what was changed in an account, such as `paused the subscription` and its name."""
    actor = _actor.get()
    if actor is None:
        return
    who = {"actor": actor.name, "member_id": actor.member_id, "ip": actor.ip}
    row = {"account_id": account_id, "what": what, "detail": detail[:MAX_DETAIL], **who}
    tx.execute(insert(change_log).values(row))


def record_own(tx: Connection, what: str, detail: str = "") -> None:
    """Writes a change that belongs to no account, such as a new source, into the log of whoever makes it."""
    actor = _actor.get()
    if actor is not None and actor.account_id is not None:
        record(tx, actor.account_id, what, detail)


def newest(tx: Connection, account_id: int, limit: int, before: int | None = None) -> list[Change]:
    """The latest entries of an account, those before an entry when `before` is given."""
    query = select(*columns_for(change_log, Change)).where(change_log.c.account_id == account_id)
    if before is not None:
        query = query.where(change_log.c.id < before)
    return fetch_all(tx, Change, query.order_by(change_log.c.id.desc()).limit(limit))
