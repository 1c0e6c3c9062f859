"""The reason of a match: the sentence that tells a reader why the paper matched.

The words about a query are in `domain/query/evaluate.py` (`describe`), those about trending papers in `trending.py`.
"""

from collections.abc import Sequence

from services.domain.interests.score_words import describe_closeness
from services.domain.interests.terms import top_terms
from services.domain.query.evaluate import describe, evidence
from services.domain.query.parser import Query
from services.domain.subscriptions.matcher import Candidate, CompiledSubscription


def describe_match(
    subscription: CompiledSubscription,
    candidate: Candidate,
    score: float | None,
    nearest_title: str | None = None,
    query_reasons: dict[Query, str] | None = None,
) -> str:
    """The clauses of the query that hold, and how close the paper is to the interest.

    `nearest_title` is the liked paper closest to the candidate. `query_reasons` is a cache of one candidate's reasons
    by query, since many subscriptions have the same query.
    """
    query_reasons = {} if query_reasons is None else query_reasons
    reasons = []
    if subscription.query is not None:
        query_reason = query_reasons.get(subscription.query)
        if query_reason is None:
            query_reason = describe(evidence(subscription.query, candidate.text))
            query_reasons[subscription.query] = query_reason
        reasons.append(query_reason)
    if score is not None and subscription.threshold is not None:
        learned = bool(subscription.terms)
        terms = top_terms(subscription.terms, candidate.text, candidate.terms) if learned else ()
        reasons.append(describe_interest(score, nearest_title, terms, learned=learned))
        if score < subscription.threshold:
            reasons.append(f"near before, now with {candidate.paper.upvotes} upvotes")
    return "; ".join(filter(None, reasons))


def describe_interest(
    score: float, nearest_title: str | None = None, terms: Sequence[str] = (), *, learned: bool = False
) -> str:
    """The reason of a match in one line.

    `close to your interest: "tool use", "web agents"; about 1 paper in 500 is as close, nearest to “A title you
    liked”`; of an interest that is not learned yet `close to your interest`.
    """
    line = "close to your interest"
    if terms:
        line += ": " + ", ".join(f'"{term}"' for term in terms)
    if learned:
        line += f"; {describe_closeness(score)}"
    return f"{line}, nearest to “{_shortened(nearest_title)}”" if nearest_title else line


def _shortened(title: str, length: int = 80) -> str:
    words = " ".join(title.split())
    return words if len(words) <= length else words[: length - 1].rstrip() + "…"
