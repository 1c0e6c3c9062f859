"""Preview: what a subscription, saved or not, would have matched in the last days of the archive."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Connection

from services.domain.digests.digest import DigestPaper, Reason, with_evidence
from services.domain.interests.calibration import CompiledInterest, parse_volume
from services.domain.interests.learning import Interest
from services.domain.papers import display_text
from services.domain.papers.paper import Paper
from services.domain.query.hints import hints
from services.domain.subscriptions.criteria import SubscriptionCriteria, compile_subscription
from services.domain.subscriptions.draft import Draft, check
from services.domain.subscriptions.match_reason import describe_match
from services.domain.subscriptions.matcher import CompiledSubscription
from services.domain.subscriptions.trending import SOURCE, past_choices, reason
from services.flow.commands import compile_interest
from services.ports import Embedder
from services.store.db.database import Database
from services.store.papers import archive_search, papers
from services.store.papers.found_papers import NOTHING, FoundPapers, Ranking, Window, within_window
from services.store.subscriptions import candidates as candidate_store
from services.store.subscriptions import subscriptions

SHOWN = 10
"""Papers whose texts a preview has, unless the caller asks for more."""
MAX_SHARE = 0.1
"""A subscription that matches a larger share of all papers gets the warning "too broad"."""
MAX_READ = 1_000
"""The papers whose text is read, where the index alone cannot tell whether the query matches."""
STALE_AFTER = timedelta(days=7)
"""If the newest paper is older than this, the window ends on its day instead of today."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A paper that would have matched."""

    paper_id: int
    announced_on: date
    score: float


@dataclass(frozen=True, slots=True)
class Sample:
    """A paper that would have matched, with its reason."""

    paper: Paper
    score: float | None
    why: str
    item: DigestPaper
    """The paper as a digest would show it, with the words that matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    draft: Draft
    """As it would be saved."""
    days: int
    """The length of the window."""
    until: date
    """The last day of the window."""
    days_with_papers: int
    """The days from the first paper of the window to `until`, at least 7. `per_week` is a mean over these days."""
    scanned: int
    """The number of papers in the window."""
    hits: list[Hit]
    """Newest first."""
    samples: list[Sample]
    """The best-scored hits, or the newest if there is no interest."""
    adds: int | None = None
    """The number of hits that the account's other subscriptions have not matched."""
    warnings: tuple[str, ...] = ()

    @property
    def per_week(self) -> float:
        return round(7 * len(self.hits) / self.days_with_papers, 1)

    def as_json(self) -> dict[str, Any]:
        """The object of `POST /preview`."""
        per_day = Counter(hit.announced_on for hit in self.hits)
        return {
            "days": self.days,
            "until": self.until.isoformat(),
            "papers_scanned": self.scanned,
            "matched": len(self.hits),
            "per_day": [{"date": day.isoformat(), "papers": count} for day, count in sorted(per_day.items())],
            "per_week": self.per_week,
            **({} if self.adds is None else {"adds": self.adds}),
            "warnings": list(self.warnings),
            "samples": [
                {"paper": paper_json(sample.paper), "score": sample.score, "why": sample.why} for sample in self.samples
            ],
        }


def paper_json(paper: Paper) -> dict[str, Any]:
    """A paper as REST and the command line show it."""
    return {
        "id": str(paper.id),
        "title": display_text.title(paper),
        "authors": display_text.authors(paper),
        "categories": list(paper.categories),
        "identifiers": [str(identifier) for identifier in paper.identifiers],
        "announced_on": paper.announced_on.isoformat(),
        "upvotes": paper.upvotes,
        "links": dict(paper.links),
    }


def preview(
    db: Database, embedder: Embedder, draft: Draft, *, days: int = 60, account_id: int | None = None, shown: int = SHOWN
) -> Preview:
    """Matches a draft against the archive, and reads the texts of `shown` papers.

    With `account_id`, also counts what it adds to that account's subscriptions.

    Raises QueryError, ConfigError, NotFound.
    """
    draft = check(draft)
    compiled, ranking = compile_interest.compile_and_rank(db, embedder, draft)
    subscription = compile_subscription(_criteria(draft, compiled))
    with db.transaction() as tx:
        until = window_end(tx, db.now().date())
        window = Window(first=until - timedelta(days=days - 1), last=until)
        scanned, first = archive_search.count_papers(tx, window)
        unembedded = scanned - archive_search.count_embedded(tx, embedder.name, window) if draft.has_interest else 0
        matching, unread = NOTHING, 0
        if subscription is not None:
            matching, unread = _search(tx, embedder, subscription, draft, window, ranking)
        if draft.trending:
            matching = _only_trending(tx, draft, matching, window)
        has_upvotes = not draft.trending or len(archive_search.passing(tx, Draft(sources=(SOURCE,)), window)) > 0
        already_matched = subscriptions.matched_papers(tx, account_id) if account_id is not None else None
        best = matching.at(slice(shown))
        samples = _samples(tx, embedder, draft, subscription, best) if subscription is not None else []
    hits = [
        Hit(id, until - timedelta(days=age), score)
        for id, age, score in zip(matching.ids.tolist(), matching.ages.tolist(), matching.scores.tolist(), strict=True)
    ]
    return Preview(
        draft=draft,
        days=days,
        until=until,
        days_with_papers=max(7, (until - first).days + 1),
        scanned=scanned,
        hits=sorted(hits, key=lambda hit: (hit.announced_on, hit.paper_id), reverse=True),
        samples=samples,
        adds=None if already_matched is None else sum(hit.paper_id not in already_matched for hit in hits),
        warnings=tuple(_warnings(draft, compiled, len(hits), scanned, unembedded, unread, has_upvotes)),
    )


def _criteria(draft: Draft, compiled: CompiledInterest) -> SubscriptionCriteria:
    """The criteria as they would be stored."""
    return SubscriptionCriteria(
        id=0,
        query=draft.query,
        volume=draft.volume,
        sources=draft.sources,
        min_upvotes=draft.min_upvotes,
        weights=np.array(compiled.weights, np.float32) if compiled.weights is not None else None,
        terms=compiled.terms,
        threshold=compiled.threshold,
        relaxed_thresholds=compiled.relaxed_thresholds,
    )


def _search(
    tx: Connection,
    embedder: Embedder,
    subscription: CompiledSubscription,
    draft: Draft,
    window: Window,
    ranking: Ranking | None,
) -> tuple[FoundPapers, int]:
    """The matching papers, the best first, and the number of papers left out because too many would have to be read."""
    if subscription.weights is not None and subscription.threshold is not None:
        if ranking is not None and ranking.window.first <= window.first:
            best = within_window(ranking, window)
        else:
            wanted = parse_volume(draft.volume).per_day * window.days
            interest = Interest(subscription.weights, subscription.terms)
            best = archive_search.closest(tx, embedder.name, interest, draft, window, wanted)
        matching = best.at(best.scores >= np.float32(subscription.threshold))
    elif draft.query:
        matching = archive_search.passing(tx, draft, window)
    else:
        return NOTHING, 0
    unread = np.flatnonzero(matching.unsure)[MAX_READ:]
    return archive_search.confirm(tx, draft, matching.at(np.delete(np.arange(len(matching)), unread))), len(unread)


def _only_trending(tx: Connection, draft: Draft, matching: FoundPapers, window: Window) -> FoundPapers:
    """The papers that digests would have chosen by today's upvotes, of the matching papers or of all."""
    upvoted_draft = replace(draft, query="", sources=(SOURCE,), min_upvotes=max(1, draft.min_upvotes))
    upvoted = archive_search.passing(tx, upvoted_draft, window)
    if draft.query or draft.has_interest:
        matching = matching.at(np.isin(matching.ids, upvoted.ids))
    else:
        matching = upvoted
    chosen = past_choices(papers.load(tx, matching.ids.tolist()).values(), draft.trending or 0, draft.cadence)
    return matching.at(np.isin(matching.ids, [paper.id for paper in chosen]))


def _samples(
    tx: Connection,
    embedder: Embedder,
    draft: Draft,
    subscription: CompiledSubscription,
    matching: FoundPapers,
) -> list[Sample]:
    scores = dict(zip(matching.ids.tolist(), matching.scores.tolist(), strict=True))
    candidates = {candidate.paper.id: candidate for candidate in candidate_store.load(tx, scores, embedder.name)}
    samples = []
    for paper_id, score_or_zero in scores.items():
        candidate, score = candidates[paper_id], None if subscription.weights is None else score_or_zero
        why = [describe_match(subscription, candidate, score)]
        if draft.trending:
            when = "of the week" if draft.cadence == "weekly" else "of the day"
            why.append(reason(draft.trending, candidate.paper.upvotes, when))
        samples.append(_sample(draft, subscription, candidate.paper, score, "; ".join(filter(None, why))))
    return samples


def _sample(draft: Draft, subscription: CompiledSubscription, paper: Paper, score: float | None, why: str) -> Sample:
    reason = Reason(
        subscription=0,
        name=draft.name,
        why=why,
        score=score,
        threshold=subscription.threshold,
        query=subscription.query,
        interest=draft.interest,
        terms=subscription.terms,
    )
    return Sample(paper, score, why, with_evidence(paper, [reason]))


def window_end(tx: Connection, today: date) -> date:
    """Today, or the day of the newest paper if that is older than `STALE_AFTER`."""
    _, newest = papers.days(tx)
    return newest if newest is not None and today - newest > STALE_AFTER else today


def _warnings(
    draft: Draft,
    compiled: CompiledInterest,
    hits: int,
    scanned: int,
    unembedded: int,
    unread: int,
    has_upvotes: bool,
) -> list[str]:
    warnings = hints(draft.query or "")
    if compiled.error:
        warnings.append(compiled.error)
    if compiled.estimated:
        warnings.append("estimated: the archive is younger than 14 days, so the threshold follows typical scores")
    if not scanned:
        warnings.append("the archive is empty; add a source or import a listing first")
    elif hits > MAX_SHARE * scanned:
        warnings.append(f"too broad: it matches {100 * hits // scanned} % of all papers")
    if unread:
        warnings.append(f"{unread} more papers may match: too many to read for a preview; narrow the query")
    if unembedded:
        warnings.append(f"{unembedded} papers are not embedded yet and were passed over")
    if not has_upvotes:
        warnings.append("no paper came from Daily Papers yet, whose upvotes say what is trending; add that source")
    return warnings
