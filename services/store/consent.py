"""Whether somebody wants what a channel brings: the links in mails that say so, and what follows from them."""

from sqlalchemy import Connection, func, select, update

from services.errors import NotFound
from services.store import channels
from services.store.database import Row, first
from services.store.tables import channel
from services.store.vault import Vault

UNSUBSCRIBED = "unsubscribed"
"""Why an item was dropped and a delivery cancelled."""


def unsubscribe_token(vault: Vault, row: Row) -> str:
    """Opens one channel's unsubscribing, for as long as it has this address, and nothing else."""
    return f"{row['id']}-{vault.sign('unsubscribe', row['id'], row['label'])}"


def by_unsubscribe_token(tx: Connection, vault: Vault, token: str) -> Row:
    """The channel of a token, a removed one too. Raises NotFound for one that we did not make."""
    number, _, signature = token.partition("-")
    if number.isascii() and number.isdigit() and len(number) < 19:
        row = first(tx, select(channel).where(channel.c.id == int(number)))
        if row is not None and vault.signed(signature, "unsubscribe", row["id"], row["label"]):
            return row
    raise NotFound("this link is none of ours, or the address it stood for is not used any more")


def unsubscribe(tx: Connection, channel_id: int) -> None:
    """Nothing goes to the channel from now on: what waits is dropped, what is claimed is not sent."""
    channels.lock_whole(tx, channel_id)
    fresh = channel.c.unsubscribed_at.is_(None)
    tx.execute(update(channel).where(channel.c.id == channel_id, fresh).values(unsubscribed_at=func.now()))
    channels.drop_waiting(tx, channel_id, UNSUBSCRIBED)


def subscribe_again(tx: Connection, channel_id: int) -> None:
    """What matches from now on is told again; what was dropped stays dropped."""
    tx.execute(update(channel).where(channel.c.id == channel_id).values(unsubscribed_at=None))
