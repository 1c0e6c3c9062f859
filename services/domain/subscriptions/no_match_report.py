"""Why a subscription has matched nothing for two weeks: what its parts find, and which papers came closest."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from services.domain.papers import display_text
from services.domain.query.evaluate import matches
from services.domain.query.parser import And, Query
from services.domain.subscriptions.matcher import Candidate, CompiledSubscription, filtered_out_reason, score_of

MAX_SILENCE = timedelta(days=14)
"""After this time without a match, one notice to the owner says why."""
REPORT_WINDOW = timedelta(days=60)
"""The report covers the papers of this time."""
CLOSEST_SHOWN = 3


def report(subscription: CompiledSubscription, candidates: Sequence[Candidate], days: int) -> list[str]:
    """Lines for the owner. `candidates` are the papers of the last `days` days."""
    if not candidates:
        return [f"No paper was read in the last {days} days: please look at your sources."]
    query = subscription.query
    fitting = [candidate for candidate in candidates if query is None or matches(query, candidate.text)]
    lines = list(_query_lines(query, fitting, candidates, days)) if query is not None else []
    passing = [candidate for candidate in fitting if not filtered_out_reason(subscription, candidate.paper)]
    if fitting and len(passing) < len(fitting):
        lines.append(f"{len(fitting) - len(passing)} of these papers come from other sources or have too few upvotes.")
    return [*lines, *_closest_lines(subscription, passing)]


def _query_lines(
    query: Query, fitting: Sequence[Candidate], candidates: Sequence[Candidate], days: int
) -> Iterator[str]:
    """How many papers the query matches; if none, how many each of its parts matches."""
    if fitting:
        last = max(candidate.paper.announced_on for candidate in fitting)
        fit = "1 paper fits" if len(fitting) == 1 else f"{len(fitting)} papers fit"
        yield f"{fit} the query of {len(candidates)} in the last {days} days, the last of {last.day} {last:%B}."
        return
    yield f"The query matched none of the {len(candidates)} papers of the last {days} days."
    for part in query.operands if isinstance(query, And) else ():
        count = sum(matches(part, candidate.text) for candidate in candidates)
        yield f"{part} alone fits {count} of them."


def _closest_lines(subscription: CompiledSubscription, candidates: Sequence[Candidate]) -> Iterator[str]:
    """The papers with the best scores, beside the interest's threshold."""
    scores = ((score_of(subscription, candidate), display_text.title(candidate.paper)) for candidate in candidates)
    scored = [(score, title) for score, title in scores if score is not None]
    if subscription.threshold is None or not scored:
        return
    yield f"Your interest asks for a score of {subscription.threshold:.2f}. What came closest:"
    for score, title in sorted(scored, reverse=True)[:CLOSEST_SHOWN]:
        yield f"{score:.2f}: {title}"
