"""Looking up whether a message in doubt arrived: by the delivery's id, which travels in its metadata."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from services.notifiers.slack import client
from services.notifiers.slack.outcome import TOKEN_ERRORS, Answer
from services.ports import MaybeDelivered, NotDelivered, Outcome, Retry, Sent, TransportDown

EVENT = "paperwire_delivery"
_AROUND = timedelta(minutes=2)
"""Between Slack's clock, the database's and the longest send."""
_CANNOT = frozenset({"missing_scope", "channel_not_found", "not_in_channel", "method_not_supported_for_channel_type"})


def metadata(delivery_id: int) -> dict[str, Any]:
    return {"event_type": EVENT, "event_payload": {"delivery": delivery_id}}


def reconcile(token: str, payload: Mapping[str, Any], receipt: str, sent_at: datetime) -> Outcome | NotDelivered:
    """`receipt`: of an earlier message to the place, since reading needs the channel's id and posting only its name."""
    channel = _channel_id(str(payload["channel"]), receipt)
    if not channel:
        return MaybeDelivered("whether it arrived cannot be looked up before Slack has named the channel's id")
    asked = {
        "channel": channel,
        "oldest": f"{(sent_at - _AROUND).timestamp():.6f}",
        "latest": f"{(sent_at + _AROUND).timestamp():.6f}",
        "inclusive": True,
        "include_all_metadata": True,
        "limit": 100,
    }
    if "thread_ts" in payload:
        return _read(
            client.read(token, "conversations.replies", asked | {"ts": payload["thread_ts"]}), payload, channel
        )
    return _read(client.read(token, "conversations.history", asked), payload, channel)


def _read(
    answer: Answer | TransportDown | MaybeDelivered, payload: Mapping[str, Any], channel: str
) -> Outcome | NotDelivered:
    if not isinstance(answer, Answer):
        return answer
    if answer.status == 429 or answer.error == "ratelimited":
        return Retry("Slack's rate limit for looking up messages", after=answer.retry_after)
    if answer.error in TOKEN_ERRORS - _CANNOT:
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
