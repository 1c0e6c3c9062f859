"""The server's address, and one request to it."""

import json
import time
from collections.abc import Sequence
from functools import cached_property
from urllib.parse import urlsplit

from services.domain.http.ssrf import WEB_PORTS
from services.errors import ConfigError, EmbedderError
from services.http.client import Failed, Fetcher

TIMEOUT = 20.0
"""Seconds for one request, everything together."""
MAX_ANSWER = 16 * 1024 * 1024
"""32 vectors of 4,096 numbers in JSON take 3 MiB."""
REFUSES_TEXTS = (400, 413, 422)
"""How servers say that a text is too long for their model, or not to their liking."""
ADVICE = {
    401: "check PAPERWIRE_EMBEDDER_KEY",
    403: "check PAPERWIRE_EMBEDDER_KEY and what it may do",
    404: "check the address and the model's name in PAPERWIRE_EMBEDDER",
    429: "it asks for a pause",
}
HINT = "PAPERWIRE_EMBEDDER reads openai:https://host/v1#MODEL"


class TextsRefused(EmbedderError):
    """The server answers, but not to these texts."""


def parse(argument: str) -> tuple[str, str]:
    """The address to post to, and the model's name, of `URL#MODEL`. Raises ConfigError."""
    url, _, model = argument.partition("#")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{HINT}: its address cannot be read") from None
    if parts.scheme not in WEB_PORTS or not parts.hostname or port == 0:
        raise ConfigError(f"{HINT}: it needs an address that begins with http:// or https://")
    if parts.username or parts.password or parts.query:
        raise ConfigError(f"{HINT}: a key belongs into PAPERWIRE_EMBEDDER_KEY, not into the address")
    if not model.strip() or len(model) > 200 or not model.isprintable():
        raise ConfigError(f"{HINT}: it needs the name of a model after #")
    path = parts.path.rstrip("/") or "/v1"
    path = path if path.endswith("/embeddings") else f"{path}/embeddings"
    return f"{parts.scheme}://{parts.netloc}{path}", model.strip()


class Endpoint:
    """Where vectors are asked for. The address is the operator's, so it may be a private one."""

    def __init__(self, url: str, model: str, key: str, user_agent: str) -> None:
        self.model = model
        self._url, self._user_agent = url, user_agent
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        self._headers |= {"Authorization": f"Bearer {key}"} if key else {}

    @cached_property
    def _fetcher(self) -> Fetcher:
        # Made late: certificates take their time, and not every command embeds.
        parts = urlsplit(self._url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        own = f"{host}:{parts.port or WEB_PORTS[parts.scheme]}"
        return Fetcher(user_agent=self._user_agent, allow_hosts=[own])

    def post(self, texts: Sequence[str], end: float) -> bytes:
        """The body of the answer, which must be there before `end` of the monotonic clock.

        Raises EmbedderError with what the server says of when to come again, TextsRefused where another text may pass.
        """
        timeout = min(TIMEOUT, end - time.monotonic())
        if timeout <= 0:
            raise EmbedderError("the embedding server is too slow: a batch was not done in time")
        # A half of a surrogate pair is no text, and no JSON that every server reads.
        readable = [text.encode("utf-8", "replace").decode() for text in texts]
        body = json.dumps({"model": self.model, "input": readable}).encode()
        answer = self._fetcher.ask(self._url, body, self._headers, timeout, MAX_ANSWER)
        if not isinstance(answer, Failed):
            return answer.body
        if answer.status in REFUSES_TEXTS:
            raise TextsRefused(
                f"the embedding server refuses what it is asked ({answer.status}): check the model's name"
            )
        advice = ADVICE.get(answer.status)
        reason = f"{answer.reason}: {advice}" if advice else answer.reason
        raise EmbedderError(f"embedding server: {reason}", after=answer.retry_after)
