"""The address of an embedding server, and one request to it."""

import json
import time
from collections.abc import Sequence
from functools import cached_property
from urllib.parse import urlsplit

from services.domain.http.ssrf import WEB_PORTS
from services.errors import ConfigError, EmbedderError
from services.http.client import Failed, Fetcher

TIMEOUT = 20.0
"""Seconds for one request."""
MAX_ANSWER = 16 * 1024 * 1024
"""Bytes. 32 vectors of 4,096 numbers in JSON take 3 MiB."""
TEXTS_REJECTED = (400, 413, 422)
"""Status codes by which servers reject a text, for example because it is too long for the model."""
# https://platform.openai.com/docs/guides/error-codes
ADVICE = {
    401: "check PAPERWIRE_EMBEDDER_KEY",
    403: "check PAPERWIRE_EMBEDDER_KEY and what it may do",
    404: "check the address and the model's name in PAPERWIRE_EMBEDDER",
    429: "it asks for a pause",
}
HINT = "PAPERWIRE_EMBEDDER reads openai:https://host/v1#MODEL"


class TextsRejected(EmbedderError):
    """The server works, but it rejects these texts."""


def parse_setting(argument: str) -> tuple[str, str]:
    """The URL to post to and the model's name, from `URL#MODEL`. Raises ConfigError."""
    url, _, model = argument.partition("#")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{HINT}: its address cannot be read") from None
    if parts.scheme not in WEB_PORTS or not parts.hostname or port == 0:
        raise ConfigError(f"{HINT}: it needs an address that begins with http:// or https://")
    if parts.username or parts.password or parts.query:
        raise ConfigError(f"{HINT}: the key goes into PAPERWIRE_EMBEDDER_KEY, not into the address")
    if not model.strip() or len(model) > 200 or not model.isprintable():
        raise ConfigError(f"{HINT}: it needs the name of a model after #")
    path = parts.path.rstrip("/") or "/v1"
    path = path if path.endswith("/embeddings") else f"{path}/embeddings"
    return f"{parts.scheme}://{parts.netloc}{path}", model.strip()


class Endpoint:
    """An embedding server. The operator sets its address, so a private address is allowed."""

    def __init__(self, url: str, model: str, key: str, user_agent: str) -> None:
        self.model = model
        self._url, self._user_agent = url, user_agent
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        self._headers |= {"Authorization": f"Bearer {key}"} if key else {}

    @cached_property
    def _fetcher(self) -> Fetcher:
        # Created on first use: loading certificates is slow, and not every command embeds.
        parts = urlsplit(self._url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        own = f"{host}:{parts.port or WEB_PORTS[parts.scheme]}"
        return Fetcher(user_agent=self._user_agent, allow_hosts=[own])

    def post(self, texts: Sequence[str], end: float) -> bytes:
        """The body of the answer, received before `end` of the monotonic clock.

        Raises TextsRejected if other texts may be accepted, otherwise EmbedderError with the server's Retry-After.
        """
        timeout = min(TIMEOUT, end - time.monotonic())
        if timeout <= 0:
            raise EmbedderError("the embedding server is too slow: a batch was not done in time")
        # An unpaired surrogate is not valid in the JSON of every server.
        readable = [text.encode("utf-8", "replace").decode() for text in texts]
        body = json.dumps({"model": self.model, "input": readable}).encode()
        answer = self._fetcher.ask(self._url, body, self._headers, timeout, MAX_ANSWER)
        if not isinstance(answer, Failed):
            return answer.body
        if answer.status in TEXTS_REJECTED:
            raise TextsRejected(f"the embedding server rejects the request ({answer.status}): check the model's name")
        advice = ADVICE.get(answer.status)
        reason = f"{answer.reason}: {advice}" if advice else answer.reason
        raise EmbedderError(f"embedding server: {reason}", after=answer.retry_after)
