"""The signed links in mails: each unsubscribes or confirms the address of one channel."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from services.domain.delivery.opt_in import LINK_LIFETIME
from services.domain.delivery.state_machine import DeliveryKind
from services.errors import NotFound
from services.store.db.secrets import SecretBox
from services.store.delivery import channels, deliveries
from services.store.delivery.records import Channel

_EPOCH = datetime.fromtimestamp(0, UTC)


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
    """Valid for a week, until a newer request is made or has to be; and for as long as the channel is confirmed."""
    microseconds = _microseconds(requested_at)
    return f"{channel_id}-{microseconds}-{secrets.sign('confirm', channel_id, label, microseconds)}"


def by_confirm_token(tx: Connection, secrets: SecretBox, token: str, now: datetime) -> Channel:
    """The channel of a token. Raises NotFound for a forged, replaced or expired token, and an unsubscribed channel."""
    number, microseconds, signature = [*token.split("-"), "", ""][:3]
    channel = _channel(tx, number)
    if channel is None or not secrets.verify(signature, "confirm", channel.id, channel.label, microseconds):
        raise NotFound("this link is not valid here, or its address does not wait for a confirmation any more")
    if channel.unsubscribed_at is not None:
        raise NotFound("this address was unsubscribed; subscribe it again on the Channels page, which sends a new link")
    if not channel.verified:
        _check_newest(tx, channel, int(microseconds), now)
    return channel


def _check_newest(tx: Connection, channel: Channel, requested_at: int, now: datetime) -> None:
    """Raises NotFound unless the request of a link, in microseconds since 1970, is the one that counts."""
    if requested_at < _microseconds(now - LINK_LIFETIME):
        raise NotFound("this link is more than a week old; ask for a new one on the Channels page")
    if channel.requests_since is not None and requested_at < _microseconds(channel.requests_since):
        raise NotFound("this link was used before; ask for a new one on the Channels page")
    newest = deliveries.newest_of_kind(tx, channel.id, DeliveryKind.CONFIRM)
    if newest is not None and requested_at < _microseconds(newest):
        raise NotFound("a newer message asked for this confirmation; use the link in that one")


def _microseconds(moment: datetime) -> int:
    """Since 1970, exactly: two requests may be made in one second."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _channel(tx: Connection, number: str) -> Channel | None:
    is_id = number.isascii() and number.isdigit() and len(number) < 19
    return channels.by_id(tx, int(number)) if is_id else None
