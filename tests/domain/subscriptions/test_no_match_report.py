"""What a subscription that brings nothing says of itself."""

from datetime import UTC, date, datetime

import numpy as np

from services.domain.papers.paper import Paper
from services.domain.query.evaluate import PaperText
from services.domain.query.parser import parse
from services.domain.subscriptions.matcher import Candidate, CompiledSubscription
from services.domain.subscriptions.no_match_report import report


def candidate(id: int, title: str, closeness: float = 0.0, **values: object) -> Candidate:
    known = {"announced_on": date(2026, 5, id), "first_seen_at": datetime(2026, 5, 4, tzinfo=UTC)}
    paper = Paper(id=id, title=title, **known | values)  # type: ignore[arg-type]
    return Candidate(paper=paper, text=PaperText.of(paper), vector=np.array([closeness, 0.1], np.float32))


PAPERS = [candidate(1, "Robots plan $x^2$", 0.3), candidate(2, "Robots dance", 0.4), candidate(3, "Plants grow", 0.1)]


def test_a_query_that_finds_nothing_says_which_part_does() -> None:
    assert report(CompiledSubscription(id=1, query=parse("robots whales")), PAPERS, 60) == [
        "The query matched none of the 3 papers of the last 60 days.",
        "robots alone fits 2 of them.",
        "whales alone fits 0 of them.",
    ]


def test_a_rare_query_says_how_rare() -> None:
    assert report(CompiledSubscription(id=1, query=parse("dance")), PAPERS, 60) == [
        "1 paper fits the query of 3 in the last 60 days, the last of 2 May."
    ]


def test_what_sources_and_upvotes_keep_away_is_counted() -> None:
    lines = report(CompiledSubscription(id=1, query=parse("robots"), min_upvotes=5), PAPERS, 60)
    assert lines[1:] == ["2 of these papers come from other sources or have too few upvotes."]


def test_an_interest_says_what_came_closest() -> None:
    interest = CompiledSubscription(id=1, weights=np.array([1, 0], np.float32), threshold=0.5)
    assert report(interest, PAPERS, 60) == [
        "Your interest asks for a score of 0.50. What came closest:",
        "0.40: Robots dance",
        "0.30: Robots plan x²",
        "0.10: Plants grow",
    ]


def test_without_papers_the_sources_are_to_blame() -> None:
    assert report(CompiledSubscription(id=1, query=parse("x")), [], 60) == [
        "No paper was read in the last 60 days: please look at your sources."
    ]
