"""The lists of a preview (all, new, gained, lost, near misses), and the papers of one of them with their reasons."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from services.domain.digests.digest import DigestPaper, Reason, with_evidence
from services.domain.papers.paper import Paper
from services.domain.query.clauses import LeftOut, leave_one_out
from services.domain.query.evaluate import explain_failure
from services.domain.query.parser import parse
from services.domain.subscriptions.draft import Draft
from services.domain.subscriptions.match_reason import describe_match
from services.domain.subscriptions.matcher import Candidate, CompiledSubscription
from services.domain.subscriptions.trending import reason
from services.flow.commands.preview.search import MAX_NEAR, Place, Searched, in_turn, near_misses
from services.store.papers import archive_search
from services.store.papers.found_papers import NOTHING, FoundPapers, joined
from services.store.subscriptions import candidates as candidate_store
from services.store.subscriptions import subscriptions

SampleValues = tuple[Paper, float | None, str, DigestPaper, LeftOut | None]


@dataclass(frozen=True, slots=True)
class Listed:
    """Papers of one list. `left_out`: of a near miss of a query, the clause that it fails, by paper."""

    papers: FoundPapers
    left_out: Mapping[int, LeftOut] = field(default_factory=dict)


def lists(
    place: Place,
    subscription: CompiledSubscription | None,
    draft: Draft,
    found: Searched,
    before: FoundPapers | None,
    account_id: int | None,
    stored_id: int | None,
    tab: str,
) -> dict[str, Listed]:
    """The lists by name. Near misses are searched for only if they are asked for."""
    matching = found.matching
    made = {"all": Listed(matching)}
    if account_id is not None:
        known = np.fromiter(subscriptions.matched_papers(place.tx, account_id, stored_id), np.int64)
        made["new"] = Listed(matching.at(~np.isin(matching.ids, known)))
    if before is not None:
        made["gained"] = Listed(matching.at(~np.isin(matching.ids, before.ids)))
        made["lost"] = Listed(before.at(~np.isin(before.ids, matching.ids)))
    if tab == "near" and subscription is not None:
        made["near"] = _near(place, subscription, draft, found)
    return made


def _near(place: Place, subscription: CompiledSubscription, draft: Draft, found: Searched) -> Listed:
    if subscription.weights is not None:
        return Listed(near_misses(place, subscription, draft, found.ranked))
    parts, left_out = [NOTHING], dict[int, LeftOut]()
    for one in in_turn(leave_one_out(parse(draft.query)) if draft.query else []):
        missed = replace(draft, query=one.missed)
        passing = archive_search.passing(place.tx, missed, place.window, place.unindexed).at(slice(MAX_NEAR))
        confirmed = archive_search.confirm(place.tx, missed, passing)
        parts.append(confirmed)
        left_out |= dict.fromkeys(confirmed.ids.tolist(), one)
    papers = joined(parts)
    return Listed(papers.at(np.lexsort((-papers.ids, papers.ages))), left_out)


def read(
    place: Place, subscription: CompiledSubscription | None, draft: Draft, listed: Listed, shown: int, tab: str
) -> Iterator[SampleValues]:
    """The first papers of a list, with their reasons and the words that matched."""
    if subscription is None:
        return
    first = listed.papers.at(slice(shown))
    scores = dict(zip(first.ids.tolist(), first.scores.tolist(), strict=True))
    candidates = {each.paper.id: each for each in candidate_store.load(place.tx, scores, place.embedder.name)}
    for paper_id, score_or_zero in scores.items():
        candidate = candidates[paper_id]
        score = None if subscription.weights is None or tab == "lost" else score_or_zero
        left_out = listed.left_out.get(paper_id)
        why = _why(subscription, draft, candidate, score, tab, left_out)
        item = with_evidence(candidate.paper, [_reason(subscription, draft, score, why)])
        yield candidate.paper, score, why, item, left_out


def _why(
    subscription: CompiledSubscription,
    draft: Draft,
    candidate: Candidate,
    score: float | None,
    tab: str,
    left_out: LeftOut | None,
) -> str:
    if left_out is not None:
        return f"fails only {left_out.clause}"
    if tab == "near":
        return "just below the line"
    if tab == "lost":
        failure = explain_failure(subscription.query, candidate.text) if subscription.query is not None else ""
        return failure or "not close enough any more"
    why = [describe_match(subscription, candidate, score)]
    if draft.trending:
        when = "of the week" if draft.cadence == "weekly" else "of the day"
        why.append(reason(draft.trending, candidate.paper.upvotes, when))
    return "; ".join(filter(None, why))


def _reason(subscription: CompiledSubscription, draft: Draft, score: float | None, why: str) -> Reason:
    return Reason(
        subscription=0,
        name=draft.name,
        why=why,
        score=score,
        threshold=subscription.threshold,
        query=subscription.query,
        interest=draft.interest,
        terms=subscription.terms,
    )
