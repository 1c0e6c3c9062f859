import json
import tracemalloc
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import cycle, permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.papers.paper import Paper
from services.domain.query.evaluate import matches
from services.domain.query.paper_text import PaperText
from services.domain.query.parser import (
    And,
    Author,
    Category,
    Exact,
    Field,
    Near,
    Not,
    Or,
    Phrase,
    Query,
    Source,
    parse,
)
from services.domain.query.percolator.percolator import BATCH_SIZE, Percolator

SAMPLE = Path(__file__).parents[3] / "data" / "arxiv_abstracts.jsonl"


def paper(
    title: str = "", abstract: str = "", authors: Sequence[str] = (), categories: Sequence[str] = ()
) -> PaperText:
    made = Paper(
        id=1,
        title=title,
        abstract=abstract,
        authors=tuple(authors),
        categories=tuple(categories),
        sources=("arxiv", "daily-papers")[: 1 + len(title) % 2],
        announced_on=date(2025, 5, 1),
        first_seen_at=datetime(2025, 5, 1, tzinfo=UTC),
    )
    return PaperText.of(made)


BIBLIOGRAPHIES = (
    "Smith JA",
    "J. A. Smith",
    "van der Berg, Anna",
    "A.-M. Berg",
    "ATLAS Collaboration",
    "王伟",
    "Wei Li",
)


FORMULAS = ("CO2", "CO 2", "of CO2", "H alpha", "alpha", "hα and", "10 3", "103", "2 H", "alph*")


def abstracts() -> list[PaperText]:
    lines = map(json.loads, SAMPLE.read_text("utf-8").splitlines())
    authors, formulas = cycle(BIBLIOGRAPHIES), cycle(["", " of CO$_2$", " of H$\\alpha$ and $10^3$"])
    return [
        paper(
            line["title"] + next(formulas),
            line["summary"] + next(formulas),
            [*line["authors"], next(authors)],
            line["categories"],
        )
        for line in lines
    ]


ABSTRACTS = abstracts()
SAID = [field.tokens for text in ABSTRACTS for field in (text.title, text.abstract)]
SURFACES = sorted({token.surface for tokens in SAID for token in tokens})
AUTHORS = sorted({author for text in ABSTRACTS for author in text.authors})
CATEGORIES = sorted({category for text in ABSTRACTS for category in text.categories})


@st.composite
def word_lists(draw: st.DrawFn, least: int, most: int) -> list[str]:
    """Words that stand next to each other in some paper."""
    tokens = SAID[draw(st.integers(0, len(SAID) - 1))]
    start = draw(st.integers(0, len(tokens) - least))
    return [token.folded for token in tokens[start : start + draw(st.integers(least, most))]]


def begun(words: list[str]) -> str:
    return " ".join([*words[:-1], f"{words[-1][:4]}*" if len(words[-1]) > 3 else words[-1]])


def respelled(author: str, form: int) -> str:
    """The name as other bibliographies write it, or the name of somebody else."""
    *given, family = author.split()
    initials = [name[0] for name in given]
    return (
        f"{family}, {' '.join(given)}",
        f"{family} {''.join(initials)}",
        f"{' '.join(initials)} {family}",
        f"{'-'.join(given)} {family}",
        f"{family} {' '.join(given)}",
        f"{''.join(given)} van {family}",
        f"{' '.join(initials[:1])}. Q. {family}",
        family,
    )[form]  # fmt: skip


def near(words: list[str]) -> Query:
    return Near(" ".join(words), 5) if len({*words}) > 1 and len({*Phrase(" ".join(words)).words}) > 1 else Or(())


CLAUSES: st.SearchStrategy[Query] = st.one_of(
    st.sampled_from(["model", "language", "learning", "we", "dogs", "diffus*", "agent", *FORMULAS]).map(Phrase),
    st.sampled_from(["CO2", "CO₂", "co2", "Hα"]).map(Exact),
    word_lists(1, 3).map(lambda words: Phrase(" ".join(words))),
    word_lists(1, 3).map(begun).map(Phrase),
    word_lists(2, 3).map(lambda words: near(words[::-1])),
    st.integers(0, len(SURFACES) - 1).map(lambda number: Exact(SURFACES[number])),
    st.sampled_from(AUTHORS).map(Author)
    | st.builds(respelled, st.sampled_from(AUTHORS), st.integers(0, 7)).map(Author),
    st.sampled_from([*CATEGORIES, "cs", "cs.*", "stat*", "c*", "cs.LG.x"]).map(Category),
    st.sampled_from(["arxiv", "Daily Papers", "daily-papers", "rss"]).map(Source),
)


def above(inner: st.SearchStrategy[Query]) -> st.SearchStrategy[Query]:
    several = st.lists(inner, max_size=4).map(tuple)
    fields = st.sampled_from(["title", "abstract", "author", "cat"])
    return several.map(And) | several.map(Or) | inner.map(Not) | st.builds(Field, fields, inner)


QUERIES = st.recursive(CLAUSES, above, max_leaves=8)
IDS = st.integers(0, 12)
STEPS = st.lists(
    IDS | st.tuples(IDS, QUERIES) | st.dictionaries(IDS, QUERIES, max_size=6) | st.just("match"), max_size=12
)
Pairs = list[tuple[int, int]]


def found(percolator: Percolator, papers: Sequence[PaperText]) -> Pairs:
    rows, ids = percolator.match(papers)
    return sorted(zip(rows.tolist(), ids.tolist(), strict=True))


def plainly(held: Mapping[int, Query], papers: Sequence[PaperText]) -> Pairs:
    return [(row, id) for row, text in enumerate(papers) for id in sorted(held) if matches(held[id], text)]


def built(queries: Iterable[str | Query]) -> Percolator:
    percolator = Percolator()
    for id, query in enumerate(queries):
        percolator.put(id, parse(query) if isinstance(query, str) else query)
    return percolator


@settings(max_examples=70, deadline=None)
@given(STEPS)
def test_the_percolator_finds_what_plain_evaluation_finds(
    steps: list[int | tuple[int, Query] | dict[int, Query] | str],
) -> None:
    percolator, held = Percolator(), dict[int, Query]()
    for step in [*steps, "match"]:
        match step:
            case int(id):
                percolator.remove(id)
                held.pop(id, None)
            case (id, query):
                percolator.put(id, query)
                held[id] = query
            case dict():
                percolator.build(step.items())
                held |= step
            case _:
                assert found(percolator, ABSTRACTS) == plainly(held, ABSTRACTS)
        assert len(percolator) == len(held)
    for id in held:
        percolator.remove(id)
    assert found(percolator, ABSTRACTS) == []
    assert percolator.distinct == 0


@settings(max_examples=20, deadline=None)
@given(st.lists(QUERIES, min_size=1, max_size=20), st.permutations(range(20)))
def test_built_at_once_or_one_by_one_in_any_order_it_answers_the_same(queries: list[Query], order: list[int]) -> None:
    pairs = list(enumerate(queries))
    at_once, one_by_one = Percolator(), Percolator()
    at_once.build(pairs)
    for place in order:
        for id, query in pairs[place : place + 1]:
            one_by_one.put(id, query)
            one_by_one.match(ABSTRACTS[:3])
    assert found(at_once, ABSTRACTS) == found(one_by_one, ABSTRACTS)


@pytest.mark.parametrize("count", [0, 1, BATCH_SIZE - 1, BATCH_SIZE, BATCH_SIZE + 1, 3 * BATCH_SIZE])
def test_a_batch_may_be_of_any_length(count: int) -> None:
    queries = [parse(query) for query in ("model", "model -language", "-(-learning -robot*)")]
    queries.append(Not(Phrase("model")))
    papers = (ABSTRACTS * 5)[:count]
    assert found(built(queries), papers) == plainly(dict(enumerate(queries)), papers)


def test_answers_stay_the_same_while_frequencies_are_learned() -> None:
    queries = ["model language", "we model -language", '"language model" (we OR agent)', "title:model we", "we -dogs"]
    percolator = built(queries)
    expected = plainly({id: parse(query) for id, query in enumerate(queries)}, ABSTRACTS)
    assert expected
    for _ in range(12):
        assert found(percolator, ABSTRACTS) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('"language models"', '"Language  model"'),
        ("graph model", "model graph"),
        ("graph OR model OR cat:cs.LG", "cat:cs.LG OR model OR graph"),
        ("-(graph model) agent", "agent (-model OR -graph)"),
        ("title:(graph agent)", "title:graph title:agent"),
        ('"graph model"~4', '"model graph"~4'),
    ],
)
def test_what_asks_the_same_is_kept_once(one: str, other: str) -> None:
    assert built([one, other]).distinct == built([one]).distinct


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('"graph model"', '"model graph"'),
        ("graph", "graph*"),
        ("title:graph", "abstract:graph"),
        ("=graph", "=Graph"),
        ("=graph", "title:=graph"),
        ('"graph model"~4', '"graph model"~5'),
        ('"graph model"~4', 'title:"graph model"~4'),
        ("cat:arxiv", "source:arxiv"),
        ("cat:cs", "cat:cs*"),
        ("graph model", "graph OR model"),
        ("graph -model", "model -graph"),
        ('author:"Ada Lovelace"', 'author:"Lovelace A"'),
    ],
)
def test_what_asks_something_else_is_kept_apart(one: str, other: str) -> None:
    assert built([one, other]).distinct > max(built([one]).distinct, built([other]).distinct)


def test_parts_of_other_queries_are_kept_once() -> None:
    percolator = built(['"graph model"', "robot agent"])
    before = percolator.distinct
    percolator.put(2, parse('"graph model" robot'))
    assert percolator.distinct == before + 1
    percolator.put(3, parse('"graph model" OR (robot agent)'))
    assert percolator.distinct == before + 2


def test_a_replaced_query_no_longer_matches() -> None:
    percolator, papers = built(["graph", "graph"]), [paper("Graphs"), paper("Robots")]
    assert found(percolator, papers) == [(0, 0), (0, 1)]
    percolator.build([(1, parse("robot"))])
    assert found(percolator, papers) == [(0, 0), (1, 1)]
    percolator.put(0, parse("robot"))
    assert found(percolator, papers) == [(1, 0), (1, 1)]
    percolator.remove(0)
    percolator.remove(0)
    percolator.remove(7)
    assert found(percolator, papers) == [(1, 1)]


def test_what_takes_the_place_of_a_removed_query_is_found_where_it_holds_alone() -> None:
    texts = [
        "graph agent", "graph OR agent", '"graph agent"', "agent -robot", "cat:cs.LG", "gra*", '"agent graph"',
        '(graph agent) OR "robot arm"',
    ]  # fmt: skip
    queries = [parse(text) for text in texts]
    papers = [paper("Graph robots agent"), paper("Graph agents"), paper("Robot arm", categories=["cs.LG"]), paper("X")]
    for first, second, third in permutations(queries, 3):
        percolator = Percolator()
        percolator.build([(0, first), (1, second)])
        percolator.match(papers)
        percolator.remove(0)
        percolator.put(2, third)
        assert found(percolator, papers) == plainly({1: second, 2: third}, papers)
        percolator.put(1, first)
        assert found(percolator, papers) == plainly({1: first, 2: third}, papers)


@pytest.mark.parametrize("category", ["cs", "CS.*", "c*", "cs.lg", "cs.L*", "cs.LG.x", "cs_LG", "sub*", "sub area"])
def test_categories_are_found_as_plain_evaluation_finds_them(category: str) -> None:
    papers = [paper(categories=[one]) for one in ("cs.LG", "cs", "css.LG", "Sub_Area", "sub area.x", "cs*", "")]
    assert found(built([Category(category)]), papers) == plainly({0: Category(category)}, papers)


def test_a_phrase_does_not_go_from_the_title_to_the_abstract_or_the_next_paper() -> None:
    percolator = built(['"graph agent"', '"agent graph"', "title:agent", '"graph age*"', 'abstract:"graph agent"'])
    assert found(percolator, [paper("Graph", "Agent"), paper("Graph agents", "")]) == [(1, 0), (1, 2), (1, 3)]


def test_a_symbol_of_several_words_and_a_long_phrase_are_found() -> None:
    text = paper("℀ in " + "very " * 60 + "deep learning")
    queries = ['"a c in very"', f'"{"very " * 40}deep learn*"', f'"{"very " * 61}"']
    held = {id: parse(query) for id, query in enumerate(queries)}
    assert found(built(queries), [text]) == plainly(held, [text])
    assert plainly(held, [text])[-1] == (0, 1)


def test_a_subscription_takes_no_more_than_600_bytes() -> None:
    """Of each kind the benchmark has, where few share anything; at a million far more do."""
    words = sorted({token.folded for tokens in SAID for token in tokens if token.folded.isalpha()})[:1500]
    pairs = [Phrase(f"{one} {other}") for one, other in zip(words, words[7:], strict=False)]
    singles = [Phrase(word) for word in words]

    def query(id: int) -> Query:
        one, word = pairs[id * 7 % len(pairs)], singles[id * 11 % len(singles)]
        forms: list[Query] = [
            one,
            one,
            And((one, word)),
            Or((one, pairs[id % 97], pairs[id % 31])),
            And((one, Not(word))),
        ]
        return forms[id % len(forms)]

    percolator, count = Percolator(), 10_000
    tracemalloc.start()
    try:
        percolator.build((id, query(id)) for id in range(count))
        percolator.match(ABSTRACTS[:2])
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken / count < 600
