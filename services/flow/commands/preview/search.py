"""Which papers of a window a subscription matches, by the search index and the vectors of the archive."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import TypeVar

import numpy as np
from sqlalchemy import Connection

from services.domain.interests.calibration import parse_volume
from services.domain.interests.learning import Interest
from services.domain.subscriptions.best import Candidate
from services.domain.subscriptions.best import past_choices as past_best
from services.domain.subscriptions.draft import Draft
from services.domain.subscriptions.matcher import CompiledSubscription
from services.domain.subscriptions.trending import SOURCE, past_choices
from services.ports import Embedder
from services.store.papers import archive_search, papers
from services.store.papers.found_papers import NOTHING, FoundPapers, Ranking, Window, within_window

T = TypeVar("T")
MAX_READ = 1_000
"""The papers whose text is read, where the index alone cannot tell whether the query matches."""
MAX_RANKED = 2_000
"""Matching papers, the newest, whose words are ranked. The others count as equally relevant."""
MAX_VARIANT_SECONDS = 3.0
"""For searching with variants of a query, such as one clause less: further ones are left out."""
MAX_NEAR = 50
"""Near misses of an interest, and of each clause of a query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What a subscription matches in a window."""

    matching: FoundPapers = NOTHING
    """The best-scored first, or the newest without an interest."""
    everything: int = 0
    """The papers that match, before digests choose among them."""
    ranked: FoundPapers = NOTHING
    """With an interest: the best-scored papers, whether they match or not."""
    unread: int = 0
    """Papers left out because too many would have to be read."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a search looks."""

    tx: Connection
    embedder: Embedder
    window: Window
    unindexed: Sequence[int]
    """Papers that are not in the index and are read instead."""


def search(place: Place, subscription: CompiledSubscription, draft: Draft, ranking: Ranking | None = None) -> Searched:
    tx, window = place.tx, place.window
    ranked = NOTHING
    if subscription.weights is not None and subscription.threshold is not None:
        if ranking is not None and ranking.window.first <= window.first:
            ranked = within_window(ranking, window)
        else:
            wanted = parse_volume(draft.volume).per_day * window.days
            interest = Interest(subscription.weights, subscription.terms)
            ranked = archive_search.closest(tx, place.embedder.name, interest, draft, window, wanted)
        matching = ranked.at(ranked.scores >= np.float32(subscription.threshold))
    elif draft.query:
        matching = archive_search.passing(tx, draft, window, place.unindexed)
    else:
        matching = NOTHING
    unread = np.flatnonzero(matching.unsure)[MAX_READ:]
    confirmed = archive_search.confirm(tx, draft, matching.at(np.delete(np.arange(len(matching)), unread)))
    everything = len(confirmed)
    if draft.trending:
        confirmed = _only_trending(place, draft, confirmed)
    elif draft.volume and not draft.has_interest:
        confirmed = _only_best(place, draft, confirmed)
    return Searched(matching=confirmed, everything=everything, ranked=ranked, unread=len(unread))


def in_turn(variants: Iterable[T]) -> Iterator[T]:
    """The variants of a query, until `MAX_VARIANT_SECONDS` have passed."""
    began = monotonic()
    for variant in variants:
        if monotonic() - began > MAX_VARIANT_SECONDS:
            return
        yield variant


def near_misses(place: Place, subscription: CompiledSubscription, draft: Draft, ranked: FoundPapers) -> FoundPapers:
    """The papers just below the threshold of an interest."""
    if subscription.threshold is None:
        return NOTHING
    below = ranked.at(ranked.scores < np.float32(subscription.threshold)).at(slice(2 * MAX_NEAR))
    return archive_search.confirm(place.tx, draft, below).at(slice(MAX_NEAR))


def _only_best(place: Place, draft: Draft, matching: FoundPapers) -> FoundPapers:
    """The papers that digests would have taken of those that match a query."""
    ids, ages = matching.ids.tolist(), matching.ages.tolist()
    ranks = archive_search.relevance(place.tx, draft.query, ids[:MAX_RANKED])
    upvotes = archive_search.upvotes(place.tx, ids)
    candidates = [Candidate(id, ranks.get(id, 0.0), upvotes.get(id, 0), age) for id, age in zip(ids, ages, strict=True)]
    taken = [each.paper_id for each in past_best(candidates, parse_volume(draft.volume), draft.cadence)]
    return matching.at(np.isin(matching.ids, taken))


def _only_trending(place: Place, draft: Draft, matching: FoundPapers) -> FoundPapers:
    """The papers that digests would have chosen by today's upvotes, of the matching papers or of all."""
    upvoted_draft = replace(draft, query="", sources=(SOURCE,), min_upvotes=max(1, draft.min_upvotes))
    upvoted = archive_search.passing(place.tx, upvoted_draft, place.window, place.unindexed)
    if draft.query or draft.has_interest:
        matching = matching.at(np.isin(matching.ids, upvoted.ids))
    else:
        matching = upvoted
    loaded = papers.load(place.tx, matching.ids.tolist())
    chosen = past_choices(loaded.values(), draft.trending or 0, draft.cadence)
    return matching.at(np.isin(matching.ids, [paper.id for paper in chosen]))
