"""Members: the people who sign in to an account. Each address signs in to one account."""

from typing import Any

from sqlalchemy import Connection, and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.accounts.issuer_subject import Identity
from services.errors import ConfigError, Conflict, NotFound
from services.store.accounts.records import MEMBER, OWNER, Member
from services.store.db import change_log
from services.store.db.database import lock
from services.store.db.records import columns_for, fetch_all, fetch_first
from services.store.db.tables import account, member


def add(tx: Connection, account_id: int, email: str, role: str) -> int:
    """Adds a member by a normalized address. Raises Conflict when the address signs in to an account already."""
    row = {"account_id": account_id, "email": email, "role": role}
    added = tx.scalars(upsert(member).values(row).on_conflict_do_nothing().returning(member.c.id)).first()
    if added is None:
        raise Conflict(f"{email} signs in to an account already")
    change_log.record(tx, account_id, "added a member", f"{email}: {role}")
    return int(added)


def find(tx: Connection, email: str) -> Member | None:
    """The member with an address (normalized)."""
    return fetch_first(tx, Member, _members().where(member.c.email == email))


def may_sign_in(tx: Connection, who: Member) -> bool:
    """Whether an operator has not disabled the account."""
    disabled = select(account.c.disabled_at).where(account.c.id == who.account_id)
    return tx.scalars(disabled).one() is None


def by_identity(tx: Connection, identity: Identity) -> Member | None:
    is_same = and_(member.c.issuer == identity.issuer, member.c.subject == identity.subject)
    return fetch_first(tx, Member, _members().where(is_same))


def connect(tx: Connection, who: Member, identity: Identity) -> bool:
    """Lets a member sign in with an identity too; False when the member has another one, or it is another member's."""
    lock(tx, "identities")
    user = by_identity(tx, identity)
    if user is not None or who.issuer:
        return user is not None and user.id == who.id
    values = {"issuer": identity.issuer, "subject": identity.subject}
    tx.execute(update(member).where(member.c.id == who.id).values(values))
    change_log.record(tx, who.account_id, "connected an identity", f"{who.email}: {identity.issuer}")
    return True


def all_of(tx: Connection, account_id: int) -> list[Member]:
    return fetch_all(tx, Member, _members().where(member.c.account_id == account_id).order_by(member.c.id))


def first_owner(tx: Connection, account_id: int) -> Member:
    """The longest-standing owner. Raises NotFound for an account without one."""
    owners = _members().where(member.c.account_id == account_id, member.c.role == OWNER)
    owner = fetch_first(tx, Member, owners.order_by(member.c.id).limit(1))
    if owner is None:
        raise NotFound(f"no account {account_id}")
    return owner


def record_signin(tx: Connection, member_id: int) -> None:
    tx.execute(update(member).where(member.c.id == member_id).values(signed_in_at=func.now()))


def set_role(tx: Connection, account_id: int, member_id: int, role: str) -> Member:
    """Changes a role; returns the member as before. Raises NotFound, ConfigError, and Conflict for the last owner."""
    before = _lock(tx, account_id, member_id)
    if role not in (OWNER, MEMBER):
        raise ConfigError("a role is owner or member")
    if role != OWNER:
        _keep_an_owner(tx, before)
    tx.execute(update(member).where(member.c.id == member_id).values(role=role))
    change_log.record(tx, account_id, "changed a role", f"{before.email}: {role}")
    return before


def remove(tx: Connection, account_id: int, member_id: int) -> Member:
    """Removes a member with the sessions; returns the member. Raises NotFound, and Conflict for the last owner."""
    removed = _lock(tx, account_id, member_id)
    _keep_an_owner(tx, removed)
    tx.execute(delete(member).where(member.c.id == member_id))
    change_log.record(tx, account_id, "removed a member", removed.email)
    return removed


def change_email(tx: Connection, account_id: int, old: str, new: str) -> None:
    """The member with the old address signs in with the new one. Raises Conflict when another account uses it."""
    user = find(tx, new)
    if user is not None and user.account_id != account_id:
        raise Conflict(f"{new} signs in to an account already")
    if user is None:
        tx.execute(update(member).where(member.c.account_id == account_id, member.c.email == old).values(email=new))


def _lock(tx: Connection, account_id: int, member_id: int) -> Member:
    lock(tx, f"members of {account_id}")
    found = fetch_first(tx, Member, _members().where(member.c.account_id == account_id, member.c.id == member_id))
    if found is None:
        raise NotFound(f"no member {member_id}")
    return found


def _keep_an_owner(tx: Connection, leaving: Member) -> None:
    others = select(member.c.id).where(
        member.c.account_id == leaving.account_id, member.c.role == OWNER, member.c.id != leaving.id
    )
    if leaving.is_owner and tx.scalars(others).first() is None:
        raise Conflict("this is the last owner; make another member an owner first, or delete the account")


def _members() -> Any:
    return select(*columns_for(member, Member))
