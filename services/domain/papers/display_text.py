"""The title and abstract of a paper as people read them: LaTeX as text, on one line, without invisible characters."""

import unicodedata
from dataclasses import replace
from functools import lru_cache

from services.domain.papers.paper import Paper
from services.domain.text.latex import readable

MAX_TITLE = 2_000
MAX_ABSTRACT = 10_000
"""Characters of the stored text; the rest is cut off before LaTeX is converted."""
# Format characters can reorder or hide text (bidi, zero width). Joiners are kept: they shape Persian words and emoji.
_JOINERS = "\u200c\u200d"


def display_paper(paper: Paper) -> Paper:
    """The paper with its title and abstract as people read them."""
    return replace(paper, title=title(paper), abstract=abstract(paper))


def title(paper: Paper) -> str:
    return title_text(paper.title)


def title_text(stated: str) -> str:
    """A paper's title as people read it, from the title as its source states it."""
    return _words(stated[:MAX_TITLE])


def authors(paper: Paper) -> list[str]:
    return [printable(readable(author)) for author in paper.authors]


def abstract(paper: Paper) -> str:
    return _words(paper.abstract[:MAX_ABSTRACT])


def printable(text: str) -> str:
    """One line without control, bidi and other invisible characters, spaces collapsed."""
    text = " ".join(text.split())
    return text if text.isprintable() else " ".join("".join(filter(_is_printable, text)).split())


# Many people get the same papers, and each mail has an HTML and a text part.
@lru_cache(4096)
def _words(latex: str) -> str:
    return printable(readable(latex))


def _is_printable(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co")
