"""Composing a message: each paper once, with all its reasons, the best first."""

from datetime import UTC, date, datetime

from services.domain.digests.digest import MAX_PAPERS, Reason, compose, source_line, with_evidence
from services.domain.papers import display_text
from services.domain.papers.paper import Paper
from services.domain.query.parser import parse

DAY = date(2026, 5, 4)


def paper(number: int, **values: object) -> Paper:
    known = {"title": f"Paper {number}", "announced_on": DAY, "first_seen_at": datetime(2026, 5, 4, tzinfo=UTC)}
    return Paper(id=number, **known | values)  # type: ignore[arg-type]


def reason(name: str = "Mine", score: float | None = None, query: str = "", **values: object) -> Reason:
    known: dict[str, object] = {"subscription": 1, "why": "because", "threshold": None if score is None else 0.3}
    return Reason(name=name, score=score, query=parse(query) if query else None, **known | values)  # type: ignore[arg-type]


def order(found: dict[int, tuple[Paper, list[Reason]]]) -> list[int]:
    return [one.paper.id for one in compose("digest", found, DAY, "http://x").papers]


def test_the_most_relevant_come_first_then_upvotes_then_the_newest() -> None:
    found = {
        1: (paper(1), [reason(score=0.35)]),
        2: (paper(2), [reason(score=0.9)]),
        3: (paper(3), [reason("A", query="paper"), reason("B", score=0.5)]),
        4: (paper(4, upvotes=7), [reason(score=0.36)]),
        5: (paper(5, announced_on=date(2026, 5, 5)), [reason(score=0.36)]),
        6: (paper(6, upvotes=900), [reason("Trending")]),
    }
    assert order(found) == [3, 2, 4, 5, 1, 6]


def test_the_title_of_a_message_is_text_without_latex() -> None:
    found = {1: (paper(1, title='Lines of CO$_2$ in K{\\"o}ln'), [reason(query="CO2")])}
    message = compose("immediate", found, DAY, "http://x")
    assert message.title == "Lines of CO₂ in Köln"
    assert message.papers[0].title_hits == ((9, 12),)


def test_a_word_in_the_title_counts_more_than_one_in_the_abstract() -> None:
    mine = [reason(query="robots")]
    found = {1: (paper(1, abstract="about robots", upvotes=99), mine), 2: (paper(2, title="Robots"), mine)}
    assert [(one.paper.id, one.relevance) for one in compose("digest", found, DAY, "http://x").papers] == [
        (2, 1.0),
        (1, 0.5),
    ]


def test_each_paper_stands_once_under_the_subscription_it_suits_best_with_all_its_reasons() -> None:
    robots, plans = reason("Robots", query="robot"), reason("Plans", subscription=2, for_whom="Ana", query="plan")
    close = reason("Close", score=0.31, subscription=3)
    found = {
        1: (paper(1, title="Plans", abstract="of a robot"), [robots, plans, close]),
        2: (paper(2, title="Robots"), [robots]),
        3: (paper(3, title="Nothing"), [close]),
        4: (paper(4, title="A plan"), [plans]),
    }
    groups = compose("digest", found, DAY, "http://x").groups
    assert [(group.name, group.for_whom, [one.paper.id for one in group.papers]) for group in groups] == [
        ("Plans", "Ana", [1, 4]),
        ("Robots", "", [2]),
        ("Close", "", [3]),
    ]
    assert [one.name for one in groups[0].papers[0].reasons] == ["Plans", "Close", "Robots"]


def test_what_matched_is_marked_in_the_words_that_people_read() -> None:
    one = paper(1, title="$\\alpha$ \\emph{robots}", abstract="Nothing here. Two robots, one plan. A robot. End.")
    item = with_evidence(one, [reason(query="robot* plan")])
    title, abstract = display_text.title(one), display_text.abstract(one)
    assert [title[a:b] for a, b in item.title_hits] == ["robots"]
    assert [abstract[a:b] for a, b in item.abstract_hits] == ["robots", "plan", "robot"]
    assert item.sentence is not None
    assert abstract[slice(*item.sentence)] == "Two robots, one plan."


def test_the_terms_that_told_an_interest_are_marked() -> None:
    one = paper(1, title="Tool use", abstract="Agents call tools. They use them.")
    item = with_evidence(
        one, [reason(score=0.5, terms={"tool use": 2.0, "agent": 1.0, "protein": 9.0, "cat:cs.LG": 1.0})]
    )
    assert item.title_hits == ((0, 8),)
    assert [one.abstract[a:b] for a, b in item.abstract_hits] == ["Agents"]


def test_an_excluded_word_is_not_marked() -> None:
    one = paper(1, title="Robots plan", abstract="A survey of nothing")
    assert with_evidence(one, [reason(query="robots -title:survey")]).abstract_hits == ()


def test_withdrawn_and_unwanted_papers_fall_out() -> None:
    found = {1: (paper(1, withdrawn=True), [reason()]), 2: (paper(2), []), 3: (paper(3), [reason()])}
    assert [one.paper.id for one in compose("message", found, DAY, "http://x").papers] == [3]


def test_beyond_the_maximum_the_rest_is_counted() -> None:
    found = {number: (paper(number), [reason()]) for number in range(1, MAX_PAPERS + 13)}
    digest = compose("digest", found, DAY, "http://x", more_url="http://x/deliveries/7")
    assert (len(digest.papers), digest.more, digest.more_url) == (MAX_PAPERS, 12, "http://x/deliveries/7")


def test_the_foot_says_what_was_read() -> None:
    assert source_line("cs.LG", 131, 131, 7) == "cs.LG: 131 announced, 131 read, 7 for you"
    assert source_line("Lab", None, 12, 1) == "Lab: 12 read, 1 for you"
    digest = compose("digest", {1: (paper(1), [reason()])}, DAY, "http://x", ["cs.LG: 1 read, 1 for you"])
    assert digest.foot[0] == "cs.LG: 1 read, 1 for you"


def test_titles_say_what_is_inside() -> None:
    one = {1: (paper(1), [reason("Mine")])}
    assert compose("message", one, DAY, "http://x").title == "Paper 1"
    assert compose("digest", one, DAY, "http://x").title == "1 paper on 4 May: Mine"
