import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.query.ast import conjunction, disjunction, in_field, is_bounded, negation
from services.domain.query.parser import (
    MAX_QUERY_CHARACTERS,
    MAX_TERMS,
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
    Word,
    parse,
)
from services.errors import QueryError
from tests.support.cpu_time import cpu_seconds

WORDS = [
    "agent",
    "model*",
    "Schrödinger",
    "text-to-image",
    "C++",
    "AND",
    "NOT",
    "or",
    "-x",
    "=RAG",
    "a:b",
    "β",
    "深度",
    "x~2",
]


def leaves() -> st.SearchStrategy[Query]:
    phrases = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
    near = st.builds(Near, st.sampled_from(["graph network", "large language model*", "a b"]), st.integers(2, 100))
    return phrases.map(Phrase) | near | st.sampled_from(["RAG", "C++", "A*", ".NET", "GPT-4", "α–β"]).map(Exact)


def metadata() -> st.SearchStrategy[Query]:
    names = ["LeCun", "Yann LeCun", "LeCun, Y.", "LeCun,Y", "J.-P. Serre", "Serre JP", "van-der-Berg", "王伟"]
    authors = st.sampled_from(names).map(Author)
    categories = st.sampled_from(["cs.LG", "cs.*", "cancer biology"]).map(Category)
    sources = st.sampled_from(["arxiv", "daily-papers"]).map(Source)
    return st.one_of(
        combined(authors, 3).map(lambda query: in_field("author", query)),
        combined(categories, 3).map(lambda query: in_field("cat", query)),
        sources.map(lambda query: in_field("source", query)),
    )


def combined(leaf: st.SearchStrategy[Query], most: int) -> st.SearchStrategy[Query]:
    def extend(inner: st.SearchStrategy[Query]) -> st.SearchStrategy[Query]:
        several = st.lists(inner, min_size=2, max_size=3)
        return several.map(conjunction) | several.map(disjunction) | inner.map(negation)

    return st.recursive(leaf, extend, max_leaves=most)


def queries() -> st.SearchStrategy[Query]:
    scoped = st.builds(in_field, st.sampled_from(["title", "abstract"]), combined(leaves(), 4))
    return combined(leaves() | scoped | metadata(), 8).filter(
        lambda q: is_bounded(q) and len(str(q)) <= MAX_QUERY_CHARACTERS
    )


def refusal(text: str) -> QueryError:
    with pytest.raises(QueryError) as caught:
        parse(text)
    return caught.value


def parsed(text: str) -> tuple[Query | None, int]:
    """The query, or where it went wrong."""
    try:
        return parse(text), 0
    except QueryError as error:
        return None, error.position


@settings(max_examples=80, deadline=None)
@given(queries())
def test_the_canonical_text_parses_to_the_same_tree(query: Query) -> None:
    assert parse(str(query)) == query


SYNTAX = st.text(st.sampled_from('ab*"~3=-:() \n.é½\x00“'), max_size=40)
PIECES = st.lists(
    st.sampled_from(
        [
            "AND",
            "OR",
            "NOT",
            "-",
            "(",
            ")",
            '"',
            "title:",
            "author:",
            "cat:",
            "cs.*",
            "=A",
            "foo",
            "bar*",
            '"a b"~2',
            " ",
        ]
    )
).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(SYNTAX | PIECES | st.text(max_size=60))
def test_any_text_is_a_query_or_a_query_error_at_a_place(text: str) -> None:
    query, position = parsed(text)
    if query is None:
        assert 0 <= position <= len(text)
    else:
        canonical = str(query)
        assert len(canonical) <= len(text)
        assert parse(canonical) == query
        assert str(parse(canonical)) == canonical


def test_the_whole_language_at_once() -> None:
    text = '"large language model*" AND (agent OR title:planning) -survey author:"Yann LeCun" cat:cs.LG'
    assert parse(text + ' "graph network"~3 =RAG') == And(
        (
            Phrase("large language model*"),
            Or((Phrase("agent"), Field("title", Phrase("planning")))),
            Not(Phrase("survey")),
            Field("author", Author("Yann LeCun")),
            Field("cat", Category("cs.LG")),
            Near("graph network", 3),
            Exact("RAG"),
        )
    )


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("a AND b", "a b"),
        ("a b OR c NOT d", "a b OR c -d"),
        ("(a OR b) AND c", "(a OR b) c"),
        ("a OR (b AND c)", "a OR b c"),
        ("((a)) ((b c))", "a b c"),
        ("NOT NOT a", "a"),
        ("a NOT (b OR c)", "a -(b OR c)"),
        ('"agent"', "agent"),
        ('"large   language\nmodel*"', '"large language model*"'),
        ('"AND" or', '"AND" or'),
        ("text-to-image", "text-to-image"),
        ("Title:( a )", "title:a"),
        ("author: LeCun", "author:LeCun"),
        ("title:(a -b OR c)", "title:(a -b OR c)"),
        ("a title:(-b)", "a -title:b"),
        ('author:(lecun OR "G. Hinton")', 'author:(lecun OR "G. Hinton")'),
        ('cat:"cancer biology" source:daily-papers', 'cat:"cancer biology" source:daily-papers'),
        ('"a b"~03', '"a b"~3'),
        ("“diffusion models” –survey", '"diffusion models" -survey'),
        ("=Kullback–Leibler", "=Kullback–Leibler"),
        ("-(-a OR -b)", "-(-a OR -b)"),
        ("-(-a OR b)", "-(-a OR b)"),
        ("author:((li OR ng) wu)", "author:((li OR ng) wu)"),
    ],
)
def test_queries_have_one_canonical_text(text: str, canonical: str) -> None:
    assert str(parse(text)) == canonical


def test_lower_case_and_or_not_are_words() -> None:
    assert parse("a and b") == And((Phrase("a"), Phrase("and"), Phrase("b")))


def test_the_words_of_a_phrase_are_stems_and_prefixes() -> None:
    assert Phrase("Text-to-Images model* C++").words == (
        Word("text"),
        Word("to"),
        Word("imag"),
        Word("model", prefix=True),
        Word("c++"),
    )


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("", 0, "empty"),
        ("   ", 0, "empty"),
        ("titel:x", 0, "unknown field 'titel'; did you mean 'title'?"),
        ("a auther:x", 2, "did you mean 'author'?"),
        ("abs:x", 0, "did you mean 'abstract'?"),
        ("https://arxiv.org", 0, "fields are title, abstract, author, cat, source"),
        ("a (b OR c", 2, "never closed"),
        ("a) b", 1, "never opened"),
        ("a ()", 2, "nothing between"),
        ('a "b c', 2, "quote is never closed"),
        ('a ""', 3, "phrase is empty"),
        ("a OR", 2, "'OR' has nothing after it"),
        ("OR a", 0, "'OR' has nothing before it"),
        ("a AND OR b", 6, 'write "OR"'),
        ("(a AND)", 3, "'AND' has nothing after it"),
        ("a NOT", 2, "'NOT' has nothing after it"),
        ("title:", 0, "'title:' has nothing after it"),
        ("a - b", 2, "must touch"),
        ("title:-a", 6, "before the field"),
        ("title:(author:x)", 7, "cannot be inside 'title:'"),
        ("ab*", 2, "3 letters or more"),
        ("A* x", 1, "write =A*"),
        ('x "large la*"', 11, "3 letters or more"),
        ("mod*el", 3, "can only end a word"),
        ("*", 0, "3 letters"),
        ("=", 0, "=RAG"),
        ('="a b"', 0, "=RAG"),
        ("++", 0, "no letters or digits"),
        ("a b \\", 4, "nothing to search for"),
        ('"a b"~', 5, "number"),
        ('"a b"~x', 5, "number"),
        ('"a b"~0', 1, "from 1 to 100"),
        ('"a b c"~1', 1, "from 2 to 100"),
        ('"a b"~999', 1, "from 1 to 100"),
        ('"a a"~3', 1, "two different words"),
        ("a~3", 1, "after a phrase"),
        ('a"b"', 1, "leave a space"),
        ("author:J.", 7, "whole name"),
        ("author:LeC*", 10, "no '*'"),
        ("author:=LeCun", 7, "a word or a phrase"),
        ("author:++", 7, "needs a name"),
        ("cat:c*s", 5, "only at the end"),
        ("cat:*", 4, "cs.*"),
        ("source:++", 7, "source:arxiv"),
        ("model.*", 6, "letters or more before it"),
        ("title:(a (author:x))", 10, "cannot be inside 'title:'"),
        ("-(-a b)", 0, "only excludes"),
        ("-a", 0, "only excludes"),
        ("-a -b", 0, "only excludes"),
        ("a OR -b", 5, "this alternative only excludes"),
        ("a OR (b OR -c)", 5, "only excludes"),
        ("-(a b) OR -title:c", 0, "only excludes"),
        ("a\x00b", 1, "U+0000"),
        ("a \ud800", 2, "U+D800"),
        ("(a+)+$", 4, "leave a space"),
    ],
)
def test_errors_name_the_place_and_what_to_do(text: str, position: int, says: str) -> None:
    error = refusal(text)
    assert (error.position, error.query) == (position, text)
    assert says in error.message


def test_a_query_may_be_as_long_wide_and_deep_as_promised() -> None:
    assert parse("w" * MAX_QUERY_CHARACTERS) == Phrase("w" * MAX_QUERY_CHARACTERS)
    assert parse(" ".join(f"w{n}" for n in range(MAX_TERMS)))
    assert parse("(" * 10 + "a" + ")" * 10) == Phrase("a")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("w" * (MAX_QUERY_CHARACTERS + 1), "501 characters"),
        (" OR ".join(["a"] * 10_000), "500 are allowed"),
        ("(" * 100_000, "500 are allowed"),
        (" ".join(["a"] * (MAX_TERMS + 1)), "more than 64 terms"),
        ("(" * 11 + "a" + ")" * 11, "more than 10 deep"),
        ("(" * MAX_QUERY_CHARACTERS, "more than 10 deep"),
        ("title:(" * 20, "cannot be inside"),
        ("NOT " * 124 + "a -", "must touch"),
        ("-" * 499 + "a", "only excludes"),
        ('"' * 499, "phrase is empty"),
        ("a*" * 250, "can only end a word"),
        ("=" * 500, "=RAG"),
    ],
)
def test_limits_are_answered_in_time(text: str, says: str) -> None:
    assert cpu_seconds(lambda: refusal(text)) < 0.05
    assert says in refusal(text).message


def test_no_query_needs_a_deep_stack() -> None:
    limit = sys.getrecursionlimit()
    text = "(a -" * 9 + "(" + "NOT " * 99 + "b" + ")" * 10
    sys.setrecursionlimit(200)
    try:
        query = parse(text)
        assert parse(str(query)) == query
    finally:
        sys.setrecursionlimit(limit)
