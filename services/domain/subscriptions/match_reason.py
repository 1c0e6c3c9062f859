"""The reason of a match: the sentence that tells a reader why the paper matched."""

from services.domain.interests.calibration import describe_interest
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
