"""What an embedding server answers, read with suspicion."""

import base64
import binascii
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.errors import EmbedderError

Vector = NDArray[np.float32]
MAX_VECTOR = 16_000
"""Numbers: the most that PostgreSQL's vectors hold."""
ALMOST_NOTHING = 1e-9


def read(body: bytes, count: int) -> list[Vector | None]:
    """`count` vectors of length 1, in the order of the texts; None where there is one that has no direction.

    Raises EmbedderError for what is no such answer.
    """
    try:
        items = json.loads(body)["data"]
        if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
            raise TypeError
        if len(items) != count:
            raise EmbedderError(f"the embedding server answers {len(items)} vectors to {count} texts")
        return [_direction(one.get("embedding")) for one in _in_order(items)]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise EmbedderError("the embedding server's answer is not a list of embeddings") from None


def _in_order(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By `index`, which the answer's order need not follow; servers that state none answer in order."""
    if not any("index" in one for one in items):
        return items
    numbers = [one.get("index") for one in items]
    if not all(type(number) is int for number in numbers) or sorted(numbers) != list(range(len(items))):  # type: ignore[type-var]
        raise EmbedderError("the embedding server does not say which vector is which text's")
    return sorted(items, key=lambda one: int(one["index"]))


def _direction(embedding: object) -> Vector | None:
    """At length 1. As numbers, or as base64 of little-endian floats, which some servers send unasked."""
    if isinstance(embedding, str):
        try:
            numbers = np.frombuffer(base64.b64decode(embedding, validate=True), "<f4").astype(np.float64)
        except binascii.Error:
            raise ValueError from None
    elif isinstance(embedding, list) and all(type(one) in (int, float) for one in embedding):
        numbers = np.array([float(one) for one in embedding], np.float64)
    else:
        raise ValueError
    if not 1 <= len(numbers) <= MAX_VECTOR:
        raise EmbedderError(f"the embedding server answers with vectors of {len(numbers)} numbers")
    if not np.isfinite(numbers).all() or (largest := np.abs(numbers).max()) < ALMOST_NOTHING:
        return None
    scaled = numbers / largest  # The square of 1e200 is not finite.
    unit: Vector = np.asarray(scaled / np.linalg.norm(scaled), np.float32)
    return unit
