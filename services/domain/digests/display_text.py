"""A paper's words as people are shown them: LaTeX as text, on one line, nothing invisible."""

import unicodedata
from dataclasses import replace
from functools import lru_cache

from services.domain.papers.paper import Paper
from services.domain.text.latex import readable

MAX_TITLE = 2_000
MAX_ABSTRACT = 10_000
"""Characters of the source that are looked at: more is no abstract."""
# A format character may reorder or hide text (bidi, zero width); only joiners shape words, in Persian or in emoji.
_JOINERS = "\u200c\u200d"


def shown(paper: Paper) -> Paper:
    """The paper with the title and the abstract that people read."""
    return replace(paper, title=title(paper), abstract=abstract(paper))


def title(paper: Paper) -> str:
    return _words(paper.title[:MAX_TITLE])


def abstract(paper: Paper) -> str:
    return _words(paper.abstract[:MAX_ABSTRACT])


def harmless(text: str) -> str:
    """One line without control, bidi and other invisible characters, spaces collapsed."""
    text = " ".join(text.split())
    return text if text.isprintable() else " ".join("".join(filter(_is_harmless, text)).split())


# Many people get the same papers, and each mail says everything twice.
@lru_cache(4096)
def _words(latex: str) -> str:
    return harmless(readable(latex))


def _is_harmless(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co")
