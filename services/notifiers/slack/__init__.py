"""Slack: messages to a channel with a bot token, or to an incoming webhook."""

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr, ValidationError

from services.domain.digests.digest import Digest
from services.errors import TargetError
from services.notifiers.slack import blocks, client, outcome, preview, reconcile
from services.notifiers.slack.outcome import Answer, InvalidBlocks
from services.notifiers.slack.target import (
    SlackSettings,
    SlackTarget,
    digest_of,
    require_webhook_host,
    slack_settings,
)
from services.ports import Envelope, NotDelivered, Outcome, Policy, RateLimit, Rejected, Retry, Sent, TransportDown

__all__ = ["SlackSettings", "SlackTarget", "plugin", "slack_settings"]

Payload = dict[str, Any]
# https://docs.slack.dev/apis/web-api/rate-limits: one message a second in a channel or through an incoming webhook, and
# "several hundred" a minute in a workspace.
POST_INTERVAL = timedelta(seconds=1)
WORKSPACE_INTERVAL = timedelta(minutes=1) / 235
"""Slightly fewer than 240 a minute, since the rate limit makes up for late messages."""
UPDATE_INTERVAL = timedelta(minutes=1) / 50
"""`chat.update` is Tier 3."""
PERSON_IDS = ("U", "W", "D")
"""Ids of persons, and of conversations with one person, begin with one of these. Names of channels begin with `#`."""
# Makes the client_msg_id of a delivery, which is equal in all its attempts.
_DELIVERIES = uuid.UUID("6e2f0e6c-5a0c-4b2b-9a53-6d3cf1c1b8a4")


class Slack:
    kind = "slack"
    summary = "One message per announcement in a channel, each paper with its reasons"
    example = "#papers"
    target: type[BaseModel] = SlackTarget
    lease = timedelta(seconds=60)

    def parse_target(self, text: str) -> SlackTarget:
        is_url = "://" in text
        try:
            target = SlackTarget(webhook_url=SecretStr(text.strip())) if is_url else SlackTarget(channel=text)
        except ValidationError as error:
            raise TargetError(f"this {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
        if is_url:
            require_webhook_host(text.strip())
        return target

    def label(self, target: BaseModel) -> str:
        slack = _slack(target)
        url, token = slack.webhook_url.get_secret_value(), slack.token.get_secret_value()
        if url:
            return f"webhook …{url[-4:]}"
        # Two workspaces may have channels of one name, but never of one id.
        is_name = slack.channel.startswith("#") and token
        return f"{slack.channel} (token {digest_of(token, 6)})" if is_name else slack.channel

    def transport(self, target: BaseModel) -> str:
        slack = _slack(target)
        if slack.channel:
            return f"slack:{digest_of(slack.bot_token(), 12)}"
        return f"slack:{urlsplit(slack.webhook_url.get_secret_value()).hostname}"

    def rate_limit_key(self, target: BaseModel) -> str:
        slack = _slack(target)
        place = slack.channel or digest_of(slack.webhook_url.get_secret_value(), 12)
        return f"{self.transport(target)}:{place}"

    def rate_limit(self, target: BaseModel, kind: str) -> RateLimit:
        per_channel = UPDATE_INTERVAL if kind == "update" else POST_INTERVAL
        per_transport = WORKSPACE_INTERVAL if _slack(target).channel else timedelta()
        return RateLimit(per_channel=per_channel, per_transport=per_transport)

    def policy(self, public_fields: Mapping[str, Any], kind: str) -> Policy:
        """A repeated update changes nothing. A webhook offers no lookup of its messages."""
        has_token = bool(public_fields.get("channel"))
        return Policy(can_reconcile=has_token and kind != "update", idempotent=kind == "update")

    def follow_ups(self, public_fields: Mapping[str, Any]) -> frozenset[str]:
        """A webhook answers without the `ts` that a thread or an update has to name."""
        return frozenset({"thread", "update"} if public_fields.get("channel") else ())

    def needs_opt_in(self, target: BaseModel) -> bool:
        """Everybody may name a conversation of the operator's bot. A token and a webhook's address were given."""
        slack = _slack(target)
        return bool(slack.channel) and not slack.token.get_secret_value()

    def is_person(self, target: BaseModel) -> bool:
        return _slack(target).channel.startswith(PERSON_IDS)

    def asked_place(self, receipt: str) -> str:
        """The id of the conversation, which may have been named by its name or by a person."""
        return receipt.partition(" ")[0]

    def render(self, digest: Digest, envelope: Envelope, target: BaseModel) -> bytes:
        channel = _slack(target).channel
        match digest.kind:
            case "thread":
                payload: Payload = blocks.thread(digest)
            case "confirm":
                payload = blocks.opt_in_request(envelope.confirm_url, envelope.unsubscribe_url)
            case _:
                payload = blocks.message(digest, brief=not channel)
        if channel:
            payload |= _address(channel, digest.kind, envelope)
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()

    def preview(self, body: bytes) -> str:
        return preview.preview(body)

    def send(self, body: bytes, target: BaseModel, commit: Callable[[], None]) -> Outcome:
        slack = _slack(target)
        payload: Payload = json.loads(body)
        obstacle = _obstacle(slack)
        if obstacle:
            return obstacle
        commit()
        result = _post(payload, slack)
        if isinstance(result, InvalidBlocks):
            # Slack has posted nothing, so the plain form is not a second message.
            plain = {name: value for name, value in payload.items() if name != "blocks"}
            result = _post(plain | ({"blocks": []} if "ts" in payload else {}), slack)
        return Rejected(f"Slack: {result}") if isinstance(result, InvalidBlocks) else result

    def reconcile(self, body: bytes, target: BaseModel, receipt: str, sent_at: datetime) -> Outcome | NotDelivered:
        token = _slack(target).bot_token()
        return reconcile.reconcile(token, json.loads(body), receipt, sent_at) if token else _NO_TOKEN

    def probe(self, target: BaseModel) -> TransportDown | None:
        """A webhook has nothing to ask: its next message is the check."""
        slack = _slack(target)
        if not slack.channel:
            return None
        if not slack.bot_token():
            return _NO_TOKEN
        return _token_fault(slack.bot_token())


_NO_TOKEN = TransportDown("no Slack token: set PAPERWIRE_SLACK_BOT_TOKEN or give the channel one", person=True)


def _slack(target: BaseModel) -> SlackTarget:
    assert isinstance(target, SlackTarget)
    return target


def _address(channel: str, kind: str, envelope: Envelope) -> Payload:
    """Where a bot's message goes, and the metadata that `reconcile` looks for."""
    channel_id, _, ts = envelope.about.partition(" ")
    if kind == "update":
        return {"channel": channel_id, "ts": ts}
    place = {"channel": channel_id, "thread_ts": ts} if kind == "thread" else {"channel": channel}
    client_msg_id = str(uuid.uuid5(_DELIVERIES, envelope.message_id))
    return place | {"client_msg_id": client_msg_id, "metadata": reconcile.metadata(envelope.delivery_id)}


def _obstacle(target: SlackTarget) -> TransportDown | Rejected | None:
    """What makes a message impossible before any request."""
    if target.channel:
        return None if target.bot_token() else _NO_TOKEN
    try:
        require_webhook_host(target.webhook_url.get_secret_value())
    except TargetError as error:
        return Rejected(str(error), scope="channel")
    return None


def _token_fault(token: str) -> TransportDown | None:
    """Why Slack cannot be used with the token; None when Slack accepts it."""
    answer = client.ask(token, "auth.test", {})
    if not isinstance(answer, Answer):
        return TransportDown(answer.reason)
    if isinstance(outcome.bot_outcome(answer), Sent | Retry):
        return None
    return TransportDown(f"no sign-in: {answer}", person=True)


def _post(payload: Payload, target: SlackTarget) -> Outcome | InvalidBlocks:
    if target.channel:
        answer = client.ask(target.bot_token(), "chat.update" if "ts" in payload else "chat.postMessage", payload)
        if not isinstance(answer, Answer):
            return answer
        if answer.error in outcome.CONVERSATION_ERRORS and _token_fault(target.bot_token()) is None:
            return Rejected(str(answer), scope="channel")
        return outcome.bot_outcome(answer)
    answer = client.post(target.webhook_url.get_secret_value(), payload)
    return outcome.webhook_outcome(answer) if isinstance(answer, Answer) else answer


plugin = Slack()
