"""Sign-in links and API tokens. Only digests of the secrets of links and tokens are stored."""

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy import Connection, delete, func, insert, select, update

from services.store.db.tables import api_token, signin_link

SIGNIN_LINK_LIFETIME = timedelta(minutes=15)


def create_signin_link(tx: Connection, account_id: int) -> str:
    """A new single-use key for signing in. The account's older keys stop working."""
    tx.execute(delete(signin_link).where(signin_link.c.account_id == account_id))
    key = secrets.token_urlsafe(32)
    tx.execute(
        insert(signin_link)
        .values(digest=_digest(key), account_id=account_id, expires_at=func.now() + SIGNIN_LINK_LIFETIME)
    )  # fmt: skip
    return key


def use_signin_link(tx: Connection, key: str) -> int | None:
    """Uses up a valid key and returns the id of its account; None for any other key."""
    return tx.scalars(
        update(signin_link)
        .where(
            signin_link.c.digest == _digest(key),
            signin_link.c.used_at.is_(None),
            signin_link.c.expires_at > func.now(),
        )
        .values(used_at=func.now())
        .returning(signin_link.c.account_id)
    ).first()


def create_api_token(tx: Connection, account_id: int) -> str:
    token = "pw_" + secrets.token_urlsafe(32)
    tx.execute(insert(api_token).values(account_id=account_id, digest=_digest(token)))
    return token


def account_of_api_token(tx: Connection, token: str) -> int | None:
    return tx.scalars(
        select(api_token.c.account_id)
        .where(api_token.c.digest == _digest(token), api_token.c.revoked_at.is_(None))
    ).first()  # fmt: skip


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
