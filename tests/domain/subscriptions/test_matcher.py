import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.interests.index import BLOCK_SIZE
from services.domain.papers.paper import Paper
from services.domain.query.ast import is_bounded
from services.domain.query.evaluate import PaperText, matches
from services.domain.query.parser import parse
from services.domain.subscriptions.matcher import Candidate, CompiledSubscription, Match, Matcher, explain_non_match
from services.errors import QueryError

SAMPLE = Path(__file__).parents[2] / "data" / "arxiv_abstracts.jsonl"
CLAUSES = [
    "model", "language", '"language model*"', "learning", "diffus*", "title:learning", '"we data"~9', "=LLM", "robot",
    "cat:cs.*", "cat:cs.LG", "source:arxiv", "abstract:(method OR task)", 'author:"Makoto Sato"', "author:wang",
]  # fmt: skip


def candidate(id: int = 1, vector: Sequence[float] | None = None, **changes: Any) -> Candidate:
    paper = Paper(
        **{
            "id": id,
            "title": "Graph agents",
            "abstract": "Of language models.",
            "sources": ("arxiv",),
            "announced_on": date(2025, 5, 1),
            "first_seen_at": datetime(2025, 5, 1, tzinfo=UTC),
            **changes,
        }
    )
    unit = None if vector is None else np.array(vector, np.float32)
    return Candidate(paper=paper, text=PaperText.of(paper), vector=unit)


def compiled(
    id: int = 1, query: str = "", weights: Sequence[float] | None = None, **changes: Any
) -> CompiledSubscription:
    unit = None if weights is None else np.array(weights, np.float32)
    least = None if weights is None else 0.5
    return CompiledSubscription(
        **{"id": id, "query": parse(query) if query else None, "weights": unit, "threshold": least, **changes}
    )


def matched(subscription: CompiledSubscription, paper: Candidate) -> list[Match]:
    matcher = Matcher()
    matcher.put(subscription)
    found = matcher.match([paper])
    assert bool(found) is (explain_non_match(subscription, paper) == "")
    return found


def abstracts() -> list[Candidate]:
    lines = map(json.loads, SAMPLE.read_text("utf-8").splitlines())
    return [
        candidate(
            number,
            [(number * 7 + n * 5) % 9 / 8 - 0.5 for n in range(4)] if number % 4 else None,
            title=line["title"],
            abstract=line["summary"],
            authors=tuple(line["authors"]),
            categories=tuple(line["categories"]),
            sources=("arxiv", "daily-papers")[: 1 + number % 2],
            upvotes=number % 5,
            withdrawn=number % 11 == 0,
        )
        for number, line in enumerate(lines)
    ]


PAPERS = abstracts()


def test_a_query_that_holds_matches() -> None:
    assert matched(compiled(7, "graph"), candidate(3)) == [Match(7, 3, None)]
    assert matched(compiled(7, "dogs"), candidate(3)) == []


def test_an_interest_matches_scores_from_its_threshold() -> None:
    assert matched(compiled(7, weights=[0, 1]), candidate(3, [0.875, 0.5])) == [Match(7, 3, 0.5)]
    assert matched(compiled(7, weights=[0, 1]), candidate(3, [0.875, 0.25])) == []


def test_query_and_interest_must_both_hold() -> None:
    both = compiled(7, "graph", [0, 1])
    assert matched(both, candidate(3, [0, 1])) == [Match(7, 3, 1.0)]
    assert matched(both, candidate(3, [1, 0])) == []
    assert matched(both, candidate(3, [0, 1], title="Dogs")) == []


def test_a_paper_without_a_vector_does_not_match_an_interest() -> None:
    assert matched(compiled(7, "graph", [0, 1]), candidate(3)) == []
    assert matched(compiled(7, weights=[0, 1]), candidate(3)) == []
    assert matched(compiled(7, weights=[0, 1]), candidate(3, [0, 1, 0])) == []


def test_a_vector_with_nan_matches_no_interest() -> None:
    assert matched(compiled(7, weights=[0, 1]), candidate(3, [0, float("nan")])) == []


def test_one_of_the_named_sources_must_have_the_paper() -> None:
    wanted = compiled(7, "graph", sources=frozenset({"arxiv", "rss"}))
    assert matched(wanted, candidate(3))
    assert not matched(wanted, candidate(3, sources=("biorxiv",)))
    assert not matched(wanted, candidate(3, sources=()))


def test_a_paper_needs_min_upvotes() -> None:
    assert matched(compiled(7, "graph", min_upvotes=5), candidate(3, upvotes=5))
    assert not matched(compiled(7, "graph", min_upvotes=5), candidate(3, upvotes=4))


def test_a_withdrawn_paper_never_matches() -> None:
    assert not matched(compiled(7, "graph"), candidate(3, withdrawn=True))
    assert not matched(compiled(7, weights=[0, 1]), candidate(3, [0, 1], withdrawn=True))


def test_a_subscription_without_query_and_interest_never_matches() -> None:
    assert not matched(compiled(7), candidate(3, [0, 1]))


@pytest.mark.parametrize(
    ("subscription", "paper", "why"),
    [
        (compiled(query="dogs"), candidate(), '"dogs" not in the title or abstract'),
        (compiled(weights=[0, 1]), candidate(vector=[1, 0.25]), "not close enough to the interest"),
        (compiled(weights=[0, 1]), candidate(), "the paper has no vector of the interest's model yet"),
        (compiled(query="graph", sources=frozenset({"rss"})), candidate(), "not in rss: the paper is in arxiv"),
        (
            compiled(query="graph", min_upvotes=5),
            candidate(upvotes=3),
            "3 upvotes, and the subscription asks for 5 or more",
        ),
        (compiled(query="graph"), candidate(withdrawn=True), "the paper is withdrawn"),
        (compiled(), candidate(), "the subscription has neither query nor interest"),
        (compiled(query="graph"), candidate(), ""),
    ],
)
def test_the_failing_criterion_is_named(subscription: CompiledSubscription, paper: Candidate, why: str) -> None:
    assert explain_non_match(subscription, paper) == why


@pytest.mark.parametrize("weights", [[[0.0, 1.0]], [float("nan"), 1.0], [float("inf")]])
def test_weights_that_are_not_a_vector_of_numbers_are_rejected(weights: Any) -> None:
    with pytest.raises(ValueError, match="subscription 1: weights"):
        compiled(weights=weights)


def test_weights_need_a_threshold() -> None:
    with pytest.raises(ValueError, match="go together"):
        compiled(weights=[0, 1], threshold=None)
    with pytest.raises(ValueError, match="go together"):
        compiled(query="graph", threshold=0.5)


def test_put_replaces_and_remove_forgets() -> None:
    matcher = Matcher()
    for id in range(40):
        matcher.put(compiled(id, "graph" if id % 2 else "", [0, 1] if id % 3 else None))
    matcher.put(compiled(2, "dogs"))
    matcher.put(compiled(3, weights=[1, 0, 0]))
    matcher.put(compiled(50, "grap*"))
    for id in (0, 4, 39, 39, 50, 99):
        matcher.remove(id)
    assert len(matcher) == 37
    expected = [id for id in range(40) if (id % 2 or id % 3) and id not in (0, 2, 3, 4, 39)]
    assert [match.subscription_id for match in matcher.match([candidate(1, [0, 1])])] == expected
    for id in range(40):
        matcher.remove(id)
    assert len(matcher) == 0
    assert matcher.match([candidate(1, [0, 1])]) == []
    assert matcher.match([]) == []


def test_interests_beyond_one_block_are_scored() -> None:
    matcher = Matcher()
    for id in range(BLOCK_SIZE + 5):
        matcher.put(compiled(id, weights=[0, 1] if id % 1000 == 3 or id >= BLOCK_SIZE else [1, 0]))
    found = [match.subscription_id for match in matcher.match([candidate(1), candidate(2, [0, 1])])]
    assert found == [*range(3, BLOCK_SIZE, 1000), *range(BLOCK_SIZE, BLOCK_SIZE + 5)]


def texts() -> st.SearchStrategy[str]:
    def extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        several = st.lists(inner, min_size=2, max_size=3)
        return several.map(" ".join) | several.map(lambda parts: f"({' OR '.join(parts)})") | inner.map("-({})".format)

    return st.recursive(st.sampled_from(CLAUSES), extend, max_leaves=5).filter(can_stand)


def can_stand(query: str) -> bool:
    try:
        return is_bounded(parse(query))
    except QueryError:
        return False


def subscriptions() -> st.SearchStrategy[CompiledSubscription]:
    return st.builds(
        compiled,
        st.integers(0, 9),
        st.just("") | texts(),
        st.none() | st.lists(st.sampled_from([-0.5, 0.0, 0.5, 1.0]), min_size=4, max_size=4),
        sources=st.sampled_from([frozenset[str](), frozenset({"daily-papers"})]),
        min_upvotes=st.sampled_from([0, 0, 2]),
    )


def naive(subscriptions: Sequence[CompiledSubscription], papers: Sequence[Candidate]) -> list[Match]:
    found = []
    for paper in papers:
        for one in sorted(subscriptions, key=lambda one: one.id):
            score = None
            wanted = not paper.paper.withdrawn and paper.paper.upvotes >= one.min_upvotes
            wanted &= not one.sources or bool(one.sources & {*paper.paper.sources})
            if one.query is not None:
                wanted &= matches(one.query, paper.text)
            if one.weights is not None and one.threshold is not None:
                score = float(one.weights @ paper.vector) if paper.vector is not None else float("-inf")
                wanted &= score >= one.threshold
            if wanted and (one.query is not None or one.weights is not None):
                found.append(Match(one.id, paper.paper.id, score))
    return found


@pytest.mark.parametrize("form", ["{} {}", "{} OR {}", "{} -{}", "{} -(-{} -robot)"])
def test_every_pair_of_clauses_is_found_where_it_holds(form: str) -> None:
    pairs = [compiled(n, form.format(a, b)) for n, (a, b) in enumerate(permutations(CLAUSES, 2))]
    matcher = Matcher()
    for one in pairs:
        matcher.put(one)
    assert matcher.match(PAPERS) == naive(pairs, PAPERS)


@settings(max_examples=60, deadline=None)
@given(st.lists(subscriptions() | st.integers(0, 9), max_size=14))
def test_the_matcher_finds_what_plain_evaluation_finds(steps: list[CompiledSubscription | int]) -> None:
    matcher, held = Matcher(), dict[int, CompiledSubscription]()
    for step in steps:
        if isinstance(step, int):
            matcher.remove(step)
            held.pop(step, None)
        else:
            matcher.put(step)
            held[step.id] = step
    assert len(matcher) == len(held)
    assert matcher.match(PAPERS) == naive(list(held.values()), PAPERS)
