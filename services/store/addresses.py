"""An account's own address: it moves in the account and in its e-mail channel together."""

from contextlib import suppress

from sqlalchemy import Connection, and_, select, update

from services import plugins
from services.errors import Conflict, TargetError
from services.store import accounts
from services.store.channels import split_target
from services.store.database import Row
from services.store.tables import channel


def own_channel(tx: Connection, account: Row) -> int | None:
    """The living e-mail channel to the account's own address."""
    with suppress(TargetError):
        return _to(tx, account["id"], account["email"])
    return None


def move(tx: Connection, account: Row, email: str) -> None:
    """Gives the account another address; mails follow. Raises ConfigError, Conflict, TargetError."""
    email = accounts.normal_email(email)
    if email == account["email"]:
        return
    accounts.change(tx, account["id"], email=email)
    old = own_channel(tx, account)
    if old is None:
        return
    if _to(tx, account["id"], email) is not None:
        raise Conflict(f"{email} is a channel of this account already; remove that channel first")
    plugin = plugins.notifier("email")
    target = plugin.parse_target(email)
    values, _ = split_target("email", target)
    moved = {"target": values, "label": plugin.label(target), "transport": plugin.transport(target)}
    tx.execute(
        update(channel).where(channel.c.id == old).values(**moved, disabled_because="", disabled_at=None, verified=True)
    )


def _to(tx: Connection, account_id: int, email: str) -> int | None:
    plugin = plugins.notifier("email")
    label = plugin.label(plugin.parse_target(email))
    same = and_(channel.c.account_id == account_id, channel.c.kind == "email", channel.c.label == label)
    return tx.scalars(select(channel.c.id).where(same, channel.c.deleted_at.is_(None))).first()
