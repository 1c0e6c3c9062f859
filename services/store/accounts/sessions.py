"""Sessions: one row for each browser in which an account is signed in. The cookie carries the key of the row.

Only a digest of the key is stored. A session ends when its row says so, wherever a copy of the cookie is.
"""

import hashlib
import secrets
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, and_, func, insert, select, update

from services.errors import NotFound
from services.store.accounts import members
from services.store.accounts.records import Account, Member, OpenSession, SignedIn
from services.store.db import change_log
from services.store.db.records import columns_for, fetch_all
from services.store.db.tables import account, member, session

LIFETIME = timedelta(days=30)
"""A session ends at this time after the sign-in."""
USE_RECORDED_EVERY = timedelta(minutes=5)
"""`used_at` is behind by at most this time, so that most requests write nothing."""
MAX_USER_AGENT = 300
"""Characters of the User-Agent that are stored."""


def start(
    tx: Connection, account_id: int, address: str = "", user_agent: str = "", member_id: int | None = None
) -> str:
    """Starts a session of a member (None: the first owner) and returns its key, which is not stored.

    `address`: the IP address of the browser.
    """
    if member_id is None:
        member_id = members.first_owner(tx, account_id).id
    members.record_signin(tx, member_id)
    key = secrets.token_urlsafe(32)
    row = {"digest": _digest(key), "account_id": account_id, "member_id": member_id, "address": address}
    tx.execute(insert(session).values(**row, user_agent=user_agent[:MAX_USER_AGENT]))
    return key


def by_key(tx: Connection, key: str) -> SignedIn | None:
    """The account of a session that has not ended; None for any other key. Records the use."""
    row = tx.execute(
        select(
            *columns_for(account, Account),
            *columns_for(member, Member),
            session.c.id,
            session.c.used_at < func.now() - USE_RECORDED_EVERY,
        )
        .join(session, session.c.account_id == account.c.id)
        .join(member, member.c.id == session.c.member_id)
        .where(session.c.digest == _digest(key), _is_open(), account.c.disabled_at.is_(None))
    ).first()
    if row is None:
        return None
    width = len(columns_for(account, Account))
    of, who = Account(*row[:width]), Member(*row[width:-2])
    session_id, is_use_old = row[-2:]
    if is_use_old:
        tx.execute(update(session).where(session.c.id == session_id).values(used_at=func.now()))
    return SignedIn(replace(of, operator=of.operator and who.is_owner), who, session_id)


def open_of(tx: Connection, account_id: int, member_id: int | None = None) -> list[OpenSession]:
    """The sessions of an account, or of one member, that have not ended, the last used one first."""
    query = (
        select(*columns_for(session, OpenSession), member.c.email)
        .join(member, member.c.id == session.c.member_id)
        .where(_of(account_id, member_id), _is_open())
        .order_by(session.c.used_at.desc(), session.c.id.desc())
    )
    return fetch_all(tx, OpenSession, query)


def end(tx: Connection, session_id: int, account_id: int, member_id: int | None = None) -> None:
    """Ends one session. Raises NotFound for an ended session, and for one of another account or member."""
    ended = tx.execute(
        update(session)
        .where(session.c.id == session_id, _of(account_id, member_id), session.c.ended_at.is_(None))
        .values(ended_at=func.now())
    )
    if not ended.rowcount:
        raise NotFound(f"no session {session_id}")


def end_all(tx: Connection, account_id: int, member_id: int | None = None) -> None:
    """Signs an account, or one member of it, out in every browser."""
    change_log.record(tx, account_id, "signed out everywhere", "all members" if member_id is None else "")
    tx.execute(
        update(session)
        .where(_of(account_id, member_id), session.c.ended_at.is_(None))
        .values(ended_at=func.now())
    )  # fmt: skip


def _of(account_id: int, member_id: int | None) -> ColumnElement[bool]:
    of_account = session.c.account_id == account_id
    return of_account if member_id is None else and_(of_account, session.c.member_id == member_id)


def _is_open() -> ColumnElement[bool]:
    return and_(session.c.ended_at.is_(None), session.c.created_at > func.now() - LIFETIME)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
