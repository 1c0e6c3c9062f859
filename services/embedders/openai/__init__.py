"""Any server that answers OpenAI's `POST /v1/embeddings`: theirs, or one of one's own (Ollama, vLLM, TEI …)."""

import time
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from services.domain.interests import model_reference
from services.embedders.openai.answer import read
from services.embedders.openai.endpoint import Endpoint, TextsRefused, parse
from services.errors import ConfigError, EmbedderError
from services.ports import Embedder
from services.settings import Configured, load, settings

Vector = NDArray[np.float32]
MAX_TEXTS = 32
"""In one request: what the strictest servers take unless told otherwise."""
PATIENCE = 30.0
"""Seconds for a batch and all that it takes to ask again: eight batches fit into the lease of a worker."""
LONGEST_TEXT, SHORT_TEXT = 6_000, 500
"""Characters. The longer is hardly more than 8,192 tokens in any language, the shorter hardly more than 512."""
PLAIN_TEXT = "a paper"
"""What no server refuses; it stands in for a text that one does."""


class OpenAISettings(Configured):
    embedder_key: SecretStr = SecretStr("")


class RemoteModel:
    """One model of one server. Its name is the model's alone: a server that moves gives the same vectors."""

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
        """The vectors of the texts that every model is measured on, asked for once in a process."""
        return np.stack(self._batch(model_reference.TEXTS))

    def embed(self, texts: Sequence[str]) -> Vector:
        rows: list[Vector] = []
        for start in range(0, len(texts), MAX_TEXTS):
            rows += self._batch(texts[start : start + MAX_TEXTS])
        return np.stack(rows) if rows else np.empty((0, self.dimensions), np.float32)

    def _batch(self, texts: Sequence[str]) -> list[Vector]:
        """A vector for each text; what the server refuses or makes nonsense of is asked for cut short, then plainly."""
        end, rows = time.monotonic() + self._patience, list[Vector | None]([None] * len(texts))
        for cut in (lambda text: text[:LONGEST_TEXT], lambda text: text[:SHORT_TEXT], lambda text: PLAIN_TEXT):
            missing = [position for position, row in enumerate(rows) if row is None]
            if missing:
                found = self._ask([cut(texts[position]) or PLAIN_TEXT for position in missing], end)
                for position, row in zip(missing, found, strict=True):
                    rows[position] = row
        return [self._checked(row) for row in rows]

    def _ask(self, texts: Sequence[str], end: float) -> list[Vector | None]:
        """None for what the server refuses: found by halves, so that one text costs the others nothing."""
        try:
            return read(self._endpoint.post(texts, end), len(texts))
        except TextsRefused:
            if list(texts) == [PLAIN_TEXT]:
                raise
            if len(texts) == 1:
                return [None]
            # A server that refuses everything, say for the model's name, is asked no more.
            self._endpoint.post([PLAIN_TEXT], end)
            half = len(texts) // 2
            return [*self._ask(texts[:half], end), *self._ask(texts[half:], end)]

    def _checked(self, row: Vector | None) -> Vector:
        if row is None:
            raise EmbedderError(
                "the embedding server answers with vectors that are no directions (zeros or no numbers)"
            )
        self._length = self._length or len(row)
        if len(row) != self._length:
            raise EmbedderError(f"the embedding server answers with {len(row)} numbers a text, before {self._length}")
        return row


def plugin(argument: str, patience: float = PATIENCE) -> Embedder:
    """Of `URL#MODEL`. Raises ConfigError."""
    url, model = parse(argument)
    key = load(OpenAISettings).embedder_key.get_secret_value().strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("PAPERWIRE_EMBEDDER_KEY: a key is one line of plain characters")
    return RemoteModel(Endpoint(url, model, key, settings().user_agent), patience)
