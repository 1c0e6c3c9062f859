"""Any other feed: RSS, Atom, RDF and JSON Feed.

Open `xml.py` first; `json.py` reads JSON Feed, and `item.py` makes an entry of what either found.
"""

import re
from datetime import date, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

from services.domain.http.hostname import ascii_host
from services.domain.http.ssrf import WEB_PORTS
from services.domain.papers.paper import Identifier, Listing
from services.domain.sources import rate_limits
from services.domain.sources.polling import Timetable
from services.domain.text.markup import HEAD, decode, describe, plain, root, safe_link
from services.errors import SourceError
from services.ports import Request
from services.sources.feed.json import parse_json
from services.sources.feed.xml import parse_xml

_JSON_FEED = re.compile(r"""^\s*\{.{0,2000}?"version"\s*:\s*"https?:\\?/\\?/jsonfeed\.org""", re.DOTALL)
_ADVERTISED = re.compile(r"""<link\b(?=[^>]*application/(?:rss|atom)\+xml)[^>]*?\bhref=["']([^"'<>\s]+)""", re.I)


class Feed:
    kind = "feed"
    summary = "any RSS, Atom, RDF or JSON feed by its address"
    example = "https://example.org/papers/feed.xml"
    formats: tuple[str, ...] = ("rss",)
    rank = 80
    every: timedelta | None = timedelta(hours=1)
    timetable = Timetable()

    def location(self, text: str) -> str:
        try:
            parts = urlsplit(text.strip())
            host, port = ascii_host(parts.hostname or ""), parts.port
        except ValueError:
            raise SourceError("this is no web address: use one such as https://example.org/feed.xml") from None
        if parts.scheme not in WEB_PORTS or not host:
            raise SourceError("a feed is named by its address, such as https://example.org/feed.xml")
        if "@" in parts.netloc:
            raise SourceError("a feed's address must not hold a name or password: everybody could read them")
        netloc = f"[{host}]" if ":" in host else host
        if port not in (None, WEB_PORTS[parts.scheme]):
            netloc = f"{netloc}:{port}"
        link = safe_link(urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, "")))
        if not link:
            raise SourceError("this web address is too long or damaged")
        return link

    def rate_limit(self, location: str) -> tuple[str, timedelta]:
        return rate_limits.of_url(location)

    def request(self, location: str, now: datetime) -> Request:
        return Request(url=location)

    def request_day(self, location: str, day: date) -> Request | None:
        return None

    def publishes(self, identifier: Identifier) -> bool:
        return False

    def recognise(self, body: bytes) -> str | None:
        if root(body) in ("rss", "feed", "rdf", "channel"):
            return "rss"
        return "rss" if _JSON_FEED.match(decode(body[:HEAD])) else None

    def parse(self, body: bytes, *, day: date) -> Listing:
        if not self.recognise(body):
            raise SourceError(f"this is no feed: {describe(body)}{_hint(body)}")
        return parse_json(body) if decode(body[:HEAD]).lstrip()[:1] == "{" else parse_xml(body)


plugin = Feed()


def _hint(body: bytes) -> str:
    """The address of the feed that an HTML page names, if it names one."""
    link = _ADVERTISED.search(decode(body[: 16 * HEAD])) if root(body) == "html" else None
    return f"; the feed it names is {plain(link[1], 200)}" if link else ""
