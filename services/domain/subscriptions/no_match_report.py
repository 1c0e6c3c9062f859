"""Why a subscription has matched nothing for long: what the parts of its query match, and the closest papers."""

from collections.abc import Sequence
from datetime import timedelta

from services.domain.query.evaluate import matches
from services.domain.query.parser import And, Query
from services.domain.subscriptions.matcher import Candidate, CompiledSubscription, filtered_out_reason, score_of

MIN_QUIET_TIME = timedelta(days=14)
"""The time without a match after which the report is sent."""
LOOK_BACK = timedelta(days=60)
MAX_CLOSEST = 3


def report(subscription: CompiledSubscription, candidates: Sequence[Candidate], days: int) -> list[str]:
    """The lines of the report. `candidates` are the papers of the last `days` days."""
    if not candidates:
        return [f"No paper was read in the last {days} days: please look at your sources."]
    lines, matching = [], candidates
    if subscription.query is not None:
        matching = [candidate for candidate in candidates if matches(subscription.query, candidate.text)]
        lines += _query_lines(subscription.query, matching, candidates, days)
    remaining = [candidate for candidate in matching if not filtered_out_reason(subscription, candidate.paper)]
    filtered_out = len(matching) - len(remaining)
    if filtered_out:
        lines.append(f"{filtered_out} of them are not from its sources or have too few upvotes.")
    return [*lines, *_interest_lines(subscription, remaining)]


def _query_lines(query: Query, matching: Sequence[Candidate], candidates: Sequence[Candidate], days: int) -> list[str]:
    """How many papers the query matches, and if none, how many each of its parts matches."""
    if matching:
        last = max(candidate.paper.announced_on for candidate in matching)
        fit = "1 paper fits" if len(matching) == 1 else f"{len(matching)} papers fit"
        return [f"{fit} the query of {len(candidates)} in the last {days} days, the last of {last.day} {last:%B}."]
    lines = [f"The query matched none of the {len(candidates)} papers of the last {days} days."]
    for part in query.operands if isinstance(query, And) else ():
        count = sum(matches(part, candidate.text) for candidate in candidates)
        lines.append(f"{part} alone fits {count} of them.")
    return lines


def _interest_lines(subscription: CompiledSubscription, candidates: Sequence[Candidate]) -> list[str]:
    """The papers with the highest scores, beside the threshold."""
    scored = [
        (score, candidate.paper.title)
        for candidate in candidates
        if (score := score_of(subscription, candidate)) is not None
    ]
    if subscription.threshold is None or not scored:
        return []
    closest = sorted(scored, reverse=True)[:MAX_CLOSEST]
    asks = f"Your interest asks for a score of {subscription.threshold:.2f}. What came closest:"
    return [asks, *(f"{score:.2f}: {title}" for score, title in closest)]
