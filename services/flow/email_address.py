"""The account's own address: it changes in the account and in the account's e-mail channel together."""

from contextlib import suppress

from sqlalchemy import Connection

from services import plugins
from services.errors import Conflict, TargetError
from services.flow.channel_targets import stored_target
from services.store.accounts import accounts
from services.store.accounts.records import Account
from services.store.db.secrets import SecretBox
from services.store.delivery import channels, ended_channels


def own_channel_id(tx: Connection, account_id: int, email: str) -> int | None:
    """The id of the account's e-mail channel with this address; None where there is none."""
    with suppress(TargetError):
        return _channel_id(tx, account_id, email)
    return None


def move(tx: Connection, secrets: SecretBox, account: Account, email: str, *, verified: bool) -> None:
    """Changes the address (normalized) of an account and of its channel. Raises Conflict and TargetError."""
    if email == account.email:
        return
    accounts.set_email(tx, account.id, email)
    channel_id = own_channel_id(tx, account.id, account.email)
    if channel_id is None:
        return
    if _channel_id(tx, account.id, email) is not None:
        raise Conflict(f"{email} is a channel of this account already; remove that channel first")
    target = plugins.notifier("email").parse_target(email)
    channels.move(tx, channel_id, stored_target("email", target, secrets), verified=verified)


def adopt(tx: Connection, secrets: SecretBox, account: Account, confirmed_id: int) -> None:
    """Makes the account's new address its address, now that the channel of the new address is confirmed.

    The channel of the old address gets the new address and everything that waits for either channel. Raises Conflict
    when another account has the address.
    """
    old_id = own_channel_id(tx, account.id, account.email)
    if old_id is None:
        accounts.set_email(tx, account.id, account.new_email)
        return
    channels.hand_over(tx, from_id=confirmed_id, to_id=old_id)
    ended_channels.remove(tx, confirmed_id)
    move(tx, secrets, account, account.new_email, verified=True)


def _channel_id(tx: Connection, account_id: int, email: str) -> int | None:
    """Raises TargetError."""
    plugin = plugins.notifier("email")
    channel = channels.find_by_label(tx, account_id, "email", plugin.label(plugin.parse_target(email)))
    return channel.id if channel else None
