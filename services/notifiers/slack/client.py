"""slack-sdk without its surprises: no second POST and no log of its own."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.error import URLError

from slack_sdk.errors import SlackApiError

from services.domain.http.caching import retry_after
from services.notifiers.slack.outcome import Answer
from services.notifiers.slack.sdk_overrides import BotClient, IncomingWebhookClient
from services.notifiers.slack.target import slack_settings
from services.notifiers.slack.transport import Unreached
from services.ports import MaybeDelivered, TransportDown
from services.render import line

RETRY_AFTER_SECONDS = 30.0
"""The pause after a rate limit without a usable Retry-After."""
# The SDK logs URLs, and the URL of a webhook is a secret.
_SILENT = logging.Logger("slack_sdk", level=logging.CRITICAL + 1)


def ask(token: str, method: str, payload: dict[str, Any]) -> Answer | TransportDown | MaybeDelivered:
    """One call of the Web API."""
    return _call(token, method, json=payload)


def read(token: str, method: str, payload: dict[str, Any]) -> Answer | TransportDown | MaybeDelivered:
    """One call that only reads. Not all such methods accept JSON."""
    return _call(token, method, params=payload)


def _call(token: str, method: str, **request: dict[str, Any]) -> Answer | TransportDown | MaybeDelivered:
    client = BotClient(token, slack_settings().slack_api_url, logger=_SILENT, retry_handlers=[])
    try:
        response = client.api_call(method, **request)  # type: ignore[arg-type]
    except SlackApiError as error:
        response = error.response
    except Exception as error:  # An error of the SDK itself comes after the POST.
        return _failure(error)
    data = response.data if isinstance(response.data, dict) else {}
    return Answer(
        status=response.status_code,
        ok=data.get("ok") is True,
        error=_error_code(str(data.get("error", ""))),
        retry_after=_retry_after(response.headers),
        receipt=line(f"{data.get('channel', '')} {data.get('ts', '')}", 80),
        data=data,
    )


def post(url: str, payload: dict[str, Any]) -> Answer | TransportDown | MaybeDelivered:
    """One message to an incoming webhook."""
    try:
        response = IncomingWebhookClient(url, logger=_SILENT, retry_handlers=[]).send_dict(payload)
    except Exception as error:
        return _failure(error)
    text = response.body.strip()
    wait = _retry_after(response.headers)
    return Answer(status=response.status_code, ok=text == "ok", error=_error_code(text), retry_after=wait, receipt="ok")


def _error_code(text: str) -> str:
    """Slack's error codes are single words. Other text comes from another server and is dropped."""
    return text if text.isidentifier() and text.isascii() and len(text) <= 60 and text != "ok" else ""


def _retry_after(headers: Mapping[str, str]) -> float:
    header = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
    wait = retry_after(header, datetime.now(UTC))
    return RETRY_AFTER_SECONDS if wait is None else wait


def _failure(error: Exception) -> TransportDown | MaybeDelivered:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, Unreached):
        return TransportDown(f"Slack cannot be reached: {_describe_error(reason.__cause__)}")
    return MaybeDelivered(f"no answer from Slack: {_describe_error(reason)}")


def _describe_error(error: object) -> str:
    """The error without its URL, which may be a secret."""
    if isinstance(error, TimeoutError):
        return "timed out"
    return line(error.strerror) if isinstance(error, OSError) and error.strerror else type(error).__name__
