"""Rows of subscriptions as typed records; columns of the same names fill the fields."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Subscription:
    """A row of `subscription`."""

    id: int
    account_id: int
    name: str
    for_whom: str
    query: str
    interest: str
    trending: int | None
    min_upvotes: int
    sources: list[str]
    volume: str
    cadence: str
    weights: NDArray[np.float32] | None
    terms: dict[str, Any]
    threshold: float | None
    relaxed_thresholds: list[float]
    model: str
    estimated: bool
    calibrated_at: datetime | None
    error: str
    shard: int
    revision: int
    feed_address_version: int
    paused_until: datetime | None
    watched_since: datetime
    reminded_at: datetime | None
    deleted_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Match:
    """A row of `match`."""

    id: int
    account_id: int
    subscription_id: int
    paper_id: int
    run_id: int | None
    score: float | None
    decided: dict[str, Any]
    revision: int
    notified_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Silence:
    """A row of `silence`."""

    id: int
    account_id: int
    query: str
    subscription_id: int | None
    until: datetime
    ended_at: datetime | None
    created_at: datetime
