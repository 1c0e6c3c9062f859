"""An account's own address: it moves in the account and in its e-mail channel together."""

from contextlib import suppress

from sqlalchemy import Connection, and_, delete, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services import plugins
from services.errors import Conflict, TargetError
from services.store.accounts import accounts
from services.store.db.database import Row
from services.store.db.tables import channel, delivery_item, subscription_channel
from services.store.delivery import channels, items
from services.store.delivery.channels import split_target


def own_channel(tx: Connection, account: Row) -> int | None:
    """The living e-mail channel to the account's own address."""
    with suppress(TargetError):
        return _to(tx, account["id"], account["email"])
    return None


def move(tx: Connection, account: Row, email: str, *, verified: bool) -> None:
    """Gives an account another address; mails follow once it is verified. Raises ConfigError, Conflict, TargetError."""
    email = accounts.normal_email(email)
    if email == account["email"]:
        return
    accounts.change(tx, account["id"], email=email, new_email="")
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
        update(channel)
        .where(channel.c.id == old)
        .values(**moved, disabled_because="", disabled_at=None, verified=verified)
    )


def adopt(tx: Connection, account: Row, channel_id: int) -> None:
    """Makes the account's new address, now that this channel of it is confirmed, its address.

    The channel of the old one takes it over, with all that waits for either. Raises Conflict when an account has it.
    """
    old = own_channel(tx, account)
    if old is None:
        accounts.change(tx, account["id"], email=account["new_email"], new_email="")
        return
    _hand_over(tx, channel_id, old)
    channels.remove(tx, channel_id)
    move(tx, account, account["new_email"], verified=True)


def _hand_over(tx: Connection, goes: int, stays: int) -> None:
    """Lets the subscriptions of one channel tell the other, and moves what waits."""
    link, item = subscription_channel, delivery_item
    told = select(link.c.account_id, link.c.subscription_id, literal(stays)).where(link.c.channel_id == goes)
    columns = ["account_id", "subscription_id", "channel_id"]
    tx.execute(upsert(link).from_select(columns, told).on_conflict_do_nothing())
    tx.execute(delete(link).where(link.c.channel_id == goes))
    known = select(item.c.paper_id).where(item.c.channel_id == stays)
    waits = and_(item.c.channel_id == goes, items.IS_WAITING, item.c.paper_id.not_in(known))
    tx.execute(update(item).where(waits).values(channel_id=stays))


def _to(tx: Connection, account_id: int, email: str) -> int | None:
    plugin = plugins.notifier("email")
    label = plugin.label(plugin.parse_target(email))
    same = and_(channel.c.account_id == account_id, channel.c.kind == "email", channel.c.label == label)
    return tx.scalars(select(channel.c.id).where(same, channel.c.deleted_at.is_(None))).first()
