"""Preview: what a subscription, saved or not, would have brought over the last days of the archive."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection

from services.domain.interests.calibration import CompiledInterest, parse_volume
from services.domain.interests.learning import Interest
from services.domain.papers.paper import Paper
from services.domain.subscriptions.draft import Draft, check
from services.domain.subscriptions.matcher import CompiledSubscription
from services.domain.subscriptions.trending import SOURCE, reason, would_come
from services.flow.commands import compile_interest
from services.ports import Embedder
from services.store.db.database import Database, Row
from services.store.papers import archive_search, papers
from services.store.papers.found_papers import NOTHING, FoundPapers, Ranking, Window, within_window
from services.store.subscriptions import candidates as candidate_store
from services.store.subscriptions import subscriptions

SAMPLES = 10
TOO_BROAD = 0.1
"""Share of all papers beyond which a subscription is no filter."""
MAX_READ = 1_000
"""Papers whose text is read, where the index alone cannot say whether the query holds."""
STALE_AFTER = timedelta(days=7)


class Hit(NamedTuple):
    """A paper that would have matched."""

    paper: int
    announced_on: date
    score: float


class Shown(NamedTuple):
    """One of the best, with the reason in one line."""

    paper: Paper
    score: float | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    days: int
    until: date
    spanned: int
    """Days of the window that the archive reaches back to, a week at least: what `per_week` is reckoned over."""
    scanned: int
    found: list[Hit]
    """Newest first."""
    samples: list[Shown]
    """The best-scored, or the newest."""
    adds: int | None = None
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The object of `POST /preview`."""
        per_day = Counter(hit.announced_on for hit in self.found)
        samples = [{"paper": paper_json(one.paper), "score": one.score, "why": one.why} for one in self.samples]
        return {
            "days": self.days,
            "until": self.until.isoformat(),
            "papers_scanned": self.scanned,
            "matched": len(self.found),
            "per_day": [{"date": day.isoformat(), "papers": count} for day, count in sorted(per_day.items())],
            "per_week": round(7 * len(self.found) / self.spanned, 1),
            **({} if self.adds is None else {"adds": self.adds}),
            "warnings": list(self.warnings),
            "samples": samples,
        }


def paper_json(paper: Paper) -> dict[str, Any]:
    """A paper as REST and the command line show it."""
    return {
        "id": str(paper.id),
        "title": paper.title,
        "authors": list(paper.authors),
        "categories": list(paper.categories),
        "identifiers": [str(identifier) for identifier in paper.identifiers],
        "announced_on": paper.announced_on.isoformat(),
        "upvotes": paper.upvotes,
        "links": dict(paper.links),
    }


def preview(
    db: Database, embedder: Embedder, draft: Draft, *, days: int = 60, account_id: int | None = None
) -> Preview:
    """Runs a draft over the archive. `account_id`: also count what it adds to that account's subscriptions."""
    draft = check(draft)
    compiled, ranking = compile_interest.compile_and_rank(db, embedder, draft)
    asked = candidate_store.compiled(_row(draft, compiled))
    with db.transaction() as tx:
        until = window_end(tx, db.now().date())
        within = Window(first=until - timedelta(days=days - 1), last=until)
        scanned, first = archive_search.count_papers(tx, within)
        lacking = scanned - archive_search.count_embedded(tx, embedder.name, within) if draft.has_interest else 0
        found, unread = NOTHING, 0
        if asked is not None:
            found, unread = _found(tx, embedder, asked, draft, within, ranking)
        if draft.trending:
            found = _trending(tx, draft, found, within)
        sourced = not draft.trending or len(archive_search.passing(tx, Draft(sources=(SOURCE,)), within)) > 0
        known = subscriptions.matched_papers(tx, account_id) if account_id is not None else None
        samples = _samples(tx, embedder, draft, asked, found) if asked is not None else []
    hits = [
        Hit(id, until - timedelta(days=age), score)
        for id, age, score in zip(found.ids.tolist(), found.ages.tolist(), found.scores.tolist(), strict=True)
    ]
    return Preview(
        days=days,
        until=until,
        spanned=max(7, (until - first).days + 1),
        scanned=scanned,
        found=sorted(hits, key=lambda hit: (hit.announced_on, hit.paper), reverse=True),
        samples=samples,
        adds=None if known is None else sum(hit.paper not in known for hit in hits),
        warnings=tuple(_warnings(draft, compiled, len(hits), scanned, lacking, unread, sourced)),
    )


def _row(draft: Draft, compiled: CompiledInterest) -> Row:
    """The subscription as it would be stored."""
    return {
        "id": 0,
        "query": draft.query,
        "volume": draft.volume,
        "sources": draft.sources,
        "min_upvotes": draft.min_upvotes,
        "weights": compiled.weights,
        "terms": compiled.terms,
        "threshold": compiled.threshold,
        "relaxed_thresholds": compiled.relaxed_thresholds,
        "model": compiled.model,
    }


def _found(
    tx: Connection,
    embedder: Embedder,
    asked: CompiledSubscription,
    draft: Draft,
    within: Window,
    known: Ranking | None,
) -> tuple[FoundPapers, int]:
    """What would have matched, the best first; and how many papers were left out, too many to be read."""
    if asked.weights is not None and asked.threshold is not None:
        if known is not None and known.window.first <= within.first:
            best = within_window(known, within)
        else:
            wanted = parse_volume(draft.volume).per_day * within.days
            interest = Interest(asked.weights, asked.terms)
            best = archive_search.closest(tx, embedder.name, interest, draft, within, wanted)
        found = best.at(best.scores >= np.float32(asked.threshold))
    elif draft.query:
        found = archive_search.passing(tx, draft, within)
    else:
        return NOTHING, 0
    unread = np.flatnonzero(found.unsure)[MAX_READ:]
    return archive_search.confirm(tx, draft, found.at(np.delete(np.arange(len(found)), unread))), len(unread)


def _trending(tx: Connection, draft: Draft, found: FoundPapers, within: Window) -> FoundPapers:
    """What digests would have chosen, of what matches or of all, by the upvotes that papers have today."""
    asked = replace(draft, query="", sources=(SOURCE,), min_upvotes=max(1, draft.min_upvotes))
    upvoted = archive_search.passing(tx, asked, within)
    if draft.query or draft.has_interest:
        found = found.at(np.isin(found.ids, upvoted.ids))
    else:
        found = upvoted
    come = would_come(papers.load(tx, found.ids.tolist()).values(), draft.trending or 0, draft.cadence)
    return found.at(np.isin(found.ids, [one.id for one in come]))


def _samples(
    tx: Connection, embedder: Embedder, draft: Draft, asked: CompiledSubscription, found: FoundPapers
) -> list[Shown]:
    best = dict(zip(found.ids[:SAMPLES].tolist(), found.scores[:SAMPLES].tolist(), strict=True))
    candidates = {one.paper.id: one for one in candidate_store.candidates(tx, best, embedder.name)}
    shown = []
    for id, value in best.items():
        score = None if asked.weights is None else value
        why = [candidate_store.why(asked, candidates[id], score)]
        if draft.trending:
            when = "of the week" if draft.cadence == "weekly" else "of the day"
            why.append(reason(draft.trending, candidates[id].paper.upvotes, when))
        shown.append(Shown(candidates[id].paper, score, "; ".join(filter(None, why))))
    return shown


def window_end(tx: Connection, today: date) -> date:
    """Today, or the newest paper's day when that is older than a week."""
    _, newest = papers.days(tx)
    return newest if newest is not None and today - newest > STALE_AFTER else today


def _warnings(
    draft: Draft,
    compiled: CompiledInterest,
    found: int,
    scanned: int,
    lacking: int,
    unread: int,
    sourced: bool,
) -> list[str]:
    warnings = []
    if compiled.error:
        warnings.append(compiled.error)
    if compiled.estimated:
        warnings.append("estimated: the archive is younger than 14 days, so the threshold follows typical scores")
    if not scanned:
        warnings.append("the archive is empty; add a source or import a listing first")
    elif found > TOO_BROAD * scanned:
        warnings.append(f"too broad: it matches {100 * found // scanned} % of all papers")
    if unread:
        warnings.append(f"{unread} more papers may match: too many to read for a preview; narrow the query")
    if draft.has_interest and lacking:
        warnings.append(f"{lacking} papers are not embedded yet and were passed over")
    if not sourced:
        warnings.append("no paper came from Daily Papers yet, whose upvotes say what is trending; add that source")
    return warnings
