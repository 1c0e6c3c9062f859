"""Any model of the fastembed package, in this process. The model is downloaded once, into the data directory."""

import os
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.domain.interests import model_reference
from services.errors import ConfigError, EmbedderError
from services.ports import Embedder
from services.settings import settings

Vector = NDArray[np.float32]
MAX_CHARACTERS = 10_000
"""The tokenizer reads the whole text before it truncates, and an abstract may be huge."""
EXTRA = "PAPERWIRE_EMBEDDER: fastembed is not installed; run: pip install 'paperwire[fastembed]'"


class FastEmbed:
    def __init__(self, model: str, dimensions: int) -> None:
        self.name = f"fastembed:{model}"
        self.dimensions = dimensions
        self._model = model

    @property
    def score_quantiles(self) -> Sequence[tuple[float, float]]:
        return model_reference.score_quantiles(self._reference)

    @property
    def floor(self) -> float:
        return model_reference.score_floor(self._reference)

    @cached_property
    def _reference(self) -> Vector:
        return self.embed(model_reference.TEXTS)

    def embed(self, texts: Sequence[str]) -> Vector:
        readable = [text[:MAX_CHARACTERS].encode("utf-8", "replace").decode() for text in texts]
        if not readable:
            return np.empty((0, self.dimensions), np.float32)
        try:
            # Text by text: without padding, so that a vector does not depend on the other texts of the batch.
            rows = np.array(list(_loaded(self._model, os.getpid()).embed(readable, batch_size=1)), np.float32)
        except EmbedderError:
            raise
        except Exception as error:  # onnxruntime raises many types
            raise EmbedderError(f"the embedding model failed: {_line(error)}") from error
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if rows.shape != (len(texts), self.dimensions) or not np.isfinite(lengths).all() or not lengths.all():
            raise EmbedderError(f"{self.name} returned vectors of zeros, of NaN or of a wrong length")
        unit: Vector = rows / lengths
        return unit


@cache
def _loaded(model: str, process: int) -> Any:
    """The model of this process, downloaded if it is missing."""
    from fastembed import TextEmbedding

    directory = settings().data_dir / "models" / "fastembed"
    try:
        return TextEmbedding(model, cache_dir=str(directory), cuda=False)
    except Exception as error:  # the download, the disk and onnxruntime raise many types
        raise EmbedderError(f"cannot load {model}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def plugin(argument: str) -> Embedder:
    """`argument` is a model's name. Raises ConfigError for an unknown one, and if the package, an extra, is missing."""
    try:
        from fastembed import TextEmbedding
    except ImportError:
        raise ConfigError(EXTRA) from None
    models = {model["model"].lower(): model for model in TextEmbedding.list_supported_models()}
    model = models.get(argument.strip().lower())
    if model is None:
        problem = f"no model {argument[:80]!r}" if argument else "which model? write fastembed:NAME"
        raise ConfigError(f"PAPERWIRE_EMBEDDER: {problem}; fastembed has, among others, BAAI/bge-small-en-v1.5")
    return FastEmbed(model["model"], int(model["dim"]))
