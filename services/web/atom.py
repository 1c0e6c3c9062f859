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
# Characters that XML 1.0 forbids, even as references (https://www.w3.org/TR/xml/#charsets).
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Entry:
    """A match. `id` stays the same when the paper changes."""

    id: str
    at: datetime
    paper: Paper
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    id: str
    title: str
    url: str
    page_url: str
    created_at: datetime
    """When the subscription was created, which is the time of the last update of a feed without entries."""
    entries: Sequence[Entry]

    @property
    def updated(self) -> datetime:
        return max((entry.at for entry in self.entries), default=self.created_at)


def document(feed: Feed) -> bytes:
    """The feed as XML. The same matches give the same bytes, so that the ETag stays."""
    root = Element("feed", {"xmlns": _NAMESPACE})
    _text(root, "id", feed.id)
    _text(root, "title", render.line(feed.title, 200))
    _text(root, "updated", _timestamp(feed.updated))
    SubElement(root, "link", {"rel": "self", "type": "application/atom+xml", "href": feed.url})
    SubElement(root, "link", {"rel": "alternate", "type": "text/html", "href": feed.page_url})
    _text(SubElement(root, "author"), "name", "paperwire")
    for entry in feed.entries:
        _entry(root, entry)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _entry(root: Element, match: Entry) -> None:
    element, paper = SubElement(root, "entry"), match.paper
    _text(element, "id", match.id)
    _text(element, "title", render.title(paper))
    _text(element, "published", _timestamp(match.at))
    _text(element, "updated", _timestamp(match.at))
    SubElement(element, "link", {"rel": "alternate", "href": render.home(paper)})
    for name in paper.authors[:_MAX_AUTHORS]:
        _text(SubElement(element, "author"), "name", render.line(name, 80) or "(unnamed)")
    for category in paper.categories:
        SubElement(element, "category", {"term": _without_forbidden(render.line(category, 80))})
    html = render.render("web/feed_entry.html", paper=paper, why=match.why)
    _text(element, "content", html).set("type", "html")


def _text(parent: Element, name: str, text: str) -> Element:
    element = SubElement(parent, name)
    element.text = _without_forbidden(text)
    return element


def _without_forbidden(text: str) -> str:
    return _FORBIDDEN.sub("", text)


def _timestamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
