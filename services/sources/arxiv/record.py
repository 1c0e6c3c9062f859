"""What all formats of arXiv share: the id, the people, the DOI, and whether a paper was withdrawn."""

import re
from collections.abc import Iterable, Iterator
from datetime import date
from xml.etree.ElementTree import Element

from services.domain.papers import identifiers
from services.domain.papers.entries import Unreadable
from services.domain.papers.identifiers import RecognisedIdentifier
from services.domain.papers.paper import Entry
from services.sources.arxiv.location import is_category

NAMESPACES = {
    "atom": "http://www.w3.org/2005/Atom",
    "arxiv": "http://arxiv.org/schemas/atom",
    "dc": "http://purl.org/dc/elements/1.1/",
    "opensearch": "http://a9.com/-/spec/opensearch/1.1/",
    "rss1": "http://purl.org/rss/1.0/",
}
_WITHDRAWN = re.compile(
    r"\s*(?:this|the) (?:paper|article|submission|manuscript|work|preprint)\s+(?:has been|is|was)"
    r"\s+(?:\w+\s+)?withdrawn|\s*(?:paper )?withdrawn\b",
    re.IGNORECASE,
)
_DOI = re.compile(r"10\.\d{4,9}/[^\s,;]+")


def entry(
    recognised: RecognisedIdentifier | None,
    *,
    title: str,
    abstract: str,
    authors: Iterable[str],
    categories: Iterable[str],
    doi: str = "",
    journal: str = "",
    comment: str = "",
    announced_on: date | None = None,
    published_on: date | None = None,
    version: int | None = None,
    replacement: bool = False,
    withdrawn: bool = False,
) -> Entry:
    """Raises Unreadable without an id. Of several DOIs the first is the paper's, the others belong to its errata."""
    if not recognised or recognised.identifier.scheme != "arxiv":
        raise Unreadable("it has no arXiv id")
    first_doi = _DOI.search(doi) or _DOI.search(journal)
    published = identifiers.doi(first_doi[0]) if first_doi else None
    return Entry(
        title=title,
        abstract=abstract,
        authors=tuple(authors),
        # arXiv lists codes of the ACM and the AMS among its own categories.
        categories=tuple(category for category in categories if is_category(category)),
        identifiers=(recognised.identifier, *([published.identifier] if published else [])),
        announced_on=announced_on,
        published_on=published_on,
        version=version or recognised.version,
        replacement=replacement,
        withdrawn=withdrawn or bool(_WITHDRAWN.match(abstract) or _WITHDRAWN.match(comment)),
        links=identifiers.links(recognised.identifier),
    )


def people(creators: str) -> Iterator[str]:
    """The names in `A B, C D (Affil, Affil)`, split at commas outside parentheses, without affiliations."""
    name, depth = "", 0
    for character in creators:
        if character == "," and not depth:
            yield name
            name = ""
        elif character == "(":
            depth += 1
        elif character == ")":
            depth = max(0, depth - 1)
        elif not depth:
            name += character
    yield name


def text(node: Element, *paths: str) -> str:
    """The text of the first of `paths` that has any; empty when none has."""
    for path in paths:
        element = node.find(path, NAMESPACES)
        if element is not None and (content := "".join(element.itertext()).strip()):
            return content
    return ""
