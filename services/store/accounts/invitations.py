"""Invitations to sign up or to join an account: a link by mail, good for seven days, that can be revoked."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from services.domain.accounts.signup import INVITATION_LIFETIME
from services.errors import NotFound
from services.store.accounts.link_requests import RETRY_AFTER, TRANSPORT
from services.store.accounts.records import MEMBER, Invitation
from services.store.db import change_log, circuit_breaker
from services.store.db.database import wake
from services.store.db.records import columns_for, fetch_all, fetch_first
from services.store.db.tables import account, invitation, signin_link
from services.store.delivery import sending_pause


def add(
    tx: Connection,
    email: str,
    invited_by: int,
    account_id: int | None = None,
    role: str = MEMBER,
    *,
    is_mailed: bool = True,
) -> int:
    """Invites an address (normalized), and has the mail sent. An earlier invitation of the address ends.

    `account_id`: whose members the person joins; None: the person gets an account.
    """
    tx.execute(update(invitation).where(invitation.c.email == email, _is_open()).values(revoked_at=func.now()))
    row = {"email": email, "invited_by": invited_by, "account_id": account_id, "role": role}
    row |= {"expires_at": func.now() + INVITATION_LIFETIME, "next_attempt_at": func.now() if is_mailed else None}
    change_log.record(tx, account_id or invited_by, "invited a person", f"{email}: {role if account_id else 'account'}")
    wake(tx, "deliver")
    return int(tx.scalars(insert(invitation).values(row).returning(invitation.c.id)).one())


def all_open(tx: Connection, account_id: int | None = None) -> list[Invitation]:
    """The invitations to join an account; None: those to sign up."""
    of_account = invitation.c.account_id.is_not_distinct_from(account_id)
    return fetch_all(tx, Invitation, _columns().where(of_account, _is_open()).order_by(invitation.c.id.desc()))


def find_open(tx: Connection, email: str) -> Invitation | None:
    """The invitation of an address that can still be used."""
    return fetch_first(tx, Invitation, _columns().where(invitation.c.email == email, _is_open()))


def team_of(tx: Connection, invitation_id: int) -> str:
    """The address of the account whose members an invited person joins; empty: the person gets an account."""
    query = select(account.c.email).join(invitation, invitation.c.account_id == account.c.id)
    return tx.scalars(query.where(invitation.c.id == invitation_id)).first() or ""


def revoke(tx: Connection, invitation_id: int, account_id: int | None = None) -> None:
    """Ends an invitation to join an account (None: to sign up); its links stop working. Raises NotFound."""
    of_account = invitation.c.account_id.is_not_distinct_from(account_id)
    ended = update(invitation).where(invitation.c.id == invitation_id, of_account, _is_open())
    ended = ended.values(revoked_at=func.now(), next_attempt_at=None)
    revoked = fetch_first(tx, Invitation, ended.returning(*columns_for(invitation, Invitation)))
    if revoked is None:
        raise NotFound(f"no invitation {invitation_id}")
    change_log.record(tx, account_id or revoked.invited_by, "revoked an invitation", revoked.email)
    tx.execute(delete(signin_link).where(signin_link.c.invitation_id == invitation_id))


def use(tx: Connection, invitation_id: int) -> Invitation | None:
    """Uses up an invitation; None when it was used or revoked, or has expired."""
    used = update(invitation).where(invitation.c.id == invitation_id, _is_open()).values(used_at=func.now())
    return fetch_first(tx, Invitation, used.returning(*columns_for(invitation, Invitation)))


def is_due(now: datetime) -> ColumnElement[bool]:
    """SQL: invitations whose mail may be sent now."""
    may_send = and_(~sending_pause.is_active(), circuit_breaker.is_closed(TRANSPORT))
    return and_(invitation.c.next_attempt_at <= now, may_send, _is_open())


def claim(tx: Connection, now: datetime) -> Invitation | None:
    """Takes an invitation whose mail is due. No worker gets it again unless it is put back."""
    oldest = (
        select(invitation.c.id)
        .where(is_due(now))
        .order_by(invitation.c.next_attempt_at, invitation.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    taken = update(invitation).where(invitation.c.id == oldest).values(next_attempt_at=None)
    return fetch_first(tx, Invitation, taken.returning(*columns_for(invitation, Invitation)))


def put_back(tx: Connection, invitation_id: int, now: datetime) -> None:
    """Has the mail of an invitation sent again: nothing was sent."""
    tx.execute(update(invitation).where(invitation.c.id == invitation_id).values(next_attempt_at=now + RETRY_AFTER))


def _columns() -> Any:
    return select(*columns_for(invitation, Invitation))


def _is_open() -> ColumnElement[bool]:
    return and_(invitation.c.used_at.is_(None), invitation.c.revoked_at.is_(None), invitation.c.expires_at > func.now())
