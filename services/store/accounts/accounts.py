"""Accounts."""

from datetime import time

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.accounts.profile import normalize_email, parse_timezone
from services.errors import Conflict, NotFound
from services.store.accounts.records import Account
from services.store.db.records import fetch_all, fetch_first
from services.store.db.tables import account
from services.store.delivery import digest_schedule


def add(tx: Connection, email: str, timezone: str, *, operator: bool = False) -> int:
    """Raises ConfigError and Conflict."""
    values = {"email": normalize_email(email), "timezone": parse_timezone(timezone), "operator": operator}
    account_id = tx.scalars(
        upsert(account).values(values).on_conflict_do_nothing().returning(account.c.id)
    ).first()  # fmt: skip
    if account_id is None:
        raise Conflict(f"an account {values['email']} exists already")
    return int(account_id)


def by_email(tx: Connection, email: str) -> Account:
    row = fetch_first(tx, Account, select(account).where(account.c.email == email.strip().lower()))
    if row is None:
        raise NotFound(f"no account {email}; add it with: paperwire user add {email}")
    return row


def by_id(tx: Connection, account_id: int) -> Account | None:
    return fetch_first(tx, Account, select(account).where(account.c.id == account_id))


def all_of(tx: Connection) -> list[Account]:
    return fetch_all(tx, Account, select(account).order_by(account.c.id))


def first_operator(tx: Connection) -> Account | None:
    return fetch_first(tx, Account, select(account).where(account.c.operator).order_by(account.c.id).limit(1))


def set_hours(tx: Connection, account_id: int, timezone: str, quiet_from: time | None, quiet_to: time | None) -> None:
    """Changes the time zone and the quiet hours, and reschedules the items that wait for the account."""
    tx.execute(
        update(account)
        .where(account.c.id == account_id)
        .values(timezone=timezone, quiet_from=quiet_from, quiet_to=quiet_to)
    )
    digest_schedule.reschedule_all(tx, account_id)


def set_email(tx: Connection, account_id: int, email: str) -> None:
    """Changes the address and ends a pending change of it. Raises Conflict when another account has the address."""
    other_id = tx.scalars(
        select(account.c.id).where(account.c.email == email, account.c.id != account_id)
    ).first()  # fmt: skip
    if other_id is not None:
        raise Conflict(f"an account {email} exists already")
    tx.execute(update(account).where(account.c.id == account_id).values(email=email, new_email=""))


def set_new_email(tx: Connection, account_id: int, new_email: str) -> None:
    """Stores the address that the account gets once its owner confirms it; empty: no change is pending."""
    tx.execute(update(account).where(account.c.id == account_id).values(new_email=new_email))


def remove(tx: Connection, account_id: int) -> None:
    tx.execute(delete(account).where(account.c.id == account_id))
