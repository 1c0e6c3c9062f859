"""Looks up whether a message in doubt arrived, by the delivery's id in the message's metadata."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from services.notifiers.slack import client
from services.notifiers.slack.outcome import CONVERSATION_ERRORS, TOKEN_ERRORS, Answer
from services.ports import MaybeDelivered, NotDelivered, Outcome, Retry, Sent, TransportDown

EVENT = "paperwire_delivery"
_TOLERANCE = timedelta(minutes=2)
"""For the difference of Slack's clock from the database's, and for the duration of a send."""
_LOOKUP_ERRORS = frozenset(
    {"missing_scope", "channel_not_found", "not_in_channel", "method_not_supported_for_channel_type"}
)


def metadata(delivery_id: int) -> dict[str, Any]:
    return {"event_type": EVENT, "event_payload": {"delivery": delivery_id}}


def reconcile(token: str, payload: Mapping[str, Any], receipt: str, sent_at: datetime) -> Outcome | NotDelivered:
    """`receipt` of an earlier message tells the channel's id, which reading needs. Posting needs only the name."""
    channel = _channel_id(str(payload["channel"]), receipt)
    if not channel:
        return MaybeDelivered("whether it arrived cannot be looked up before Slack has told the channel's id")
    request = {
        "channel": channel,
        "oldest": f"{(sent_at - _TOLERANCE).timestamp():.6f}",
        "latest": f"{(sent_at + _TOLERANCE).timestamp():.6f}",
        "inclusive": True,
        "include_all_metadata": True,
        "limit": 100,
    }
    if "thread_ts" in payload:
        return _read(
            client.read(token, "conversations.replies", request | {"ts": payload["thread_ts"]}), payload, channel
        )
    return _read(client.read(token, "conversations.history", request), payload, channel)


def _read(
    answer: Answer | TransportDown | MaybeDelivered, payload: Mapping[str, Any], channel: str
) -> Outcome | NotDelivered:
    if not isinstance(answer, Answer):
        return answer
    if answer.status == 429 or answer.error == "ratelimited":
        return Retry("Slack's rate limit for looking up messages", after=answer.retry_after)
    if answer.error in TOKEN_ERRORS - CONVERSATION_ERRORS - _LOOKUP_ERRORS:
        return TransportDown(f"Slack refuses the token: {answer.error}", person=True)
    messages = answer.data.get("messages")
    if not answer.ok or not isinstance(messages, list):
        return MaybeDelivered(f"whether it arrived cannot be looked up: {answer}")
    for message in messages:
        if isinstance(message, dict) and message.get("metadata") == payload.get("metadata"):
            return Sent(f"{channel} {message.get('ts', '')}"[:80])
    if answer.data.get("has_more"):
        return MaybeDelivered("whether it arrived cannot be looked up: too much was posted meanwhile")
    return NotDelivered()


def _channel_id(name: str, receipt: str) -> str:
    return receipt.partition(" ")[0] if name.startswith("#") else name
