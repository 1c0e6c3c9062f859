"""The channels of an account for which nothing may be sent: disabled, with a reason that tells which ones to enable."""

from sqlalchemy import Connection, func, update

from services.store.db.database import wake
from services.store.db.tables import channel

DELETION = "the account is to be deleted"
DISABLED = "an operator disabled the account"


def pause(tx: Connection, account_id: int, reason: str) -> None:
    """Disables the channels of an account that work. A channel that is disabled already keeps its reason."""
    works = channel.c.disabled_because == ""
    tx.execute(
        update(channel)
        .where(channel.c.account_id == account_id, channel.c.deleted_at.is_(None), works)
        .values(disabled_because=reason, disabled_at=func.now())
    )


def resume(tx: Connection, account_id: int, reason: str) -> None:
    """Enables the channels that `pause` disabled for this reason. What has waited is sent."""
    paused = channel.c.disabled_because == reason
    tx.execute(
        update(channel)
        .where(channel.c.account_id == account_id, paused)
        .values(disabled_because="", disabled_at=None)
    )  # fmt: skip
    wake(tx, "deliver")
