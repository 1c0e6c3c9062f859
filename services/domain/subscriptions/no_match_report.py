"""Why a subscription has brought nothing for long: what its parts find, and what came closest."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from services.domain.query.evaluate import matches
from services.domain.query.parser import And, Query
from services.domain.subscriptions.matcher import Candidate, CompiledSubscription, filtered_out_reason, score_of

AFTER = timedelta(days=14)
"""Without a match; then one note says why."""
LOOKED_BACK = timedelta(days=60)
CLOSEST = 3


def notes(standing: CompiledSubscription, candidates: Sequence[Candidate], days: int) -> list[str]:
    """Lines for its owner, over the papers of the last `days` days."""
    count = len(candidates)
    if not count:
        return [f"No paper was read in the last {days} days: please look at your sources."]
    fitting = [one for one in candidates if standing.query is None or matches(standing.query, one.text)]
    lines = list(_query_notes(standing.query, fitting, candidates, days)) if standing.query is not None else []
    open_ones = [one for one in fitting if not filtered_out_reason(standing, one.paper)]
    if fitting and len(open_ones) < len(fitting):
        lines.append(f"{len(fitting) - len(open_ones)} of them fail at its sources or at its least number of upvotes.")
    return [*lines, *_closest(standing, open_ones)]


def _query_notes(
    query: Query, fitting: Sequence[Candidate], candidates: Sequence[Candidate], days: int
) -> Iterator[str]:
    """How many papers the query fits, and if none how many each of its parts does."""
    if fitting:
        last = max(one.paper.announced_on for one in fitting)
        fit = "1 paper fits" if len(fitting) == 1 else f"{len(fitting)} papers fit"
        yield f"{fit} the query of {len(candidates)} in the last {days} days, the last of {last.day} {last:%B}."
        return
    yield f"The query matched none of the {len(candidates)} papers of the last {days} days."
    for part in query.operands if isinstance(query, And) else ():
        held = sum(matches(part, one.text) for one in candidates)
        yield f"{part} alone fits {held} of them."


def _closest(standing: CompiledSubscription, candidates: Sequence[Candidate]) -> Iterator[str]:
    """The interest's best of what it was asked about; the threshold says what it would have taken."""
    scored = [(score, one.paper.title) for one in candidates if (score := score_of(standing, one)) is not None]
    if standing.threshold is None or not scored:
        return
    yield f"Your interest asks for a score of {standing.threshold:.2f}. What came closest:"
    for score, title in sorted(scored, reverse=True)[:CLOSEST]:
        yield f"{score:.2f}: {title}"
