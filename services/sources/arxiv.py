"""arXiv: today's announcement by RSS, and saved answers of its feeds and its API."""

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from email.utils import parsedate_to_datetime
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from zoneinfo import ZoneInfo

from services.domain import identifiers, politeness
from services.domain.cadence import Timetable
from services.domain.entries import Unreadable, collect
from services.domain.identifiers import Found
from services.domain.markup import HEAD, decode, describe, plain, root, strip_html, xml
from services.domain.paper import Entry, Listing
from services.errors import SourceError
from services.ports import Request

ARXIV_CLOCK = ZoneInfo("America/New_York")

_NAMESPACES = {
    "atom": "http://www.w3.org/2005/Atom",
    "arxiv": "http://arxiv.org/schemas/atom",
    "dc": "http://purl.org/dc/elements/1.1/",
    "rss1": "http://purl.org/rss/1.0/",
}
_ARCHIVES = (
    r"astro-ph|cond-mat|cs|econ|eess|gr-qc|hep-(?:ex|lat|ph|th)|math-ph|math|nlin|nucl-(?:ex|th)|physics|q-bio|q-fin"
    r"|quant-ph|stat"
)
_CATEGORY = re.compile(rf"({_ARCHIVES})(?:\.([a-z]{{2}}|[a-z]+-[a-z]+|optics|other|soft))?", re.IGNORECASE)
_API = re.compile(r"<title[^>]*>\s*arxiv (?:query:|search results)", re.IGNORECASE)
_RSS = re.compile(
    r"<title[^>]*>\s*(?:[^<]* updates on arXiv\.org|Feed error for query)|<(?:id|link)>\s*https?://rss\.arxiv\.org/",
    re.IGNORECASE,
)
_PREFIX = re.compile(r"^\s*arXiv:(\S+)\s+Announce Type:\s*(\S+)\s*Abstract:\s*")
# `Title. (arXiv:1805.06430v2 [nucl-th] UPDATED)`, until 2024
_OLD_TITLE = re.compile(r"\s*\(arXiv:(?P<id>\S+)\s+\[(?P<category>[\w.-]+)\][^()]*\)\s*$")
_WITHDRAWN = re.compile(
    r"\s*(?:this|the) (?:paper|article|submission|manuscript|work|preprint)\s+(?:has been|is|was)"
    r"\s+(?:\w+\s+)?withdrawn|\s*(?:paper )?withdrawn\b",
    re.IGNORECASE,
)


class Arxiv:
    kind = "arxiv"
    summary = "arXiv's daily announcement of one category or several"
    example = "cs.LG+stat.ML"
    formats: tuple[str, ...] = ("arxiv-api", "arxiv-rss")
    rank = 10
    every: timedelta | None = timedelta(minutes=30)
    timetable = Timetable(timezone="America/New_York", weekdays=frozenset(range(5)), states_days=True)

    def location(self, text: str) -> str:
        names = [name for name in re.split(r"[+,\s]+", text) if name]
        if not names:
            raise SourceError("which arXiv category? Name one such as cs.LG, or several as in cs.LG+stat.ML")
        return "+".join(sorted({_category(name) for name in names}))

    def gate(self, location: str) -> tuple[str, timedelta]:
        return politeness.gate(self._url(location))

    def request(self, location: str, now: datetime) -> Request:
        return Request(url=self._url(location))

    def request_day(self, location: str, day: date) -> Request | None:
        return None

    def recognise(self, body: bytes) -> str | None:
        if root(body) not in ("feed", "rss", "rdf"):
            return None
        head = re.split(r"<(?:entry|item)\b", decode(body[:HEAD]), maxsplit=1)[0]
        if _API.search(head):
            return "arxiv-api"
        return "arxiv-rss" if _RSS.search(head) else None

    def parse(self, body: bytes, *, day: date) -> Listing:
        form = self.recognise(body)
        if not form:
            raise SourceError(f"this is no feed of arXiv: {describe(body)}")
        try:
            document = ElementTree.fromstring(xml(body))
        except ElementTree.ParseError as error:
            raise SourceError(f"arXiv's feed is damaged or incomplete: {error}") from None
        return _api(document) if form == "arxiv-api" else _rss(document)

    def _url(self, location: str) -> str:
        return f"https://rss.arxiv.org/rss/{location}"


plugin = Arxiv()


def _category(name: str) -> str:
    found = _CATEGORY.fullmatch(name)
    if not found:
        raise SourceError(f"arXiv has no category {plain(name, 40)!r}: use one such as cs.LG, hep-th or physics.optics")
    archive, subject = found[1].lower(), found[2]
    if not subject:
        return archive
    return f"{archive}.{subject.lower() if archive in ('cond-mat', 'physics') else subject.upper()}"


# ── the API ───────────────────────────────────────────────────────────────────────────────────────────────────


def _api(feed: Element) -> Listing:
    nodes = feed.findall("atom:entry", _NAMESPACES)
    for node in nodes:
        if "arxiv.org/api/errors" in _text(node, "atom:id"):
            raise SourceError(f"arXiv answers: {plain(_text(node, 'atom:summary'), 200) or 'an error without a text'}")
    entries, skipped = collect(nodes, _api_entry, lambda number, node: _text(node, "atom:id") or f"entry {number}")
    return Listing(format="arxiv-api", entries=entries, skipped=skipped, title=plain(_text(feed, "atom:title"), 200))


def _api_entry(node: Element) -> Entry:
    found = identifiers.recognise(_text(node, "atom:id"))
    primary = node.find("arxiv:primary_category", _NAMESPACES)
    terms = [category.get("term", "") for category in node.findall("atom:category", _NAMESPACES)]
    return _entry(
        node,
        found,
        title=_text(node, "atom:title"),
        abstract=_text(node, "atom:summary"),
        authors=[_text(author, "atom:name") for author in node.findall("atom:author", _NAMESPACES)],
        categories=([primary.get("term", "")] if primary is not None else []) + terms,
        # The API knows when a paper was submitted, not when it was announced.
        published_on=_day(_text(node, "atom:published")),
    )


# ── the feeds ─────────────────────────────────────────────────────────────────────────────────────────────────


def _rss(document: Element) -> Listing:
    """RSS 2.0, Atom of the same content, and the RDF that arXiv served until 2024."""
    channel = next(
        (node for tag in ("channel", "rss1:channel") for node in document.findall(tag, _NAMESPACES)), document
    )
    title = _text(channel, "title", "atom:title", "rss1:title")
    if title.lower().startswith("feed error for query"):
        told = _text(channel, "description", "atom:subtitle")
        raise SourceError(f"arXiv answers: {plain(f'{title}. {told}' if told else title, 300)}")
    announced = _day(_text(channel, "pubDate", "dc:date"))
    nodes = [node for tag in ("item", "atom:entry", "rss1:item") for node in _all(document, channel, tag)]
    entries, skipped = collect(nodes, lambda node: _item(node, announced), _name)
    days = [entry.announced_on for entry in entries if entry.announced_on]
    return Listing(
        format="arxiv-rss",
        entries=entries,
        skipped=skipped,
        announced_on=max(days, default=announced),
        title=plain(title, 200),
    )


def _all(document: Element, channel: Element, tag: str) -> list[Element]:
    return channel.findall(tag, _NAMESPACES) if tag == "item" else document.findall(tag, _NAMESPACES)


def _name(number: int, node: Element) -> str:
    return _text(node, "guid", "atom:id", "title", "rss1:title") or f"entry {number}"


def _item(node: Element, announced: date | None) -> Entry:
    """An item of RSS, or an entry of the Atom feed. A replacement is known by its version."""
    if node.tag == f"{{{_NAMESPACES['rss1']}}}item":
        return _old_item(node, announced)
    description = _text(node, "description", "atom:summary")
    prefix = _PREFIX.match(description)
    return _entry(
        node,
        identifiers.arxiv(_text(node, "guid", "atom:id")) or (identifiers.arxiv(prefix[1]) if prefix else None),
        title=_text(node, "title", "atom:title"),
        abstract=description[prefix.end() :] if prefix else description,
        authors=list(_people(_text(node, "dc:creator"))),
        categories=[
            c.get("term") or c.text or "" for t in ("category", "atom:category") for c in node.findall(t, _NAMESPACES)
        ],
        announced_on=_day(_text(node, "pubDate", "atom:published")) or announced,
    )


def _old_item(node: Element, announced: date | None) -> Entry:
    title = strip_html(_text(node, "rss1:title"))
    told = _OLD_TITLE.search(title)
    return _entry(
        node,
        identifiers.arxiv(told["id"]) if told else identifiers.recognise(_text(node, "rss1:link")),
        title=title[: told.start()].removesuffix(".") if told else title,
        abstract=strip_html(_text(node, "rss1:description")),
        authors=list(_people(strip_html(_text(node, "dc:creator")))),
        categories=[told["category"]] if told else [],
        announced_on=announced,
    )


def _entry(
    node: Element,
    found: Found | None,
    *,
    title: str,
    abstract: str,
    authors: list[str],
    categories: list[str],
    announced_on: date | None = None,
    published_on: date | None = None,
) -> Entry:
    """What all forms share: the id with its version, the DOI, the links, and whether it was withdrawn."""
    if not found or found.identifier.scheme != "arxiv":
        raise Unreadable("it has no arXiv id")
    doi = identifiers.doi(_text(node, "arxiv:doi", "arxiv:DOI"))
    return Entry(
        title=title,
        abstract=abstract,
        authors=tuple(authors),
        # Codes of the ACM and the AMS stand among arXiv's own categories.
        categories=tuple(category for category in categories if _CATEGORY.fullmatch(category)),
        identifiers=(found.identifier, *([doi.identifier] if doi else [])),
        announced_on=announced_on,
        published_on=published_on,
        version=found.version,
        withdrawn=bool(_WITHDRAWN.match(abstract) or _WITHDRAWN.match(_text(node, "arxiv:comment"))),
        links=identifiers.links(found.identifier),
    )


def _people(creators: str) -> Iterator[str]:
    """The names in `A B, C D (Affil, Affil)`: split at commas outside parentheses, affiliations left out."""
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


def _text(node: Element, *paths: str) -> str:
    """The text of the first of `paths` that has any."""
    for path in paths:
        found = node.find(path, _NAMESPACES)
        if found is not None and (text := "".join(found.itertext()).strip()):
            return text
    return ""


def _day(stamp: str) -> date | None:
    """The day on arXiv's clock of an RFC 822 or ISO 8601 time."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return read(stamp).astimezone(ARXIV_CLOCK).date()
        except (ValueError, TypeError, OverflowError):
            continue
    return None
