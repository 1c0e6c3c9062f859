"""Accounts."""

from datetime import time

from sqlalchemy import Connection, and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.accounts.deletion import DELETED_AFTER
from services.domain.accounts.profile import normalize_email, parse_timezone
from services.errors import Conflict, NotFound
from services.store.accounts import members, sessions
from services.store.accounts.records import OWNER, Account, AccountSummary
from services.store.db import change_log
from services.store.db.database import lock
from services.store.db.records import columns_for, fetch_all, fetch_first
from services.store.db.tables import account, session, subscription
from services.store.delivery import digest_schedule, paused_channels


def add(tx: Connection, email: str, timezone: str, *, operator: bool = False) -> int:
    """Raises ConfigError and Conflict."""
    values = {"email": normalize_email(email), "timezone": parse_timezone(timezone), "operator": operator}
    account_id = tx.scalars(
        upsert(account).values(values).on_conflict_do_nothing().returning(account.c.id)
    ).first()  # fmt: skip
    if account_id is None:
        raise Conflict(f"an account {values['email']} exists already")
    members.add(tx, int(account_id), str(values["email"]), OWNER)
    return int(account_id)


def by_email(tx: Connection, email: str) -> Account:
    row = fetch_first(tx, Account, select(account).where(account.c.email == email.strip().lower()))
    if row is None:
        raise NotFound(f"no account {email}; add it with: paperwire user add {email}")
    return row


def exists(tx: Connection, email: str) -> bool:
    """Whether an address (normalized) has an account, or signs in to one."""
    is_account = select(account.c.id).where(account.c.email == email)
    return members.find(tx, email) is not None or tx.scalars(is_account).first() is not None


def by_id(tx: Connection, account_id: int) -> Account | None:
    return fetch_first(tx, Account, select(account).where(account.c.id == account_id))


def all_of(tx: Connection) -> list[Account]:
    return fetch_all(tx, Account, select(account).order_by(account.c.id))


def summaries(tx: Connection) -> list[AccountSummary]:
    """Every account with its last use and the number of its subscriptions, for operators."""
    seen_at = select(func.max(session.c.used_at)).where(session.c.account_id == account.c.id)
    is_counted = and_(subscription.c.account_id == account.c.id, subscription.c.deleted_at.is_(None))
    count = select(func.count(subscription.c.id)).where(is_counted)
    query = select(
        *columns_for(account, AccountSummary),
        seen_at.scalar_subquery().label("seen_at"),
        count.scalar_subquery().label("subscriptions"),
    )
    return fetch_all(tx, AccountSummary, query.order_by(account.c.id))


def set_operator(tx: Connection, account_id: int, operator: bool) -> None:
    """Makes an account an operator's, or an ordinary one. Raises Conflict for the last operator."""
    if not operator:
        _keep_an_operator(tx, account_id)
    change_log.record(tx, account_id, "made the account an operator's" if operator else "ended the operator role")
    tx.execute(update(account).where(account.c.id == account_id).values(operator=operator))


def _keep_an_operator(tx: Connection, leaving: int) -> None:
    lock(tx, "operators")
    may_act = and_(account.c.operator, account.c.delete_at.is_(None), account.c.disabled_at.is_(None))
    others = select(account.c.id).where(may_act, account.c.id != leaving)
    is_operator = select(account.c.id).where(account.c.operator, account.c.id == leaving)
    if tx.scalars(is_operator).first() is not None and tx.scalars(others).first() is None:
        raise Conflict("this is the last operator; make another account an operator first")


def schedule_deletion(tx: Connection, account_id: int) -> None:
    """Pauses an account at once, and has it deleted after DELETED_AFTER. Raises Conflict for the last operator."""
    _keep_an_operator(tx, account_id)
    change_log.record(tx, account_id, "asked for the deletion of the account")
    tx.execute(
        update(account).where(account.c.id == account_id).values(delete_at=func.now() + DELETED_AFTER)
    )  # fmt: skip
    paused_channels.pause(tx, account_id, paused_channels.DELETION)


def keep(tx: Connection, account_id: int) -> None:
    """Undoes `schedule_deletion`. What waits is sent."""
    change_log.record(tx, account_id, "kept the account")
    tx.execute(update(account).where(account.c.id == account_id).values(delete_at=None))
    paused_channels.resume(tx, account_id, paused_channels.DELETION)


def disable(tx: Connection, account_id: int) -> None:
    """Signs everybody out, lets nobody sign in, and sends nothing. Raises Conflict for the last operator."""
    _keep_an_operator(tx, account_id)
    change_log.record(tx, account_id, "disabled the account")
    tx.execute(update(account).where(account.c.id == account_id).values(disabled_at=func.now()))
    paused_channels.pause(tx, account_id, paused_channels.DISABLED)
    sessions.end_all(tx, account_id)


def enable(tx: Connection, account_id: int) -> None:
    """Undoes `disable`."""
    change_log.record(tx, account_id, "enabled the account")
    tx.execute(update(account).where(account.c.id == account_id).values(disabled_at=None))
    paused_channels.resume(tx, account_id, paused_channels.DISABLED)


def first_operator(tx: Connection) -> Account | None:
    return fetch_first(
        tx,
        Account,
        select(account).where(account.c.operator, account.c.disabled_at.is_(None)).order_by(account.c.id).limit(1),
    )


def set_hours(tx: Connection, account_id: int, timezone: str, quiet_from: time | None, quiet_to: time | None) -> None:
    """Changes the time zone and the quiet hours, and reschedules the items that wait for the account."""
    tx.execute(
        update(account)
        .where(account.c.id == account_id)
        .values(timezone=timezone, quiet_from=quiet_from, quiet_to=quiet_to)
    )
    quiet = f", quiet {quiet_from:%H:%M}-{quiet_to:%H:%M}" if quiet_from and quiet_to else ""
    change_log.record(tx, account_id, "saved the time zone and quiet hours", timezone + quiet)
    digest_schedule.reschedule_all(tx, account_id)


def set_email(tx: Connection, account_id: int, email: str) -> None:
    """Changes the address and ends a pending change of it. Raises Conflict when another account has the address.

    The owner who signed in with the old address signs in with the new one.
    """
    other_id = tx.scalars(
        select(account.c.id).where(account.c.email == email, account.c.id != account_id)
    ).first()  # fmt: skip
    if other_id is not None:
        raise Conflict(f"an account {email} exists already")
    old = tx.scalars(select(account.c.email).where(account.c.id == account_id)).one()
    members.change_email(tx, account_id, old, email)
    change_log.record(tx, account_id, "changed the address", f"{old} to {email}")
    tx.execute(update(account).where(account.c.id == account_id).values(email=email, new_email=""))


def set_new_email(tx: Connection, account_id: int, new_email: str) -> None:
    """Stores the address that the account gets once its owner confirms it; empty: no change is pending."""
    if new_email:
        change_log.record(tx, account_id, "asked for a new address", new_email)
    tx.execute(update(account).where(account.c.id == account_id).values(new_email=new_email))


def remove_by_operator(tx: Connection, account_id: int) -> None:
    """Deletes an account with everything that is its own. Raises Conflict for the last operator."""
    _keep_an_operator(tx, account_id)
    remove(tx, account_id)


def remove(tx: Connection, account_id: int) -> None:
    tx.execute(delete(account).where(account.c.id == account_id))
