"""Parses and checks the answer of an embedding server."""

import base64
import binascii
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.errors import EmbedderError

Vector = NDArray[np.float32]
MAX_DIMENSIONS = 16_000
"""The limit of pgvector's type `vector`."""
EPSILON = 1e-9


def parse_vectors(body: bytes, count: int) -> list[Vector | None]:
    """`count` vectors of length 1, in the order of the texts; None for a vector of zeros or with NaN.

    Raises EmbedderError for any other answer.
    """
    try:
        items = json.loads(body)["data"]
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise TypeError
        if len(items) != count:
            raise EmbedderError(f"the embedding server answers {len(items)} vectors to {count} texts")
        return [_unit_vector(item.get("embedding")) for item in _in_order(items)]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise EmbedderError("the embedding server's answer is not a list of embeddings") from None


def _in_order(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sorted by `index`, as the answer may be in another order. Servers that omit `index` answer in order."""
    if not any("index" in item for item in items):
        return items
    indexes = [item.get("index") for item in items]
    if not all(type(index) is int for index in indexes) or sorted(indexes) != list(range(len(items))):  # type: ignore[type-var]
        raise EmbedderError("the embedding server does not say which vector is which text's")
    return sorted(items, key=lambda item: int(item["index"]))


def _unit_vector(embedding: object) -> Vector | None:
    """The vector scaled to length 1. Some servers send base64 of little-endian floats."""
    if isinstance(embedding, str):
        try:
            numbers = np.frombuffer(base64.b64decode(embedding, validate=True), "<f4").astype(np.float64)
        except binascii.Error:
            raise ValueError from None
    elif isinstance(embedding, list) and all(type(number) in (int, float) for number in embedding):
        numbers = np.array([float(number) for number in embedding], np.float64)
    else:
        raise ValueError
    if not 1 <= len(numbers) <= MAX_DIMENSIONS:
        raise EmbedderError(f"the embedding server answers with vectors of {len(numbers)} numbers")
    if not np.isfinite(numbers).all() or (largest := np.abs(numbers).max()) < EPSILON:
        return None
    scaled = numbers / largest  # Otherwise the square of 1e200 would overflow.
    unit: Vector = np.asarray(scaled / np.linalg.norm(scaled), np.float32)
    return unit
