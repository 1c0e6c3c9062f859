"""Any server with OpenAI's `POST /v1/embeddings`: OpenAI itself, or a local one (Ollama, vLLM, TEI …).

The API: https://platform.openai.com/docs/api-reference/embeddings
"""

import time
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from services.domain.interests import model_reference
from services.embedders.openai.answer import parse_vectors
from services.embedders.openai.endpoint import Endpoint, TextsRejected, parse_setting
from services.errors import ConfigError, EmbedderError
from services.ports import Embedder
from services.settings import Configured, load, settings

Vector = NDArray[np.float32]
MAX_TEXTS = 32
"""Texts in one request: the default limit of the strictest servers."""
BATCH_TIMEOUT = 30.0
"""Seconds for a batch with its retries: eight batches fit into the lease of a worker."""
MAX_TEXT = 6_000
"""Characters: fewer than 8,192 tokens in nearly every language."""
SHORT_TEXT = 500
"""Characters: fewer than 512 tokens in nearly every language."""
PLACEHOLDER_TEXT = "a paper"
"""A text that every server accepts; it replaces a rejected text."""


class OpenAISettings(Configured):
    embedder_key: SecretStr = SecretStr("")


class RemoteModel:
    """One model of one server. The name omits the server, since a server that moves gives the same vectors."""

    def __init__(self, endpoint: Endpoint, patience: float) -> None:
        self.name = f"openai:{endpoint.model}"
        self._endpoint, self._patience = endpoint, patience
        self._length: int | None = None

    @property
    def dimensions(self) -> int:
        return self._length or len(self._reference[0])

    @property
    def score_quantiles(self) -> Sequence[tuple[float, float]]:
        return model_reference.score_quantiles(self._reference)

    @property
    def floor(self) -> float:
        return model_reference.score_floor(self._reference)

    @cached_property
    def _reference(self) -> Vector:
        """The vectors of `model_reference.TEXTS`, requested once in a process."""
        return np.stack(self._batch(model_reference.TEXTS))

    def embed(self, texts: Sequence[str]) -> Vector:
        rows: list[Vector] = []
        for start in range(0, len(texts), MAX_TEXTS):
            rows += self._batch(texts[start : start + MAX_TEXTS])
        return np.stack(rows) if rows else np.empty((0, self.dimensions), np.float32)

    def _batch(self, texts: Sequence[str]) -> list[Vector]:
        """A vector for each text. A rejected text is sent again shortened, then replaced by a placeholder."""
        end, rows = time.monotonic() + self._patience, list[Vector | None]([None] * len(texts))
        for cut in (lambda text: text[:MAX_TEXT], lambda text: text[:SHORT_TEXT], lambda text: PLACEHOLDER_TEXT):
            missing = [position for position, row in enumerate(rows) if row is None]
            if missing:
                answered = self._ask([cut(texts[position]) or PLACEHOLDER_TEXT for position in missing], end)
                for position, row in zip(missing, answered, strict=True):
                    rows[position] = row
        return [self._checked(row) for row in rows]

    def _ask(self, texts: Sequence[str], end: float) -> list[Vector | None]:
        """None for each rejected text. A rejected batch is halved, so that one text does not affect the others."""
        try:
            return parse_vectors(self._endpoint.post(texts, end), len(texts))
        except TextsRejected:
            if list(texts) == [PLACEHOLDER_TEXT]:
                raise
            if len(texts) == 1:
                return [None]
            # Raises if the server rejects everything, for example because of the model's name.
            self._endpoint.post([PLACEHOLDER_TEXT], end)
            half = len(texts) // 2
            return [*self._ask(texts[:half], end), *self._ask(texts[half:], end)]

    def _checked(self, row: Vector | None) -> Vector:
        if row is None:
            raise EmbedderError(
                "the embedding server answers with vectors of zeros or NaN; check which model is served"
            )
        self._length = self._length or len(row)
        if len(row) != self._length:
            raise EmbedderError(f"the embedding server answers with {len(row)} numbers a text, before {self._length}")
        return row


def plugin(argument: str, patience: float = BATCH_TIMEOUT) -> Embedder:
    """`argument` is `URL#MODEL`. Raises ConfigError."""
    url, model = parse_setting(argument)
    key = load(OpenAISettings).embedder_key.get_secret_value().strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("PAPERWIRE_EMBEDDER_KEY: a key is one line of plain characters")
    return RemoteModel(Endpoint(url, model, key, settings().user_agent), patience)
