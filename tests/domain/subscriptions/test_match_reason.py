"""The sentence that tells a reader why a paper matched."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from services.domain.interests.score_words import describe_distance, rarity
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


def test_an_interest_names_the_nearest_paper() -> None:
    interest = CompiledSubscription(id=1, weights=WEIGHTS, threshold=0.5)
    reason = describe_match(interest, CANDIDATE, 0.75, "A liked paper")
    assert reason == "close to your interest, nearest to “A liked paper”"


def test_a_popular_near_miss_names_its_upvotes() -> None:
    both = CompiledSubscription(id=1, query=ROBOTS, weights=WEIGHTS, threshold=0.5, relaxed_thresholds=(0.25,))
    assert describe_match(both, CANDIDATE, 0.375).split("; ") == [
        '"robots" in the title',
        "close to your interest",
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
    assert describe_interest(0.612, "Title you\nliked") == "close to your interest, nearest to “Title you liked”"


def test_the_reason_of_a_learned_interest_names_its_terms_and_how_rare_such_a_score_is() -> None:
    reason = describe_interest(0.43, None, ["tool use", "web agents"], learned=True)
    assert reason == 'close to your interest: "tool use", "web agents"; about 1 paper in 300 is as close'


@pytest.mark.parametrize(("score", "papers"), [(-9, 2), (0.12, 10), (0.17, 20), (0.3, 100), (0.54, 1000), (9, 1000)])
def test_a_score_is_said_as_a_share_of_papers(score: float, papers: int) -> None:
    assert rarity(score) == papers


def test_a_distance_is_said_in_shares_of_papers() -> None:
    far = "not close enough to the interest: about 1 paper in 10 is as close, and the line lies at 1 in 1,000"
    assert describe_distance(0.12, 0.54, learned=True) == far
    near = "just not close enough to the interest: about 1 paper in 1,000 is as close"
    assert describe_distance(0.54, 0.55, learned=True) == near
    assert describe_distance(0.2, 0.3, learned=False) == "not close enough to the interest"


def test_a_long_title_is_shortened() -> None:
    assert describe_interest(0.6, "word " * 40).endswith(" word word…”")
