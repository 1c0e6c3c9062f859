"""Preview: what a subscription, saved or not, would have brought over the last days of the archive."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection

from services.domain.matching import Candidate, Match, Matcher, Standing
from services.domain.paper import Paper
from services.domain.subscription import Draft, check
from services.domain.trending import SOURCE, told, would_come
from services.ports import Embedder
from services.store import interests, papers, standing, subscriptions
from services.store.database import Database

SAMPLES = 10
TOO_BROAD = 0.1
"""Share of all papers beyond which a subscription is no filter."""
STALE_AFTER = timedelta(days=7)


Hit = tuple[Paper, Match, str]
"""A paper, its match and the reason in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    days: int
    until: date
    spanned: int
    """Days of the window that the archive reaches back to, a week at least: what `per_week` is reckoned over."""
    scanned: int
    found: list[Hit]
    """Newest first, each with its reason."""
    adds: int | None = None
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The object of `POST /preview`."""
        per_day: dict[date, int] = {}
        for paper, _, _ in self.found:
            per_day[paper.announced_on] = per_day.get(paper.announced_on, 0) + 1
        best = sorted(self.found, key=lambda hit: -(hit[1].score or 0.0))[:SAMPLES]
        samples = [{"paper": paper_json(paper), "score": match.score, "why": why} for paper, match, why in best]
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
    compiled = interests.compile(db, embedder, draft)
    row = {
        "id": 0,
        "query": draft.query,
        "volume": draft.volume,
        "sources": draft.sources,
        "min_upvotes": draft.min_upvotes,
    }
    row |= {"weights": compiled.weights, "terms": compiled.terms}
    row |= {"threshold": compiled.threshold, "model": compiled.model, "eased": compiled.eased}
    asked = standing.compiled(row, embedder.name)
    with db.transaction() as tx:
        until = window_end(tx, db.now().date())
        window = papers.between(tx, until - timedelta(days=days - 1), until)
        candidates = standing.as_candidates(tx, window, embedder.name)
        known = set(subscriptions.matched_papers(tx, account_id)) if account_id is not None else None
    found = _hits(asked, candidates) if asked is not None else []
    if draft.trending:
        found = _trending(draft, found, candidates)
    adds = None if known is None else sum(paper.id not in known for paper, _, _ in found)
    warnings = tuple(_warnings(draft, compiled, len(found), candidates))
    return Preview(
        days=days,
        until=until,
        spanned=_spanned(candidates, until),
        scanned=len(candidates),
        found=found,
        adds=adds,
        warnings=warnings,
    )


def _spanned(candidates: list[Candidate], until: date) -> int:
    oldest = min((one.paper.announced_on for one in candidates), default=until)
    return max(7, (until - oldest).days + 1)


def window_end(tx: Connection, today: date) -> date:
    """Today, or the newest paper's day when that is older than a week."""
    _, newest, _ = papers.span(tx)
    return newest if newest is not None and today - newest > STALE_AFTER else today


def _hits(asked: Standing, candidates: list[Candidate]) -> list[Hit]:
    matcher = Matcher()
    matcher.put(asked)
    by_id = {one.paper.id: one for one in candidates}
    hits = [(by_id[m.paper].paper, m, standing.why(asked, by_id[m.paper], m.score)) for m in matcher.match(candidates)]
    return sorted(hits, key=lambda hit: (hit[0].announced_on, hit[0].id), reverse=True)


def _trending(draft: Draft, found: list[Hit], candidates: list[Candidate]) -> list[Hit]:
    """What digests would have chosen, of what matches or of all, by the upvotes that papers have today."""
    if not (draft.query or draft.has_interest):
        living = (one.paper for one in candidates if one.paper.upvotes >= draft.min_upvotes)
        found = [(paper, Match(0, paper.id), "") for paper in living]
    chosen = {one.id for one in would_come((paper for paper, _, _ in found), draft.trending or 0, draft.cadence)}
    when = "of the week" if draft.cadence == "weekly" else "of the day"
    return [
        (paper, match, "; ".join(filter(None, [why, told(draft.trending or 0, paper.upvotes, when)])))
        for paper, match, why in found
        if paper.id in chosen
    ]


def _warnings(draft: Draft, compiled: interests.Compiled, found: int, candidates: list[Candidate]) -> list[str]:
    warnings = []
    if compiled.error:
        warnings.append(compiled.error)
    if compiled.estimated:
        warnings.append("estimated: the archive is younger than 14 days, so the threshold follows typical scores")
    if not candidates:
        warnings.append("the archive is empty; add a source or import a listing first")
    elif found > TOO_BROAD * len(candidates):
        warnings.append(f"too broad: it matches {100 * found // len(candidates)} % of all papers")
    lacking = sum(one.vector is None for one in candidates)
    if draft.has_interest and lacking:
        warnings.append(f"{lacking} papers are not embedded yet and were passed over")
    if draft.trending and not any(SOURCE in one.paper.sources for one in candidates):
        warnings.append("no paper came from Daily Papers yet, whose upvotes say what is trending; add that source")
    return warnings
