"""The signed links in mails: each unsubscribes or confirms the address of one channel."""

from datetime import UTC, datetime

from sqlalchemy import Connection

from services.domain.delivery.opt_in import LINK_LIFETIME
from services.domain.delivery.state_machine import DeliveryKind
from services.errors import NotFound
from services.store.db.secrets import SecretBox
from services.store.delivery import channels, deliveries
from services.store.delivery.records import Channel


def unsubscribe_token(secrets: SecretBox, channel_id: int, label: str) -> str:
    """Valid for as long as the channel has this address."""
    return f"{channel_id}-{secrets.sign('unsubscribe', channel_id, label)}"


def by_unsubscribe_token(tx: Connection, secrets: SecretBox, token: str) -> Channel:
    """The channel of a token, a removed channel too. Raises NotFound for a token that was not signed here."""
    number, _, signature = token.partition("-")
    channel = _channel(tx, number)
    if channel is None or not secrets.verify(signature, "unsubscribe", channel.id, channel.label):
        raise NotFound("this link is not valid here, or its address is not used any more")
    return channel


def confirm_token(secrets: SecretBox, channel_id: int, label: str, requested_at: datetime) -> str:
    """Valid for a week, until a newer request is sent; and for as long as the channel is confirmed."""
    seconds = int(requested_at.timestamp())
    return f"{channel_id}-{seconds}-{secrets.sign('confirm', channel_id, label, seconds)}"


def by_confirm_token(tx: Connection, secrets: SecretBox, token: str, now: datetime) -> Channel:
    """The channel of a token. Raises NotFound for a forged, replaced or expired token, and an unsubscribed channel."""
    number, seconds, signature = [*token.split("-"), "", ""][:3]
    channel = _channel(tx, number)
    if channel is None or not secrets.verify(signature, "confirm", channel.id, channel.label, seconds):
        raise NotFound("this link is not valid here, or its address does not wait for a confirmation any more")
    if channel.unsubscribed_at is not None:
        raise NotFound("this address was unsubscribed; subscribe it again on the Channels page, which sends a new link")
    if datetime.fromtimestamp(int(seconds), UTC) < now - LINK_LIFETIME and not channel.verified:
        raise NotFound("this link is more than a week old; ask for a new one on the Channels page")
    if not channel.verified and int(seconds) < int(_newest_request(tx, channel).timestamp()):
        raise NotFound("a newer message asked for this confirmation; use the link in that one")
    return channel


def _newest_request(tx: Connection, channel: Channel) -> datetime:
    """When the newest opt-in request of a channel was made; the earliest moment when there is none any more."""
    return deliveries.newest_of_kind(tx, channel.id, DeliveryKind.CONFIRM) or datetime.fromtimestamp(0, UTC)


def _channel(tx: Connection, number: str) -> Channel | None:
    is_id = number.isascii() and number.isdigit() and len(number) < 19
    return channels.by_id(tx, int(number)) if is_id else None
