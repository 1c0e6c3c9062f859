"""Silences: rules that drop papers until a date."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.domain.papers.paper import Paper
from services.domain.query.evaluate import PaperText, matches
from services.domain.query.parser import Query

MAX_SILENCES = 100
"""Of one account at the same time."""
SILENCED = "silenced"
"""The beginning of the text that `paperwire why` shows for a silenced item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Covers the account's matches, limited to its query and to its subscription if they are given."""

    until: datetime
    query: Query | None = None
    subscription_id: int | None = None

    def __str__(self) -> str:
        what = f": {self.query}" if self.query is not None else ""
        return f"{SILENCED} until {self.until:%Y-%m-%d %H:%M} UTC{what}"

    def covers(self, subscription_id: int, text: PaperText) -> bool:
        return self.subscription_id in (None, subscription_id) and (self.query is None or matches(self.query, text))


def covering_silence(silences: Sequence[Silence], subscription_id: int, text: PaperText) -> Silence | None:
    """The silence that covers a match, the longest if there are several."""
    covering = [silence for silence in silences if silence.covers(subscription_id, text)]
    return max(covering, key=lambda silence: silence.until, default=None)


def silenced_reasons(
    silences: Sequence[Silence], matched: Collection[tuple[int, int]], papers: Mapping[int, Paper]
) -> dict[tuple[int, int], str]:
    """The given pairs (subscription, paper) that a silence covers, with the text that `paperwire why` shows."""
    if not silences:
        return {}
    texts = {paper_id: PaperText.of(papers[paper_id]) for _, paper_id in matched}
    covering = {pair: covering_silence(silences, pair[0], texts[pair[1]]) for pair in matched}
    return {pair: str(silence) for pair, silence in covering.items() if silence is not None}
