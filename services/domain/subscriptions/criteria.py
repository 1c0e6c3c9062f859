"""A subscription's stored criteria, and their compiled form against which papers are matched."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.domain.query.parser import parse
from services.domain.subscriptions.matcher import CompiledSubscription

# Many subscriptions have the same query. The cache makes them share one tree.
_parse_shared = lru_cache(1 << 16)(parse)


@dataclass(frozen=True, slots=True, eq=False)
class SubscriptionCriteria:
    """What decides whether a paper matches a subscription. `weights` and `terms` are the interest in numbers."""

    id: int
    query: str
    volume: str
    """Empty without an interest."""
    sources: Sequence[str]
    min_upvotes: int
    weights: NDArray[np.float32] | None
    """None without an interest, and until the embedder has compiled the interest."""
    terms: dict[str, Any]
    threshold: float | None
    relaxed_thresholds: Sequence[float]


def compile_subscription(criteria: SubscriptionCriteria) -> CompiledSubscription | None:
    """None while the interest waits for the embedder. Raises QueryError."""
    query = _parse_shared(criteria.query) if criteria.query else None
    sources = frozenset(criteria.sources)
    if not criteria.volume:
        return CompiledSubscription(id=criteria.id, query=query, sources=sources, min_upvotes=criteria.min_upvotes)
    if criteria.weights is None:
        return None
    return CompiledSubscription(
        id=criteria.id,
        query=query,
        sources=sources,
        min_upvotes=criteria.min_upvotes,
        weights=np.asarray(criteria.weights, dtype=np.float32),
        terms=criteria.terms,
        threshold=criteria.threshold,
        relaxed_thresholds=tuple(criteria.relaxed_thresholds),
    )
