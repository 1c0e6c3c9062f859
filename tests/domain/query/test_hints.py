"""Queries in the language of other search engines get a hint with the likely meaning."""

import pytest

from services.domain.query.hints import hints
from services.domain.query.parser import parse
from services.errors import QueryError


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("author:Wei Li", 'author:"Wei Li"'),
        ("author:Wei Li transformers", 'author:"Wei Li"'),
        ("graphs author:Smith JA", 'author:"Smith JA"'),
        ("author:van der Berg", 'author:"van der Berg"'),
        ("author:Ludwig van Beethoven", 'author:"Ludwig van Beethoven"'),
        ("cats or dogs", "write OR"),
        ('"big cats" Or dogs', "write OR"),
        ("cats and dogs", "write AND"),
        ("cats not dogs", "write NOT"),
        ("CRISPR[tiab]", "write CRISPR"),
        ("CRISPR [Title]", "write title:CRISPR"),
        ("smith[au]", "write author:smith"),
        ("Nature[journal]", "leave it out: Nature"),
    ],
)
def test_a_query_of_another_search_engine_gets_its_likely_meaning(query: str, meant: str) -> None:
    parse(query)
    (hint,) = hints(query)
    assert meant in hint


@pytest.mark.parametrize(
    "query",
    [
        "",
        "cats OR dogs",
        '"cats or dogs"',
        'author:"Wei Li"',
        "author:Hinton diffusion",
        "author:Hinton OR author:Bengio",
        "author:Li =RAG",
        "author:Li (Wei)",
        "a[i] b",
        "state-of-the-art",
        'title:"x[tiab]"',
    ],
)
def test_a_usual_query_gets_no_hint(query: str) -> None:
    assert hints(query) == []


def test_a_tag_behind_a_phrase_is_an_error_with_the_likely_meaning() -> None:
    with pytest.raises(QueryError, match="search tag of PubMed"):
        parse('"gene editing"[tiab]')
