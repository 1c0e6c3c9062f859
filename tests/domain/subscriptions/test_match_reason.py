"""The sentence that tells a reader why a paper matched."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from services.domain.papers.paper import Paper
from services.domain.query.evaluate import PaperText
from services.domain.query.parser import Query, parse
from services.domain.subscriptions.match_reason import describe_interest, describe_match
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


def test_the_reason_is_one_line() -> None:
    assert describe_interest(0.612, 0.449, "Title you\nliked") == (
        "0.61 close to your interest (threshold 0.45), nearest to “Title you liked”"
    )
    assert describe_interest(0.612, 0.449) == "0.61 close to your interest (threshold 0.45)"


def test_the_reason_names_the_terms_that_counted() -> None:
    assert describe_interest(0.61, 0.45, None, ["tool use", "web agents"]) == (
        'close to your interest: "tool use", "web agents"; 0.61 (threshold 0.45)'
    )


@pytest.mark.parametrize(
    ("percentile", "share"), [(0.5, "50 %"), (0.968, "97 %"), (0.9961, "99.6 %"), (0.99999, "99.9 %")]
)
def test_the_reason_says_how_many_papers_are_less_close(percentile: float, share: str) -> None:
    assert describe_interest(0.61, 0.45, None, ["tool use"], percentile) == (
        f'close to your interest: "tool use"; 0.61, closer than about {share} of papers (threshold 0.45)'
    )


def test_the_reason_tells_a_near_miss_from_a_match() -> None:
    assert describe_interest(0.4491, 0.4532) == "0.449 not close enough to your interest (threshold 0.453)"


def test_a_long_title_is_shortened() -> None:
    assert describe_interest(0.6, 0.4, "word " * 40).endswith(" word word…”")
