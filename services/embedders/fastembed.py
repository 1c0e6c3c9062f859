"""Any model that fastembed knows, in this process; it is downloaded once, into the data directory."""

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
"""A tokeniser reads everything before it truncates, and a hostile abstract is endless."""
EXTRA = "PAPERWIRE_EMBEDDER: fastembed is not installed; run: pip install 'paperwire[fastembed]'"


class FastEmbed:
    """One model of fastembed's."""

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
            # One by one: nothing is padded, and no company changes a vector.
            rows = np.array(list(_loaded(self._model, os.getpid()).embed(readable, batch_size=1)), np.float32)
        except EmbedderError:
            raise
        except Exception as error:  # onnxruntime raises what it likes
            raise EmbedderError(f"the embedding model failed: {_line(error)}") from error
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if rows.shape != (len(texts), self.dimensions) or not np.isfinite(lengths).all() or not lengths.all():
            raise EmbedderError(f"{self.name} gives vectors that are no directions")
        unit: Vector = rows / lengths
        return unit


@cache
def _loaded(model: str, process: int) -> Any:
    """The model of this process, downloaded where it is missing."""
    from fastembed import TextEmbedding

    directory = settings().data_dir / "models" / "fastembed"
    try:
        return TextEmbedding(model, cache_dir=str(directory), cuda=False)
    except Exception as error:  # whatever the hub, the disk and onnxruntime raise
        raise EmbedderError(f"cannot load {model}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def plugin(argument: str) -> Embedder:
    """Of a model's name. Raises ConfigError, also without the package, which is an extra."""
    try:
        from fastembed import TextEmbedding
    except ImportError:
        raise ConfigError(EXTRA) from None
    known = {one["model"].lower(): one for one in TextEmbedding.list_supported_models()}
    found = known.get(argument.strip().lower())
    if found is None:
        asked = f"no model {argument[:80]!r}" if argument else "which model? write fastembed:NAME"
        raise ConfigError(f"PAPERWIRE_EMBEDDER: {asked}; fastembed knows, among others, BAAI/bge-small-en-v1.5")
    return FastEmbed(found["model"], int(found["dim"]))
