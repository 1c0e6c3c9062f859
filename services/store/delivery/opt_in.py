"""Whether somebody wants what a channel brings: asked, confirmed, unsubscribed; and the links in mails that say so."""

from datetime import UTC, datetime

from sqlalchemy import Connection, delete, func, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.domain.delivery import opt_in as domain
from services.errors import NotFound
from services.store.db.database import Row, first, lock, wake
from services.store.db.secrets import SecretBox
from services.store.db.tables import channel, confirmation, suppression
from services.store.delivery import channels, deliveries

ASKING = "confirm"
"""The kind of delivery that asks."""
UNSUBSCRIBED = "unsubscribed"
"""Why an item was dropped and a delivery cancelled."""

# ── links ─────────────────────────────────────────────────────────────────────────────────────────────────────


def unsubscribe_token(secrets: SecretBox, row: Row) -> str:
    """Opens one channel's unsubscribing, for as long as it has this address, and nothing else."""
    return f"{row['id']}-{secrets.sign('unsubscribe', row['id'], row['label'])}"


def by_unsubscribe_token(tx: Connection, secrets: SecretBox, token: str) -> Row:
    """The channel of a token, a removed one too. Raises NotFound for one that we did not make."""
    number, _, signature = token.partition("-")
    row = _channel(tx, number)
    if row is None or not secrets.verify(signature, "unsubscribe", row["id"], row["label"]):
        raise NotFound("this link is none of ours, or the address it stood for is not used any more")
    return row


def confirm_token(secrets: SecretBox, row: Row, asked_at: datetime) -> str:
    """Confirms one channel's address; good for a week."""
    moment = int(asked_at.timestamp())
    return f"{row['id']}-{moment}-{secrets.sign('confirm', row['id'], row['label'], moment)}"


def by_confirm_token(tx: Connection, secrets: SecretBox, token: str, now: datetime) -> Row:
    """The channel of a token. Raises NotFound for one that we did not make, or too long ago."""
    number, moment, signature = [*token.split("-"), "", ""][:3]
    row = _channel(tx, number)
    if row is None or not secrets.verify(signature, "confirm", row["id"], row["label"], moment):
        raise NotFound("this link is none of ours, or the address it stood for is not asked for any more")
    if datetime.fromtimestamp(int(moment), UTC) < now - domain.LINK_LIFETIME and not row["verified"]:
        raise NotFound("this link is more than a week old; whoever asked for it can have another one sent")
    return row


def _channel(tx: Connection, number: str) -> Row | None:
    plain = number.isascii() and number.isdigit() and len(number) < 19
    return first(tx, select(channel).where(channel.c.id == int(number))) if plain else None


# ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────


def ask(tx: Connection, row: Row, host: str, ip: str, now: datetime) -> bool:
    """Sends a channel the question, unless it is asked too often or does not want to be; whether it went out."""
    lock(tx, "confirmation")
    address = row["label"].lower()
    known = or_(confirmation.c.address == address, confirmation.c.ip == ip)
    lately = tx.execute(select(confirmation).where(known, confirmation.c.created_at > now - domain.DAY)).all()
    to_address = [one.created_at for one in lately if one.address == address]
    from_ip = [one.created_at for one in lately if ip and one.ip == ip]
    if suppressed(tx, address) or not domain.may_ask(to_address, from_ip, now):
        return False
    tx.execute(insert(confirmation).values(address=address, ip=ip, created_at=now))
    asked = deliveries.create(tx, row, ASKING, f"{ASKING}:{row['id']}:{now.isoformat()}", host)
    wake(tx, "deliver")
    return asked is not None


def confirm(tx: Connection, channel_id: int) -> None:
    """What has waited for the channel goes out."""
    tx.execute(update(channel).where(channel.c.id == channel_id).values(verified=True, unsubscribed_at=None))
    wake(tx, "deliver")


def doubt(tx: Connection, channel_id: int) -> None:
    """From now on nothing goes to the channel but the question."""
    tx.execute(update(channel).where(channel.c.id == channel_id).values(verified=False, unsubscribed_at=None))


# ── unsubscribing ─────────────────────────────────────────────────────────────────────────────────────────────


def unsubscribe(tx: Connection, row: Row) -> None:
    """Nothing goes to the channel from now on: what waits is dropped, what is claimed is not sent.

    An address that never confirmed is not asked again either, whoever enters it.
    """
    channels.lock_whole(tx, row["id"])
    fresh = channel.c.unsubscribed_at.is_(None)
    tx.execute(update(channel).where(channel.c.id == row["id"], fresh).values(unsubscribed_at=func.now()))
    channels.drop_waiting(tx, row["id"], UNSUBSCRIBED)
    if not row["verified"]:
        suppress(tx, row["label"], "its owner does not want to be asked", refused=True)


def subscribe_again(tx: Connection, channel_id: int) -> None:
    """What matches from now on is told again; what was dropped stays dropped."""
    tx.execute(update(channel).where(channel.c.id == channel_id).values(unsubscribed_at=None))


# ── suppressed addresses ──────────────────────────────────────────────────────────────────────────────────────


def suppress(tx: Connection, address: str, because: str, *, refused: bool = False) -> None:
    """No account's mails go to an address any more. `refused`: by its owner's wish, which only an operator lifts."""
    values = {"address": address.lower(), "because": because, "refused": refused}
    changed = {"because": because, "refused": or_(suppression.c.refused, literal(refused))}
    tx.execute(upsert(suppression).values(values).on_conflict_do_update(index_elements=["address"], set_=changed))


def suppressed(tx: Connection, address: str) -> str:
    """Why an address takes no mails; empty when it does."""
    found = tx.scalars(select(suppression.c.because).where(suppression.c.address == address.lower())).first()
    return found or ""


def lift(tx: Connection, address: str, *, refused: bool = False) -> None:
    """Takes an address back into use; one whose owner refused only if `refused` says so."""
    mine = suppression.c.address == address.lower()
    tx.execute(delete(suppression).where(mine, or_(~suppression.c.refused, literal(refused))))
