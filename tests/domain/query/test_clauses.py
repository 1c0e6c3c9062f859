"""Queries without one of their clauses."""

import pytest

from services.domain.query.clauses import MAX_CLAUSES, leave_one_out
from services.domain.query.parser import MAX_QUERY_CHARACTERS, parse


def test_each_clause_is_left_out_in_turn() -> None:
    found = leave_one_out(parse('"web agent*" cat:cs.LG -survey'))
    assert [(one.clause, one.query, one.missed) for one in found] == [
        ('"web agent*"', "cat:cs.LG -survey", 'cat:cs.LG -survey -"web agent*"'),
        ("cat:cs.LG", '"web agent*" -survey', '"web agent*" -survey -cat:cs.LG'),
        ("-survey", '"web agent*" cat:cs.LG', '"web agent*" cat:cs.LG survey'),
    ]


@pytest.mark.parametrize("query", ["agent", "agent OR robot", "-survey agent"])
def test_nothing_is_left_out_where_nothing_to_look_for_would_remain(query: str) -> None:
    assert all(one.query == "agent" for one in leave_one_out(parse(query)))


def test_what_is_left_parses_again() -> None:
    for one in leave_one_out(parse('(a OR b) title:"c d" -(e f) "g h"~3 =RAG author:"Y. LeCun"')):
        assert str(parse(one.query)) == one.query
        assert str(parse(one.missed)) == one.missed


def test_a_long_query_is_looked_at_in_part() -> None:
    query = parse(" ".join(f"word{number}" for number in range(20)))
    assert len(leave_one_out(query)) == MAX_CLAUSES


def test_a_query_that_would_grow_beyond_the_limit_is_left_out() -> None:
    longest = " ".join(f"{letter * 99}" for letter in "abcde")
    assert len(longest) == MAX_QUERY_CHARACTERS - 1
    assert len(leave_one_out(parse(longest))) == 5
    assert leave_one_out(parse(f"{longest}e")) == []
