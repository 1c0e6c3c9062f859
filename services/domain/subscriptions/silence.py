"""Silences: for a while, certain papers or a subscription are not to be heard."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.domain.query.evaluate import PaperText, matches
from services.domain.query.parser import Query


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """What it names must all hold: the query, the subscription; with neither it covers the whole account."""

    until: datetime
    query: Query | None = None
    subscription: int | None = None

    def __str__(self) -> str:
        what = f": {self.query}" if self.query is not None else ""
        return f"silenced until {self.until:%Y-%m-%d %H:%M} UTC{what}"


def silencing(silences: Sequence[Silence], subscription: int, text: PaperText) -> Silence | None:
    """The silence that covers what a subscription says of a paper, the longest if there are several."""
    covering = [
        one
        for one in silences
        if one.subscription in (None, subscription) and (one.query is None or matches(one.query, text))
    ]
    return max(covering, key=lambda one: one.until, default=None)
