"""Webhooks by the Standard Webhooks specification: a signed POST of JSON to any address."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr, ValidationError

from services.domain.digests.digest import Digest
from services.domain.http.ssrf import NotAllowed
from services.errors import TargetError
from services.http.client import Answered, Failed, Fetcher
from services.notifiers.webhook import signing
from services.notifiers.webhook.payload import payload
from services.notifiers.webhook.target import WebhookTarget, digest_of, require_allowed
from services.ports import (
    Envelope,
    MaybeDelivered,
    Outcome,
    Policy,
    RateLimit,
    Rejected,
    Retry,
    Sent,
    TransportDown,
)
from services.render import render
from services.settings import settings

__all__ = ["WebhookTarget", "plugin"]

# The example schedule of the specification, without its first, immediate attempt:
# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#delivery-retries
RETRIES = (
    timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(hours=5),
    timedelta(hours=10), timedelta(hours=14), timedelta(hours=20), timedelta(hours=24),
)  # fmt: skip
TIMEOUT_SECONDS = 20.0
INTERVAL = timedelta(seconds=1)
"""Between two posts to one host, whichever accounts and addresses they belong to."""
INTERVAL_BEFORE_ACCEPTANCE = timedelta(hours=1)
"""Between two posts of one account to a host, until the host answered the channel with 2xx once."""


class Webhook:
    kind = "webhook"
    summary = "A signed POST of JSON to any address, after Standard Webhooks"
    example = "https://example.org/hooks/papers"
    target: type[BaseModel] = WebhookTarget
    lease = timedelta(seconds=60)

    def parse_target(self, text: str) -> WebhookTarget:
        try:
            target = WebhookTarget(url=SecretStr(text.strip()))
            require_allowed(text.strip())
        except NotAllowed as error:
            raise TargetError(str(error)) from None
        except (ValidationError, ValueError):
            raise TargetError("this is not a webhook; it reads https://example.org/hooks/papers") from None
        return target

    def label(self, target: BaseModel) -> str:
        url = _url(target)
        return f"{urlsplit(url).hostname} ({digest_of(url, 6)})"

    def transport(self, target: BaseModel) -> str:
        return f"webhook:{digest_of(_url(target), 12)}"

    def transport_before_acceptance(self, target: BaseModel, account_id: int) -> str:
        """One for all addresses of a host, since an account can invent any number of addresses."""
        return f"webhook:{_host(target)}:unaccepted:{account_id}"

    def interval_before_acceptance(self) -> timedelta:
        return INTERVAL_BEFORE_ACCEPTANCE * settings().time_scale

    def rate_limit_key(self, target: BaseModel) -> str:
        return f"webhook:{_host(target)}:posts"

    def rate_limit(self, target: BaseModel, kind: str) -> RateLimit:
        """All webhooks of a host share the interval. A Retry-After header concerns one address alone."""
        return RateLimit(per_channel=INTERVAL * settings().time_scale, shared_by_strangers=True)

    def policy(self, public_fields: Mapping[str, Any], kind: str) -> Policy:
        """Receivers recognise a repeated message by its `webhook-id`, so a missing answer is simply a failure."""
        return Policy(idempotent=True, retries=RETRIES)

    def with_new_secret(self, target: BaseModel, now: datetime) -> tuple[BaseModel, str]:
        secret = signing.new_secret()
        return _webhook(target).with_secret(secret, now), secret

    def render(self, digest: Digest, envelope: Envelope, target: BaseModel) -> bytes:
        return json.dumps(payload(digest, envelope), ensure_ascii=False, separators=(",", ":")).encode()

    def preview(self, body: bytes) -> str:
        return render("webhook/message.html", json=json.dumps(json.loads(body), ensure_ascii=False, indent=2))

    def send(self, body: bytes, target: BaseModel, commit: Callable[[], None]) -> Outcome:
        url, now = _url(target), int(time.time())
        secrets = _webhook(target).stored_secrets(datetime.fromtimestamp(now, UTC))
        if not all(secrets):
            return Rejected("it has no signing secret: make a new one", scope="channel")
        signed = signing.headers(json.loads(body)["id"], now, body, *secrets)
        try:
            require_allowed(url)
            commit()
            timeout = max(1.0, TIMEOUT_SECONDS * settings().time_scale)
            answer = _fetcher().post(url, body, {"Content-Type": "application/json", **signed}, timeout)
        except NotAllowed as error:
            return Rejected(str(error), scope="channel")
        return _outcome(answer)

    def probe(self, target: BaseModel) -> TransportDown | None:
        """A webhook's transport is never down: each webhook has its own retry schedule."""
        return None


def _outcome(answer: Answered | Failed) -> Outcome:
    if isinstance(answer, Failed):
        return MaybeDelivered(answer.reason)
    if 200 <= answer.status < 300:
        return Sent(f"HTTP {answer.status}")
    reason = f"the webhook answered {answer.status}"
    if answer.status == 410:
        return Rejected(f"{reason}: it is gone", scope="channel")
    if 300 <= answer.status < 400:
        return Retry(f"{reason}, a redirect, which is not followed: add the new address instead")
    return Retry(reason, after=answer.retry_after)


_fetcher_lock = threading.Lock()


@cache
def _fetcher_of(user_agent: str, allowed: tuple[str, ...]) -> Fetcher:
    return Fetcher(user_agent=user_agent, allow_hosts=allowed)


def _fetcher() -> Fetcher:
    with _fetcher_lock:  # Loading the system's certificates is slow, so one thread does it for all.
        return _fetcher_of(settings().user_agent, settings().webhook_hosts)


def _webhook(target: BaseModel) -> WebhookTarget:
    assert isinstance(target, WebhookTarget)
    return target


def _host(target: BaseModel) -> str:
    return urlsplit(_url(target)).hostname or ""


def _url(target: BaseModel) -> str:
    return _webhook(target).url.get_secret_value()


plugin = Webhook()
