"""A subscription's matches as an Atom feed (RFC 4287)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, SubElement, tostring

from services import render
from services.domain.papers.paper import Paper

_NAMESPACE = "http://www.w3.org/2005/Atom"
_MAX_AUTHORS = 50
# What XML 1.0 cannot hold, however it is written.
_IMPOSSIBLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Entry:
    """A match; `id` stays the same whatever becomes of its paper."""

    id: str
    at: datetime
    paper: Paper
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    id: str
    title: str
    address: str
    page: str
    since: datetime
    """When the subscription was made: an empty feed was updated then."""
    matches: Sequence[Entry]

    @property
    def updated(self) -> datetime:
        return max((match.at for match in self.matches), default=self.since)


def document(feed: Feed) -> bytes:
    """The same matches are the same bytes."""
    root = Element("feed", {"xmlns": _NAMESPACE})
    _text(root, "id", feed.id)
    _text(root, "title", render.line(feed.title, 200))
    _text(root, "updated", _moment(feed.updated))
    SubElement(root, "link", {"rel": "self", "type": "application/atom+xml", "href": feed.address})
    SubElement(root, "link", {"rel": "alternate", "type": "text/html", "href": feed.page})
    _text(SubElement(root, "author"), "name", "paperwire")
    for match in feed.matches:
        _entry(root, match)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _entry(root: Element, match: Entry) -> None:
    entry, paper = SubElement(root, "entry"), match.paper
    _text(entry, "id", match.id)
    _text(entry, "title", render.title(paper))
    _text(entry, "published", _moment(match.at))
    _text(entry, "updated", _moment(match.at))
    SubElement(entry, "link", {"rel": "alternate", "href": render.home(paper)})
    for name in paper.authors[:_MAX_AUTHORS]:
        _text(SubElement(entry, "author"), "name", render.line(name, 80) or "(unnamed)")
    for category in paper.categories:
        SubElement(entry, "category", {"term": _possible(render.line(category, 80))})
    html = render.render("web/feed_entry.html", paper=paper, why=match.why)
    _text(entry, "content", html).set("type", "html")


def _text(parent: Element, name: str, text: str) -> Element:
    element = SubElement(parent, name)
    element.text = _possible(text)
    return element


def _possible(text: str) -> str:
    return _IMPOSSIBLE.sub("", text)


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
