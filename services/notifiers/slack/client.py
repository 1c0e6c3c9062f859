"""slack-sdk without its surprises: no second POST, no redirect, no proxy from the environment, no log of its own."""

import logging
import ssl
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from http.client import HTTPConnection, HTTPMessage, HTTPResponse, HTTPSConnection
from typing import IO, Any
from urllib.error import URLError
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.webhook import WebhookClient, WebhookResponse

from services.domain.http.caching import retry_after
from services.notifiers.slack.outcome import Answer
from services.notifiers.slack.target import slack_settings
from services.ports import MaybeDelivered, TransportDown
from services.render import line
from services.settings import settings

MAX_ANSWER = 1 << 20
RETRY_AFTER = 30.0
"""Seconds, when a rate limit comes without a usable Retry-After."""
# It logs URLs, which hold a webhook's secret.
_SILENT = logging.Logger("slack_sdk", level=logging.CRITICAL + 1)


class Unreached(OSError):
    """No connection came about, so nothing can have been sent."""


class _Http(HTTPConnection):
    def connect(self) -> None:
        _reached(super().connect)


class _Https(HTTPSConnection):
    def connect(self) -> None:
        _reached(super().connect)


def _reached(connect: Callable[[], None]) -> None:
    try:
        connect()
    except OSError as error:
        raise Unreached(*error.args) from error


class _Plain(HTTPHandler):
    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_Http, req)


class _Encrypted(HTTPSHandler):
    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_Https, req, context=_tls())


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """None makes the redirect an HTTPError: urllib would carry the token along to whatever host it names."""
        return None


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


_opening = threading.Lock()
"""Reading the machine's certificates takes longer than a message: once, not in every thread that comes first."""


def _opener() -> OpenerDirector:
    with _opening:
        return _made_opener()


@cache
def _made_opener() -> OpenerDirector:
    return build_opener(ProxyHandler({}), _Plain(), _Encrypted(), _NoRedirect())


def _post(request: Request) -> tuple[int, HTTPMessage, str]:
    # The SDK has no switch for proxies and redirects, hence this in place of its own urlopen.
    with _opener().open(request, timeout=_timeout()) as response:
        return response.status, response.headers, response.read(MAX_ANSWER).decode("utf-8", "replace")


def _timeout() -> float:
    return max(1.0, 15.0 * settings().time_scale)


class _Bot(WebClient):
    def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, Any]:
        status, headers, body = _post(req)
        return {"status": status, "headers": headers, "body": body}


class _Webhook(WebhookClient):
    def _perform_http_request_internal(self, url: str, req: Request) -> WebhookResponse:
        status, headers, body = _post(req)
        return WebhookResponse(url=url, status_code=status, body=body, headers=dict(headers))


def ask(token: str, method: str, payload: dict[str, Any]) -> Answer | TransportDown | MaybeDelivered:
    """One call of the Web API."""
    return _call(token, method, json=payload)


def read(token: str, method: str, payload: dict[str, Any]) -> Answer | TransportDown | MaybeDelivered:
    """One call that only reads: those take no JSON everywhere."""
    return _call(token, method, params=payload)


def _call(token: str, method: str, **request: dict[str, Any]) -> Answer | TransportDown | MaybeDelivered:
    client = _Bot(token, slack_settings().slack_api_url, logger=_SILENT, retry_handlers=[])
    try:
        response = client.api_call(method, **request)  # type: ignore[arg-type]
    except SlackApiError as error:
        response = error.response
    except Exception as error:  # Whatever the SDK trips over came after the POST.
        return _failure(error)
    data = response.data if isinstance(response.data, dict) else {}
    return Answer(
        status=response.status_code,
        ok=data.get("ok") is True,
        error=_word(str(data.get("error", ""))),
        retry_after=_retry_after(response.headers),
        receipt=line(f"{data.get('channel', '')} {data.get('ts', '')}", 80),
        data=data,
    )


def post(url: str, payload: dict[str, Any]) -> Answer | TransportDown | MaybeDelivered:
    """One message to an incoming webhook."""
    try:
        response = _Webhook(url, logger=_SILENT, retry_handlers=[]).send_dict(payload)
    except Exception as error:
        return _failure(error)
    said = response.body.strip()
    wait = _retry_after(response.headers)
    return Answer(status=response.status_code, ok=said == "ok", error=_word(said), retry_after=wait, receipt="ok")


def _word(text: str) -> str:
    """Slack's errors are single words; anything else is somebody's page, and of no use in a reason."""
    return text if text.isidentifier() and text.isascii() and len(text) <= 60 and text != "ok" else ""


def _retry_after(headers: Mapping[str, str]) -> float:
    named = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
    wait = retry_after(named, datetime.now(UTC))
    return RETRY_AFTER if wait is None else wait


def _failure(error: Exception) -> TransportDown | MaybeDelivered:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, Unreached):
        return TransportDown(f"Slack cannot be reached: {_describe_error(reason.__cause__)}")
    return MaybeDelivered(f"no answer from Slack: {_describe_error(reason)}")


def _describe_error(error: object) -> str:
    """In words that hold no URL."""
    if isinstance(error, TimeoutError):
        return "timed out"
    return line(error.strerror) if isinstance(error, OSError) and error.strerror else type(error).__name__
