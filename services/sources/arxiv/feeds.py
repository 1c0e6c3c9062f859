"""Today's announcement: RSS 2.0, Atom of the same content, and the RDF that arXiv served until 2024."""

import re
from datetime import date
from xml.etree.ElementTree import Element

from services.domain.papers import identifiers
from services.domain.papers.entries import collect
from services.domain.papers.identifiers import RecognisedIdentifier
from services.domain.papers.paper import Entry, Listing
from services.domain.text.markup import plain, strip_html
from services.errors import SourceError
from services.sources.arxiv import calendar
from services.sources.arxiv.calendar import day_of
from services.sources.arxiv.record import NAMESPACES, entry, people, text

_PREFIX = re.compile(r"^\s*arXiv:(\S+)\s+Announce Type:\s*(\S+)\s*Abstract:\s*")
# `Title. (arXiv:1805.06430v2 [nucl-th] UPDATED)`, until 2024
_OLD_TITLE = re.compile(r"\s*\(arXiv:(?P<id>\S+)\s+\[(?P<category>[\w.-]+)\](?P<type>[^()]*)\)\s*$")
_REPLACED = re.compile(r"replace|absonly|\s*UPDATED")
_ERROR = "feed error for query"


def url(location: str) -> str:
    return f"https://rss.arxiv.org/rss/{location}"


def parse(document: Element) -> Listing:
    channels = (node for tag in ("channel", "rss1:channel") for node in document.findall(tag, NAMESPACES))
    channel = next(channels, document)
    title = text(channel, "title", "atom:title", "rss1:title")
    if title.lower().startswith(_ERROR):
        told = text(channel, "description", "atom:subtitle")
        raise SourceError(f"arXiv answers: {plain(f'{title}. {told}' if told else title, 300)}")
    announced = day_of(text(channel, "pubDate", "dc:date"))
    nodes = [
        *channel.findall("item", NAMESPACES),
        *(node for tag in ("atom:entry", "rss1:item") for node in document.findall(tag, NAMESPACES)),
    ]
    entries, skipped = collect(nodes, lambda node: _item(node, announced), _name)
    days = [day for node in nodes if (day := _stated(node))]
    return Listing(
        format="arxiv-rss",
        entries=entries,
        skipped=skipped,
        announced_on=max(days, default=announced),
        title=plain(title, 200),
    )


def _name(number: int, node: Element) -> str:
    return text(node, "guid", "atom:id", "title", "rss1:title") or f"entry {number}"


def _stated(node: Element) -> date | None:
    return day_of(text(node, "pubDate", "atom:published"))


def _item(node: Element, announced: date | None) -> Entry:
    """An item of RSS, or an entry of the Atom feed. A replacement is known by its type and its version."""
    if node.tag == f"{{{NAMESPACES['rss1']}}}item":
        return _old_item(node, announced)
    description = text(node, "description", "atom:summary")
    prefix = _PREFIX.match(description)
    found = identifiers.arxiv(text(node, "guid", "atom:id")) or (identifiers.arxiv(prefix[1]) if prefix else None)
    found = found or identifiers.recognise(text(node, "link"))
    kind = text(node, "arxiv:announce_type") or (prefix[2] if prefix else "")
    told = identifiers.arxiv(prefix[1]) if prefix else None
    day, replacement = _listed(found, kind, _stated(node) or announced)
    return entry(
        found,
        title=text(node, "title", "atom:title"),
        abstract=description[prefix.end() :] if prefix else description,
        authors=people(text(node, "dc:creator")),
        categories=[
            c.get("term") or c.text or "" for t in ("category", "atom:category") for c in node.findall(t, NAMESPACES)
        ],
        doi=text(node, "arxiv:DOI", "arxiv:doi"),
        journal=text(node, "arxiv:journal_reference", "arxiv:journal_ref"),
        version=told.version if told else None,
        announced_on=day,
        replacement=replacement,
    )


def _old_item(node: Element, announced: date | None) -> Entry:
    title = strip_html(text(node, "rss1:title"))
    told = _OLD_TITLE.search(title)
    found = identifiers.arxiv(told["id"]) if told else identifiers.recognise(text(node, "rss1:link"))
    day, replacement = _listed(found, told["type"] if told else "", announced)
    return entry(
        found,
        title=title[: told.start()].removesuffix(".") if told else title,
        abstract=strip_html(text(node, "rss1:description")),
        authors=people(strip_html(text(node, "dc:creator"))),
        categories=[told["category"]] if told else [],
        announced_on=day,
        replacement=replacement,
    )


def _listed(found: RecognisedIdentifier | None, kind: str, day: date | None) -> tuple[date | None, bool]:
    """When the paper was new, as far as its announce type tells, and whether it is a replacement."""
    if not _REPLACED.match(kind):
        return day, False
    return calendar.latest_first_announcement(found.identifier, day) if found and day else day, True
