"""Sign-in links and API tokens. Only digests of their secrets are stored."""

import hashlib
import secrets
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update

from services.domain.accounts.issuer_subject import NOBODY, Identity
from services.domain.accounts.signin import LINK_LIFETIME
from services.store.accounts import members
from services.store.accounts.records import Invitation, SigninLink
from services.store.db.records import columns_for, fetch_first
from services.store.db.tables import account, api_token, signin_link


def create_signin_link(
    tx: Connection, account_id: int, browser: bytes = b"", email: str = "", identity: Identity = NOBODY
) -> str:
    """A new single-use key for signing in. Older keys of the same person stop working.

    `browser`: of the person who asked for the link; another browser needs one more step. `email`: of the member who
    signs in; empty: the first owner.
    """
    email = email or members.first_owner(tx, account_id).email
    tx.execute(delete(signin_link).where(signin_link.c.account_id == account_id, signin_link.c.email == email))
    row = {"account_id": account_id, "email": email, "browser": browser, **identity.key}
    return _insert(tx, **row, expires_at=func.now() + LINK_LIFETIME)


def create_signup_link(
    tx: Connection, email: str, browser: bytes, invitation_id: int | None = None, identity: Identity = NOBODY
) -> str:
    """A new single-use key with which an address without an account gets one. Its older keys stop working."""
    tx.execute(delete(signin_link).where(signin_link.c.email == email, signin_link.c.account_id.is_(None)))
    row = {"email": email, "browser": browser, "invitation_id": invitation_id, **identity.key}
    return _insert(tx, **row, expires_at=func.now() + LINK_LIFETIME)


def create_invitation_link(tx: Connection, invited: Invitation) -> str:
    """A new key of an invitation, which works as long as the invitation. Its older keys stop working."""
    tx.execute(delete(signin_link).where(signin_link.c.invitation_id == invited.id))
    return _insert(tx, email=invited.email, invitation_id=invited.id, expires_at=invited.expires_at)


def _insert(tx: Connection, **values: Any) -> str:
    key = secrets.token_urlsafe(32)
    tx.execute(insert(signin_link).values(digest=_digest(key), **values))
    return key


def find_signin_link(tx: Connection, key: str) -> SigninLink | None:
    """The link with this key, which can still be used; None for any other key."""
    return fetch_first(tx, SigninLink, select(*columns_for(signin_link, SigninLink)).where(_is_valid(key)))


def use_signin_link(tx: Connection, key: str) -> SigninLink | None:
    """Uses up a link; None for a key that is not valid."""
    used = update(signin_link).where(_is_valid(key)).values(used_at=func.now())
    return fetch_first(tx, SigninLink, used.returning(*columns_for(signin_link, SigninLink)))


def _is_valid(key: str) -> ColumnElement[bool]:
    return and_(
        signin_link.c.digest == _digest(key),
        signin_link.c.used_at.is_(None),
        signin_link.c.expires_at > func.now(),
    )


def create_api_token(tx: Connection, account_id: int) -> str:
    token = "pw_" + secrets.token_urlsafe(32)
    tx.execute(insert(api_token).values(account_id=account_id, digest=_digest(token)))
    return token


def account_of_api_token(tx: Connection, token: str) -> int | None:
    """The account of a token that was not revoked; None also for an account that is disabled or to be deleted."""
    is_open = and_(account.c.disabled_at.is_(None), account.c.delete_at.is_(None))
    query = select(api_token.c.account_id).join(account, account.c.id == api_token.c.account_id)
    return tx.scalars(
        query.where(api_token.c.digest == _digest(token), api_token.c.revoked_at.is_(None), is_open)
    ).first()  # fmt: skip


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
