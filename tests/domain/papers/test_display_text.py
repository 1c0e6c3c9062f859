"""What people read of a paper: no LaTeX, nothing invisible, one line."""

from datetime import UTC, date, datetime

from services.domain.papers import display_text
from services.domain.papers.paper import Paper


def paper(title: str, abstract: str = "") -> Paper:
    seen = datetime(2026, 5, 4, tzinfo=UTC)
    return Paper(id=1, title=title, abstract=abstract, announced_on=date(2026, 5, 4), first_seen_at=seen)


def test_formulas_are_text_and_lines_are_one() -> None:
    read = display_text.display_paper(
        paper("$\\alpha$-stable\n  \\emph{L\\'evy} noise", "One\u202e two\x00.\n\nThree.")
    )
    assert (read.title, read.abstract) == ("α-stable Lévy noise", "One two. Three.")


def test_no_more_is_read_than_an_abstract_can_have() -> None:
    assert len(display_text.abstract(paper("x", "word " * 10_000))) <= display_text.MAX_ABSTRACT
