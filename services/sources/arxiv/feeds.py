"""arXiv's feeds of the present announcement: RSS 2.0, Atom, and the RDF that arXiv served until 2024.

https://info.arxiv.org/help/rss.html
"""

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
        details = text(channel, "description", "atom:subtitle")
        raise SourceError(f"arXiv answers: {plain(f'{title}. {details}' if details else title, 300)}")
    announced = day_of(text(channel, "pubDate", "dc:date"))
    nodes = [
        *channel.findall("item", NAMESPACES),
        *(node for tag in ("atom:entry", "rss1:item") for node in document.findall(tag, NAMESPACES)),
    ]
    entries, skipped = collect(nodes, lambda node: _item(node, announced), _name)
    days = [day for node in nodes if (day := _day_of(node))]
    return Listing(
        format="arxiv-rss",
        entries=entries,
        skipped=skipped,
        announced_on=max(days, default=announced),
        title=plain(title, 200),
    )


def _name(number: int, node: Element) -> str:
    return text(node, "guid", "atom:id", "title", "rss1:title") or f"entry {number}"


def _day_of(node: Element) -> date | None:
    return day_of(text(node, "pubDate", "atom:published"))


def _item(node: Element, announced: date | None) -> Entry:
    """An item of RSS, or an entry of the Atom feed."""
    if node.tag == f"{{{NAMESPACES['rss1']}}}item":
        return _old_item(node, announced)
    description = text(node, "description", "atom:summary")
    prefix = _PREFIX.match(description)
    with_version = identifiers.arxiv(prefix[1]) if prefix else None
    recognised = identifiers.arxiv(text(node, "guid", "atom:id")) or with_version
    recognised = recognised or identifiers.recognise(text(node, "link"))
    announce_type = text(node, "arxiv:announce_type") or (prefix[2] if prefix else "")
    day, replacement = _first_announced(recognised, announce_type, _day_of(node) or announced)
    return entry(
        recognised,
        title=text(node, "title", "atom:title"),
        abstract=description[prefix.end() :] if prefix else description,
        authors=people(text(node, "dc:creator")),
        categories=[
            c.get("term") or c.text or "" for t in ("category", "atom:category") for c in node.findall(t, NAMESPACES)
        ],
        doi=text(node, "arxiv:DOI", "arxiv:doi"),
        journal=text(node, "arxiv:journal_reference", "arxiv:journal_ref"),
        version=with_version.version if with_version else None,
        announced_on=day,
        replacement=replacement,
    )


def _old_item(node: Element, announced: date | None) -> Entry:
    title = strip_html(text(node, "rss1:title"))
    suffix = _OLD_TITLE.search(title)
    recognised = identifiers.arxiv(suffix["id"]) if suffix else identifiers.recognise(text(node, "rss1:link"))
    day, replacement = _first_announced(recognised, suffix["type"] if suffix else "", announced)
    return entry(
        recognised,
        title=title[: suffix.start()].removesuffix(".") if suffix else title,
        abstract=strip_html(text(node, "rss1:description")),
        authors=people(strip_html(text(node, "dc:creator"))),
        categories=[suffix["category"]] if suffix else [],
        announced_on=day,
        replacement=replacement,
    )


def _first_announced(
    recognised: RecognisedIdentifier | None, announce_type: str, day: date | None
) -> tuple[date | None, bool]:
    """The day on which the paper was new, as far as is known, and whether it is a replacement."""
    if not _REPLACED.match(announce_type):
        return day, False
    return calendar.latest_first_announcement(recognised.identifier, day) if recognised and day else day, True
