"""Stops an address whose mails are refused one after the other, and tells its owner of mails that were given up."""

from datetime import datetime

from sqlalchemy import Connection

from services.domain.delivery.bounce import REFUSALS_IN_A_ROW
from services.store.delivery import bounces, channels, operator_notices
from services.store.delivery.records import Channel


def stop_if_refused_in_a_row(tx: Connection, channel_id: int, last_id: int | None, reason: str, host: str) -> bool:
    """Disables one account's channel after several refusals; returns whether it did.

    The refusals do not name the recipient as their cause, so the same address in other accounts is not stopped.
    `last_id`: the refused delivery; None: unknown.
    """
    channel = channels.by_id(tx, channel_id)
    if channel is None or channel.disabled_because or channel.deleted_at:
        return False
    if bounces.refused_in_a_row(tx, channel_id, last_id, REFUSALS_IN_A_ROW) < REFUSALS_IN_A_ROW:
        return False
    because = f"{REFUSALS_IN_A_ROW} mails in a row were refused, the last one with: {reason}"
    channels.disable(tx, channel_id, because)
    text = f"{channel.kind} {channel.label} was disabled: {because}"
    key = f"refused:{channel_id}:{last_id}"
    operator_notices.send(tx, channel.account_id, key, text, host, failed_channel=channel_id)
    return True


def tell_owner(tx: Connection, channel: Channel, error: str, now: datetime, host: str) -> None:
    """Tells the owner on another channel, once a day, that a message of the channel was given up."""
    text = f"A message to {channel.kind} {channel.label} was given up: {error}"
    key = f"dead:{channel.id}:{now:%Y-%m-%d}"
    operator_notices.send(tx, channel.account_id, key, text, host, failed_channel=channel.id)
