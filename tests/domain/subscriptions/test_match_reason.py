"""The sentence that tells a reader why a paper matched."""

from datetime import UTC, date, datetime

import numpy as np

from services.domain.papers.paper import Paper
from services.domain.query.evaluate import PaperText
from services.domain.query.parser import Query, parse
from services.domain.subscriptions.match_reason import describe_match
from services.domain.subscriptions.matcher import Candidate, CompiledSubscription

PAPER = Paper(
    id=1,
    title="Robots plan",
    upvotes=11,
    announced_on=date(2026, 5, 4),
    first_seen_at=datetime(2026, 5, 4, tzinfo=UTC),
)
CANDIDATE = Candidate(paper=PAPER, text=PaperText.of(PAPER), upvote_step=1)
ROBOTS = parse("robots")
WEIGHTS = np.array([1, 0], np.float32)


def test_a_query_names_the_clauses_that_hold() -> None:
    assert describe_match(CompiledSubscription(id=1, query=ROBOTS), CANDIDATE, None) == '"robots" in the title'


def test_an_interest_names_score_threshold_and_nearest_paper() -> None:
    interest = CompiledSubscription(id=1, weights=WEIGHTS, threshold=0.5)
    reason = describe_match(interest, CANDIDATE, 0.75, "A liked paper")
    assert reason == "0.75 close to your interest (threshold 0.50), nearest to “A liked paper”"


def test_a_popular_near_miss_names_its_threshold_and_its_upvotes() -> None:
    both = CompiledSubscription(id=1, query=ROBOTS, weights=WEIGHTS, threshold=0.5, relaxed_thresholds=(0.25,))
    assert describe_match(both, CANDIDATE, 0.375).split("; ") == [
        '"robots" in the title',
        "0.38 close to your interest (threshold 0.25)",
        "near before, now with 11 upvotes",
    ]


def test_the_reason_of_a_query_is_cached_by_query() -> None:
    cache: dict[Query, str] = {}
    subscription = CompiledSubscription(id=1, query=ROBOTS)
    describe_match(subscription, CANDIDATE, None, query_reasons=cache)
    assert cache == {ROBOTS: '"robots" in the title'}
    cache[ROBOTS] = "the cached reason"
    assert describe_match(subscription, CANDIDATE, None, query_reasons=cache) == "the cached reason"
