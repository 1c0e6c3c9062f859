"""Accounts, sign-in links and API tokens; only digests of secrets are kept."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.errors import ConfigError, Conflict, NotFound
from services.store.db.database import Row, first, rows
from services.store.db.tables import account, api_token, signin_link
from services.store.delivery import digest_schedule

LINK_LIFETIME = timedelta(minutes=15)
# Dots inside a host or none (localhost), no spaces or control characters: the mail server judges the rest.
_EMAIL = re.compile(r"[^@\s\x00-\x1f<>,;:\"()\[\]\\]{1,64}@[^@\s\x00-\x1f<>,;:\"()\[\]\\]{1,250}")


def normal_email(email: str) -> str:
    email = email.strip().lower()
    if not _EMAIL.fullmatch(email) or ".." in email or email.endswith("."):
        raise ConfigError(f"{email!r} is no e-mail address")
    return email


def known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"{name!r} is no time zone; use one like Europe/Berlin") from None
    return name


def quiet_hours(text: str) -> tuple[time, time] | tuple[None, None]:
    """`22:00-07:00`, or nothing for none."""
    if not text:
        return None, None
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)", text)
    if not match:
        raise ConfigError(f"quiet hours read 22:00-07:00, not {text!r}")
    a, b, c, d = (int(part) for part in match.groups())
    return time(a, b), time(c, d)


def add(tx: Connection, email: str, timezone: str, *, operator: bool = False) -> int:
    values = {"email": normal_email(email), "timezone": known_timezone(timezone), "operator": operator}
    new = tx.scalars(upsert(account).values(values).on_conflict_do_nothing().returning(account.c.id)).first()
    if new is None:
        raise Conflict(f"there is an account {values['email']} already")
    return int(new)


def by_email(tx: Connection, email: str) -> Row:
    row = first(tx, select(account).where(account.c.email == email.strip().lower()))
    if row is None:
        raise NotFound(f"no account {email}; add it with: paperwire user add {email}")
    return row


def by_id(tx: Connection, account_id: int) -> Row | None:
    return first(tx, select(account).where(account.c.id == account_id))


def all_of(tx: Connection) -> Sequence[Row]:
    return rows(tx, select(account).order_by(account.c.id))


def first_operator(tx: Connection) -> Row | None:
    return first(tx, select(account).where(account.c.operator).order_by(account.c.id).limit(1))


def change(tx: Connection, account_id: int, **values: Any) -> None:
    """Sets columns of an account; an address that another one has is a Conflict."""
    if "email" in values:
        values["email"] = normal_email(values["email"])
        taken = select(account.c.id).where(account.c.email == values["email"], account.c.id != account_id)
        if tx.scalars(taken).first() is not None:
            raise Conflict(f"there is an account {values['email']} already")
    if values:
        tx.execute(update(account).where(account.c.id == account_id).values(values))
    if values.keys() & {"timezone", "quiet_from", "quiet_to"}:
        digest_schedule.reschedule_all(tx, account_id)


def remove(tx: Connection, account_id: int) -> None:
    tx.execute(delete(account).where(account.c.id == account_id))


# ── sign-in links and tokens ──────────────────────────────────────────────────────────────────────────────────


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def new_link(tx: Connection, account_id: int) -> str:
    """A fresh single-use key for signing in; older ones of the account are revoked."""
    tx.execute(delete(signin_link).where(signin_link.c.account_id == account_id))
    key = secrets.token_urlsafe(32)
    tx.execute(
        insert(signin_link).values(digest=digest(key), account_id=account_id, expires_at=func.now() + LINK_LIFETIME)
    )
    return key


def use_link(tx: Connection, key: str) -> int | None:
    """The account of a key that is fresh and unused, which is used up by this; else None."""
    fresh = (
        (signin_link.c.digest == digest(key))
        & signin_link.c.used_at.is_(None)
        & (signin_link.c.expires_at > func.now())
    )
    return tx.scalars(
        update(signin_link).where(fresh).values(used_at=func.now()).returning(signin_link.c.account_id)
    ).first()


def new_token(tx: Connection, account_id: int) -> str:
    token = "pw_" + secrets.token_urlsafe(32)
    tx.execute(insert(api_token).values(account_id=account_id, digest=digest(token)))
    return token


def by_token(tx: Connection, token: str) -> int | None:
    valid = (api_token.c.digest == digest(token)) & api_token.c.revoked_at.is_(None)
    return tx.scalars(select(api_token.c.account_id).where(valid)).first()
