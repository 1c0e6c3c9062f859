"""The outcome of a message by Slack's answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.ports import MaybeDelivered, Outcome, Rejected, Retry, Sent, TransportDown


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# https://docs.slack.dev/reference/methods/chat.postMessage#errors
TOKEN_ERRORS = _set("""
    invalid_auth not_authed account_inactive token_revoked token_expired missing_scope not_allowed_token_type
    no_permission org_login_required ekm_access_denied access_denied""")
CONVERSATION_ERRORS = _set("no_permission access_denied missing_scope")
"""Those token errors that concern one conversation when `auth.test` accepts the token."""
CHANNEL_ERRORS = _set("""
    channel_not_found not_in_channel is_archived restricted_action restricted_action_read_only_channel
    restricted_action_thread_only_channel user_not_found user_disabled messages_tab_disabled cannot_dm_bot""")
# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors
WEBHOOK_ERRORS = _set("""
    no_service no_service_id no_team team_disabled invalid_token action_prohibited no_active_hooks channel_not_found
    channel_is_archived posting_to_general_channel_denied user_not_found""")
# Of both.
BLOCK_ERRORS = _set("invalid_blocks invalid_blocks_format invalid_payload no_text")
SERVER_ERRORS = _set("internal_error fatal_error request_timeout service_unavailable")


class InvalidBlocks(Exception):
    """Slack rejects the blocks, but may accept the plain text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer. `ok`: Slack accepted the request. `error`: Slack's error code, or empty."""

    status: int
    ok: bool
    error: str = ""
    retry_after: float = 30.0
    """Seconds."""
    receipt: str = ""
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return f"Slack answers {self.error or self.status}"


def bot_outcome(answer: Answer) -> Outcome | InvalidBlocks:
    if answer.status == 429 or answer.error in ("ratelimited", "rate_limited"):
        return Retry("Slack's rate limit", after=answer.retry_after)
    if answer.status >= 500 or answer.error in SERVER_ERRORS:
        return MaybeDelivered(str(answer))
    if answer.status == 200 and (answer.ok or not answer.error):
        return Sent(answer.receipt) if answer.ok else MaybeDelivered("Slack's answer cannot be read")
    if answer.error in TOKEN_ERRORS:
        return TransportDown(f"Slack refuses the token: {answer.error}", person=True)
    if answer.error in CHANNEL_ERRORS:
        return Rejected(str(answer), scope="channel")
    return _other(answer)


def webhook_outcome(answer: Answer) -> Outcome | InvalidBlocks:
    if answer.status == 200:
        return Sent(answer.receipt) if answer.ok else MaybeDelivered("the webhook's answer cannot be read")
    if answer.status == 429:
        return Retry("Slack's rate limit", after=answer.retry_after)
    if answer.status in (403, 404, 410) or answer.error in WEBHOOK_ERRORS:
        return Rejected(str(answer), scope="channel")
    if answer.status >= 500:
        return MaybeDelivered(str(answer))
    return _other(answer)


def _other(answer: Answer) -> Outcome | InvalidBlocks:
    if answer.error in BLOCK_ERRORS or answer.error.startswith("msg_"):
        return InvalidBlocks(answer.error)
    if 300 <= answer.status < 400:
        return Retry(f"Slack answers with a redirect ({answer.status}), which is not followed")
    if answer.status == 408:
        return MaybeDelivered(str(answer))
    return Rejected(str(answer))
