"""The best of a query: how many papers a digest may take, and which."""

import pytest

from services.domain.interests.calibration import parse_volume
from services.domain.subscriptions.best import Candidate, allowance, by_worth, held_back, past_choices
from services.domain.subscriptions.draft import Draft, check
from services.errors import ConfigError


@pytest.mark.parametrize(
    ("volume", "cadence", "taken", "allowed"),
    [
        ("5/week", "daily", 0, 1),
        ("5/week", "daily", 4, 1),
        ("5/week", "daily", 5, 0),
        ("10/week", "daily", 0, 2),
        ("10/week", "daily", 9, 1),
        ("5/week", "weekly", 0, 5),
        ("5/week", "weekly", 3, 2),
        ("2/day", "daily", 0, 2),
        ("2/day", "weekly", 0, 14),
        ("3/month", "weekly", 0, 1),
        ("3/month", "weekly", 3, 0),
        ("3/month", "weekly", 9, 0),
    ],
)
def test_a_digest_takes_its_share_of_the_volume(volume: str, cadence: str, taken: int, allowed: int) -> None:
    assert allowance(parse_volume(volume), cadence, taken) == allowed


def test_relevance_decides_and_upvotes_decide_between_about_equal_papers() -> None:
    papers = [Candidate(1, 0.31, 0), Candidate(2, 0.9, 0), Candidate(3, 0.33, 7), Candidate(4, 0.31, 0)]
    assert [each.paper_id for each in by_worth(papers)] == [2, 3, 4, 1]


def test_past_digests_took_the_best_of_each_day_and_no_more_than_the_volume_in_any_week() -> None:
    papers = [Candidate(10 * age + n, n / 10, 0, age) for age in range(14) for n in range(3)]
    taken = past_choices(papers, parse_volume("5/week"), "daily")
    assert {each.paper_id % 10 for each in taken} == {2}
    ages = sorted(each.age for each in taken)
    assert len(ages) == 10
    assert all(sum(first <= age < first + 7 for age in ages) <= 5 for first in range(14))


def test_past_weekly_digests_took_the_best_of_each_week() -> None:
    papers = [Candidate(age, age / 100, 0, age) for age in range(14)]
    taken = past_choices(papers, parse_volume("2/week"), "weekly")
    assert sorted(each.age for each in taken) == [5, 6, 12, 13]


def test_the_reason_names_the_volume() -> None:
    assert held_back("5/week") == "held back: over 5 a week"


def test_a_query_alone_keeps_its_volume() -> None:
    assert check(Draft(query="robot", volume="5 a week")).volume == "5/week"
    assert check(Draft(query="robot")).volume == ""


@pytest.mark.parametrize(
    ("values", "field", "text"),
    [
        ({"cadence": "immediate"}, "cadence", "chosen when a digest is made"),
        ({"trending": 3}, "volume", "leave the volume out"),
        ({"volume": "some"}, "volume", "not like 5/week"),
    ],
)
def test_a_volume_that_a_query_cannot_keep_to_is_refused(values: dict[str, object], field: str, text: str) -> None:
    draft = Draft(**{"query": "robot", "volume": "5/week", **values})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=text) as caught:
        check(draft)
    assert caught.value.field == field
