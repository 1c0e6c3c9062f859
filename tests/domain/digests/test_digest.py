"""Composing a digest: each paper once, with all its reasons, the most relevant first."""

from datetime import UTC, date, datetime

from services.domain.digests.digest import MAX_PAPERS, Reason, compose, source_line, with_evidence
from services.domain.papers import display_text
from services.domain.papers.paper import Paper
from services.domain.query.parser import parse

DAY = date(2026, 5, 4)


def paper(number: int, **values: object) -> Paper:
    defaults = {"title": f"Paper {number}", "announced_on": DAY, "first_seen_at": datetime(2026, 5, 4, tzinfo=UTC)}
    return Paper(id=number, **defaults | values)  # type: ignore[arg-type]


def reason(name: str = "Mine", score: float | None = None, query: str = "", **values: object) -> Reason:
    defaults: dict[str, object] = {"subscription": 1, "why": "because", "threshold": None if score is None else 0.3}
    return Reason(name=name, score=score, query=parse(query) if query else None, **defaults | values)  # type: ignore[arg-type]


def order(reasons_by_paper: dict[int, tuple[Paper, list[Reason]]]) -> list[int]:
    return [item.paper.id for item in compose("digest", reasons_by_paper, DAY, "http://x").papers]


def test_papers_are_ordered_by_relevance_then_upvotes_then_date() -> None:
    reasons_by_paper = {
        1: (paper(1), [reason(score=0.35)]),
        2: (paper(2), [reason(score=0.9)]),
        3: (paper(3), [reason("A", query="paper"), reason("B", score=0.5)]),
        4: (paper(4, upvotes=7), [reason(score=0.36)]),
        5: (paper(5, announced_on=date(2026, 5, 5)), [reason(score=0.36)]),
        6: (paper(6, upvotes=900), [reason("Trending")]),
    }
    assert order(reasons_by_paper) == [3, 2, 4, 5, 1, 6]


def test_the_title_of_a_message_is_text_without_latex() -> None:
    reasons_by_paper = {1: (paper(1, title='Lines of CO$_2$ in K{\\"o}ln'), [reason(query="CO2")])}
    message = compose("immediate", reasons_by_paper, DAY, "http://x")
    assert message.title == "Lines of CO₂ in Köln"
    assert message.papers[0].title_hits == ((9, 12),)


def test_a_match_in_the_title_is_more_relevant_than_one_in_the_abstract() -> None:
    reasons = [reason(query="robots")]
    reasons_by_paper = {
        1: (paper(1, abstract="about robots", upvotes=99), reasons),
        2: (paper(2, title="Robots"), reasons),
    }
    assert [
        (item.paper.id, item.relevance) for item in compose("digest", reasons_by_paper, DAY, "http://x").papers
    ] == [
        (2, 1.0),
        (1, 0.5),
    ]


def test_a_paper_is_listed_once_under_its_most_relevant_subscription_with_all_reasons() -> None:
    robots, plans = reason("Robots", query="robot"), reason("Plans", subscription=2, for_whom="Ana", query="plan")
    close = reason("Close", score=0.31, subscription=3)
    reasons_by_paper = {
        1: (paper(1, title="Plans", abstract="of a robot"), [robots, plans, close]),
        2: (paper(2, title="Robots"), [robots]),
        3: (paper(3, title="Nothing"), [close]),
        4: (paper(4, title="A plan"), [plans]),
    }
    groups = compose("digest", reasons_by_paper, DAY, "http://x").groups
    assert [(group.name, group.for_whom, [item.paper.id for item in group.papers]) for group in groups] == [
        ("Plans", "Ana", [1, 4]),
        ("Robots", "", [2]),
        ("Close", "", [3]),
    ]
    assert [matched.name for matched in groups[0].papers[0].reasons] == ["Plans", "Close", "Robots"]


def test_matched_words_are_marked_in_the_displayed_text() -> None:
    robots = paper(1, title="$\\alpha$ \\emph{robots}", abstract="Nothing here. Two robots, one plan. A robot. End.")
    item = with_evidence(robots, [reason(query="robot* plan")])
    title, abstract = display_text.title(robots), display_text.abstract(robots)
    assert [title[a:b] for a, b in item.title_hits] == ["robots"]
    assert [abstract[a:b] for a, b in item.abstract_hits] == ["robots", "plan", "robot"]
    assert item.sentence is not None
    assert abstract[slice(*item.sentence)] == "Two robots, one plan."


def test_the_top_terms_of_an_interest_are_marked() -> None:
    tools = paper(1, title="Tool use", abstract="Agents call tools. They use them.")
    item = with_evidence(
        tools, [reason(score=0.5, terms={"tool use": 2.0, "agent": 1.0, "protein": 9.0, "cat:cs.LG": 1.0})]
    )
    assert item.title_hits == ((0, 8),)
    assert [tools.abstract[a:b] for a, b in item.abstract_hits] == ["Agents"]


def test_an_excluded_word_is_not_marked() -> None:
    survey = paper(1, title="Robots plan", abstract="A survey of nothing")
    assert with_evidence(survey, [reason(query="robots -title:survey")]).abstract_hits == ()


def test_withdrawn_papers_and_papers_without_a_reason_are_left_out() -> None:
    reasons_by_paper = {1: (paper(1, withdrawn=True), [reason()]), 2: (paper(2), []), 3: (paper(3), [reason()])}
    assert [item.paper.id for item in compose("message", reasons_by_paper, DAY, "http://x").papers] == [3]


def test_papers_beyond_the_maximum_are_counted() -> None:
    reasons_by_paper = {number: (paper(number), [reason()]) for number in range(1, MAX_PAPERS + 13)}
    digest = compose("digest", reasons_by_paper, DAY, "http://x", more_url="http://x/deliveries/7")
    assert (len(digest.papers), digest.more, digest.more_url) == (MAX_PAPERS, 12, "http://x/deliveries/7")


def test_the_foot_states_how_many_papers_were_new() -> None:
    assert source_line("arXiv cs.LG", 1310, 7) == "arXiv cs.LG: 1,310 new papers, 7 for you"
    assert source_line("Lab", 1, 1) == "Lab: 1 new paper, 1 for you"
    digest = compose("digest", {1: (paper(1), [reason()])}, DAY, "http://x", ["cs.LG: 1 new paper, 1 for you"])
    assert digest.foot[0] == "cs.LG: 1 new paper, 1 for you"


def test_the_title_names_the_paper_or_the_number_of_papers() -> None:
    single = {1: (paper(1), [reason("Mine")])}
    assert compose("message", single, DAY, "http://x").title == "Paper 1"
    assert compose("digest", single, DAY, "http://x").title == "1 paper on 4 May: Mine"
