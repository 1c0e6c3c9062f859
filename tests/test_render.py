from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from services import render
from services.domain.papers.paper import Identifier
from tests.support.digests import papers

PAPER = papers()[0]


def test_templates_are_found_from_any_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "templates" / "email").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert render.templates().is_absolute()
    assert tmp_path not in render.templates().parents
    assert (render.templates() / "email" / "digest.html").is_file()


def test_html_is_escaped_and_plain_text_is_not() -> None:
    html = render.environment().overlay()
    assert html.autoescape("email/x.html")  # type: ignore[operator]
    assert not html.autoescape("email/x.txt")  # type: ignore[operator]


def test_a_name_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render.render("email/digest.txt", subject="x")


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://arxiv.org/abs/2505.1", "https://arxiv.org/abs/2505.1"),
        (" http://x.org/a b ", "http://x.org/a%20b"),
        ('https://x.org/"><script>', "https://x.org/%22%3E%3Cscript%3E"),
        ("https://x.org/a%20b?q=1&r=ü#f", "https://x.org/a%20b?q=1&r=%C3%BC#f"),
        ("javascript:alert(1)", ""),
        ("JaVaScRiPt:alert(1)", ""),
        ("data:text/html,x", ""),
        ("//x.org/a", ""),
        ("/abs/1", ""),
        ("https://", ""),
        ("https://user:pass@x.org/", ""),
        ("http://[::1", ""),
        ("https://x.org/" + "a" * 3000, ""),
        ("", ""),
    ],
)
def test_only_web_links_are_followed(url: str, safe: str) -> None:
    assert render.link(url) == safe


@given(st.text(max_size=300), st.integers(1, 250))
def test_a_line_is_one_short_line_without_control_characters(text: str, limit: int) -> None:
    line = render.line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
    assert not set(line) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\x00\x7f\x9f")


def test_joiners_that_shape_words_stay() -> None:
    assert render.line("می‌خواهم") == "می‌خواهم"


@pytest.mark.parametrize(
    ("names", "count", "line"),
    [
        (("A",), None, "A"),
        (("A", "B", "C"), None, "A, B, C"),
        (("A", "B", "C", "D"), None, "A, B, C, D"),
        (("A", "B", "C", "D", "E", "F", "G", "H"), None, "A, B, C and 5 more"),
        (("A", "B", "C"), 8, "A, B, C and 5 more"),
        (("A", "B", "C"), 4, "A, B, C and 1 more"),
        ((), 5, "5 authors"),
        ((), 1, "1 author"),
        ((), None, ""),
    ],
)
def test_the_authors_line_says_how_many_there_are(names: tuple[str, ...], count: int | None, line: str) -> None:
    assert render.authors(replace(PAPER, authors=names, author_count=count)) == line


def test_a_day_reads_the_same_in_every_locale() -> None:
    assert render.day(date(2025, 11, 6)) == "6 Nov 2025"


def test_an_abstract_is_cut_at_a_word() -> None:
    cut = render.abstract(PAPER, 100)
    assert len(cut) <= 100
    assert cut.endswith("…")
    assert PAPER.abstract.replace("\n", " ").startswith(cut.removesuffix("…"))


def test_a_paper_that_came_without_links_leads_to_a_search_for_its_title() -> None:
    bare = replace(PAPER, title='A "quoted" & odd title', links={}, identifiers=())
    expected = "https://arxiv.org/search/?query=A+%22quoted%22+%26+odd+title&searchtype=title"
    assert render.home(bare) == expected
    assert render.links(bare) == [("Find on arXiv", expected)]
    assert (
        render.home(replace(PAPER, links={"abstract": "javascript:x", "pdf": "https://x.org/p"})) == "https://x.org/p"
    )
    assert render.title(replace(PAPER, title="\u202e")) == "(untitled)"


@pytest.mark.parametrize(
    ("identifiers", "url"),
    [
        ((("arxiv", "2505.15270"), ("doi", "10.1/x")), "https://arxiv.org/bibtex/2505.15270"),
        ((("arxiv", "hep-th/9901001"),), "https://arxiv.org/bibtex/hep-th/9901001"),
        (
            (("doi", "10.1101/2025.05.01<x>"),),
            "https://api.crossref.org/works/10.1101%2F2025.05.01%3Cx%3E/transform/application/x-bibtex",
        ),
        ((("openreview", "abc"),), ""),
        ((), ""),
    ],
)
def test_an_entry_for_a_bibliography_comes_from_who_knows_the_paper(
    identifiers: tuple[tuple[str, str], ...], url: str
) -> None:
    one = replace(PAPER, identifiers=tuple(Identifier(*each) for each in identifiers))
    assert [link for label, link in render.links(one) if label == "BibTeX"] == ([url] if url else [])


@given(st.text(alphabet="ab \n", max_size=200), st.integers(6, 30))
def test_wrapping_keeps_words_whole_and_lines_short(text: str, width: int) -> None:
    lines = render.wrapped(text, width, "  ").split("\n")
    assert " ".join(lines).split() == text.split()
    assert all(line.startswith("  ") and (len(line) <= width or len(line.split()) == 1) for line in lines)
