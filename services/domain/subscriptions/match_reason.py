"""The reason of a match: the sentence that tells a reader why the paper matched.

The words about a query are in `domain/query/evaluate.py` (`describe`), those about trending papers in `trending.py`.
"""

from collections.abc import Sequence

from services.domain.interests.learning import usual_percentile
from services.domain.interests.terms import top_terms
from services.domain.query.evaluate import describe, evidence
from services.domain.query.parser import Query
from services.domain.subscriptions.matcher import Candidate, CompiledSubscription, threshold_for


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
        terms, percentile = list[str](), None
        if subscription.terms:
            terms = top_terms(subscription.terms, candidate.text, candidate.terms)
            percentile = usual_percentile(score)
        threshold = threshold_for(subscription, candidate)
        reasons.append(describe_interest(score, threshold, nearest_title, terms, percentile))
        if score < subscription.threshold:
            reasons.append(f"near before, now with {candidate.paper.upvotes} upvotes")
    return "; ".join(filter(None, reasons))


def describe_interest(
    score: float,
    threshold: float,
    nearest_title: str | None = None,
    terms: Sequence[str] = (),
    percentile: float | None = None,
) -> str:
    """The reason of a match in one line. `percentile` is the share of papers that usually score lower.

    `close to your interest: "tool use", "web agents"; 0.61, closer than about 99.8 % of papers (threshold 0.45),
    nearest to “A title you liked”`; without terms `0.61 close to your interest (threshold 0.45)`.
    """
    digits = 2 if round(score, 2) != round(threshold, 2) else 3
    close = "close" if score >= threshold else "not close enough"
    figure, limit = f"{score:.{digits}f}", f"(threshold {threshold:.{digits}f})"
    comparison = f", closer than about {_percent(percentile)} of papers" if percentile is not None else ""
    line = f"{figure} {close} to your interest{comparison} {limit}"
    if terms:
        words = ", ".join(f'"{term}"' for term in terms)
        line = f"{close} to your interest: {words}; {figure}{comparison} {limit}"
    return f"{line}, nearest to “{_shortened(nearest_title)}”" if nearest_title else line


def _percent(share: float) -> str:
    """62 %, 97 %, 99.4 %, at most 99.9 %: the estimate is not more exact."""
    digits = 1 if share > 0.99 else 0
    return f"{min(100 * share, 99.9):.{digits}f} %"


def _shortened(title: str, length: int = 80) -> str:
    words = " ".join(title.split())
    return words if len(words) <= length else words[: length - 1].rstrip() + "…"
