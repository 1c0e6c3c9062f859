"""Composing a message: each paper once, with all its reasons, the best first."""

from datetime import UTC, date, datetime

from services.domain.digest import MOST_PAPERS, Reason, compose, ledger_line
from services.domain.paper import Paper

DAY = date(2026, 5, 4)


def paper(number: int, **values: object) -> Paper:
    return Paper(
        id=number, title=f"Paper {number}", announced_on=DAY, first_seen_at=datetime(2026, 5, 4, tzinfo=UTC), **values
    )  # type: ignore[arg-type]


def reason(name: str = "Mine", score: float | None = None) -> Reason:
    return Reason(subscription=1, name=name, why="because", score=score)


def test_several_reasons_come_first_then_scores_then_upvotes() -> None:
    found = {
        1: (paper(1), [reason(score=0.4)]),
        2: (paper(2), [reason(score=0.9)]),
        3: (paper(3), [reason("A"), reason("B")]),
        4: (paper(4, upvotes=7), [reason(score=0.4)]),
    }
    assert [one.paper.id for one in compose("digest", found, DAY, "http://x").papers] == [3, 2, 4, 1]


def test_withdrawn_and_unwanted_papers_fall_out() -> None:
    found = {1: (paper(1, withdrawn=True), [reason()]), 2: (paper(2), []), 3: (paper(3), [reason()])}
    assert [one.paper.id for one in compose("message", found, DAY, "http://x").papers] == [3]


def test_beyond_the_maximum_the_rest_is_counted() -> None:
    found = {number: (paper(number), [reason()]) for number in range(1, MOST_PAPERS + 13)}
    digest = compose("digest", found, DAY, "http://x")
    assert (len(digest.papers), digest.more) == (MOST_PAPERS, 12)


def test_the_foot_says_what_was_read() -> None:
    assert ledger_line("cs.LG", 131, 131, 7) == "cs.LG: 131 announced, 131 read, 7 for you"
    assert ledger_line("Lab", None, 12, 1) == "Lab: 12 read, 1 for you"
    digest = compose("digest", {1: (paper(1), [reason()])}, DAY, "http://x", ["cs.LG: 1 read, 1 for you"])
    assert digest.foot[0] == "cs.LG: 1 read, 1 for you"


def test_titles_say_what_is_inside() -> None:
    one = {1: (paper(1), [reason("Mine")])}
    assert compose("message", one, DAY, "http://x").title == "Paper 1"
    assert compose("digest", one, DAY, "http://x").title == "1 paper on 4 May: Mine"
