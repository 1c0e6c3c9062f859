"""Any other feed: RSS, Atom, RDF and JSON Feed."""

import io
import json
import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import feedparser

from services.domain.papers import identifiers
from services.domain.papers.entries import collect
from services.domain.papers.identifiers import RecognisedIdentifier
from services.domain.papers.paper import Entry, Listing, Skipped
from services.domain.sources import rate_limits
from services.domain.sources.feed_hints import read_hints
from services.domain.sources.polling import Timetable
from services.domain.text.markup import HEAD, decode, describe, plain, root, safe_link, strip_html, xml
from services.errors import SourceError
from services.ports import Request

MAX_ITEMS = 10_000
MAX_TAGS = 100
FIRST_YEAR = 1990
"""Older dates are an unset clock."""

_JSON_FEED = re.compile(r"""^\s*\{.{0,2000}?"version"\s*:\s*"https?:\\?/\\?/jsonfeed\.org""", re.DOTALL)
_LONG_WORD = re.compile(r"[A-Za-z0-9_.+-]{300}")
_ITEM = re.compile(r"<(?:entry|item)\b")
_OWN_LINKS = (
    re.compile(r"""<(?:\w+:)?link\b(?=[^>]*\brel=["']self["'])[^>]*?\bhref=["'](https?://[^"'<>\s]+)"""),
    re.compile(r"<link>\s*(https?://[^<>\s]+)\s*</link>"),
    re.compile(r"""<link\b[^>]*?\bhref=["'](https?://[^"'<>\s]+)"""),
)
_ADVERTISED = re.compile(r"""<link\b(?=[^>]*application/(?:rss|atom)\+xml)[^>]*?\bhref=["']([^"'<>\s]+)""", re.I)
_INITIALS = re.compile(r"(?:[A-Z]\.?[ -]?){1,4}")


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
            host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
        except ValueError:
            raise SourceError("this is no web address: use one such as https://example.org/feed.xml") from None
        if parts.scheme not in ("http", "https") or not host:
            raise SourceError("a feed is named by its address, such as https://example.org/feed.xml")
        if "@" in parts.netloc:
            raise SourceError("a feed's address must not hold a name or password: everybody could read them")
        place = f"[{host}]" if ":" in host else host
        usual = port is None or port == {"http": 80, "https": 443}[parts.scheme]
        url = urlunsplit((parts.scheme, place if usual else f"{place}:{port}", parts.path or "/", parts.query, ""))
        if not (link := safe_link(url)):
            raise SourceError("this web address is too long or damaged")
        return link

    def rate_limit(self, location: str) -> tuple[str, timedelta]:
        return rate_limits.of_url(location)

    def request(self, location: str, now: datetime) -> Request:
        return Request(url=location)

    def request_day(self, location: str, day: date) -> Request | None:
        return None

    def recognise(self, body: bytes) -> str | None:
        if root(body) in ("rss", "feed", "rdf", "channel"):
            return "rss"
        return "rss" if _JSON_FEED.match(decode(body[:HEAD])) else None

    def parse(self, body: bytes, *, day: date) -> Listing:
        if not self.recognise(body):
            raise SourceError(f"this is no feed: {describe(body)}{_hint(body)}")
        return _json_feed(body) if decode(body[:HEAD]).lstrip()[:1] == "{" else _xml_feed(body)


plugin = Feed()


def _hint(body: bytes) -> str:
    """A page often names its feed."""
    found = _ADVERTISED.search(decode(body[: 16 * HEAD])) if root(body) == "html" else None
    return f"; the feed it names is {plain(found[1], 200)}" if found else ""


# ── RSS, Atom, RDF ────────────────────────────────────────────────────────────────────────────────────────────


_Handlers = feedparser.mixin._FeedParserMixin
_sync_author_detail, _add_tag = _Handlers._sync_author_detail, _Handlers._add_tag


def _sync_author_of_words(self: Any, key: str = "author") -> None:
    context = self._get_context()
    if context.get(key):
        context[key] = _LONG_WORD.sub(r"\g<0> ", context[key])
    _sync_author_detail(self, key)


def _add_some_tags(self: Any, term: str, scheme: str, label: str) -> None:
    if len(self._get_context().get("tags", ())) < MAX_TAGS:
        _add_tag(self, term, scheme, label)


# Two of feedparser's handlers take quadratic time: the pattern for e-mail addresses in the length of a word
# (feedparser#562; half a megabyte takes minutes), the list of tags in their number. It has no setting for either.
_Handlers._sync_author_detail = _sync_author_of_words
_Handlers._add_tag = _add_some_tags


def _xml_feed(body: bytes) -> Listing:
    text, cut = _first_items(xml(body))
    headers = {"content-type": "application/xml; charset=utf-8", "content-location": _own_address(_head(text))}
    try:
        # Bytes only: feedparser opens a string as a file or an address. Its own cleaning would eat formulas.
        parsed = feedparser.parse(
            io.BytesIO(text.encode()), response_headers=headers, sanitize_html=False, resolve_relative_uris=False
        )
    except Exception as error:
        # It lets what its many parts raise on damaged input through.
        raise SourceError(f"the feed is damaged: it cannot be read ({type(error).__name__})") from None
    if not parsed.version and not parsed.entries:
        raise SourceError("the feed is damaged: nothing in it can be read")
    entries, skipped = collect(parsed.entries, _entry, lambda number, item: item.get("id") or f"entry {number}")
    title = plain(strip_html(parsed.feed.get("title", "")), 200)
    return Listing(
        format="rss", entries=entries, skipped=skipped + cut, title=title, feed_hints=read_hints(_head(text))
    )


def _first_items(text: str) -> tuple[str, tuple[Skipped, ...]]:
    """The feed with its first items only, if it has more of them than a reader has patience."""
    starts = [found.start() for found in islice(_ITEM.finditer(text), MAX_ITEMS + 1)]
    if len(starts) <= MAX_ITEMS:
        return text, ()
    end = max(text.rfind("</item>") + len("</item>"), text.rfind("</entry>") + len("</entry>"), starts[-1])
    reason = f"only the first {MAX_ITEMS:,} entries of a feed are read"
    return text[: starts[-1]] + text[end:], (Skipped(f"entry {MAX_ITEMS + 1} and all after it", reason),)


def _head(text: str) -> str:
    """What stands before the first item."""
    found = _ITEM.search(text, 0, 16 * HEAD)
    return text[: found.start() if found else 16 * HEAD]


def _own_address(head: str) -> str:
    """Where the feed says it lives: what its relative links are relative to."""
    return next((match[1] for pattern in _OWN_LINKS if (match := pattern.search(head))), "")


def _entry(item: Any) -> Entry:
    named = [item.get(key) or "" for key in ("link", "id", "dc_identifier", "prism_doi", "prism_url")]
    pdfs = [link.get("href", "") for link in item.get("links", ()) if link.get("type") == "application/pdf"]
    contents = [part.get("value") or "" for part in item.get("content", ())]
    stamp = "published" if item.get("published") else "updated"
    return _paper(
        title=item.get("title") or "",
        markup=item.get("summary") or next(iter(contents), ""),
        names=[author.get("name") or "" for author in item.get("authors", ())],
        tags=[tag.get("term") or "" for tag in item.get("tags", ())],
        named=named,
        pdf=next(iter(pdfs), ""),
        # Its own `get` takes one date for the other, with a warning.
        announced_on=_day(item.get(stamp) or "", dict.get(item, f"{stamp}_parsed")),
    )


# ── JSON Feed (https://www.jsonfeed.org/version/1.1/) ─────────────────────────────────────────────────────────


def _json_feed(body: bytes) -> Listing:
    try:
        feed = json.loads(decode(body))
    except (ValueError, RecursionError):
        raise SourceError("the JSON feed is damaged or incomplete") from None
    items = feed.get("items")
    if not isinstance(items, list):
        raise SourceError("the JSON feed has no items")
    base = safe_link(str(feed.get("feed_url") or feed.get("home_page_url") or "")) or ""
    entries, skipped = collect(items, lambda item: _json_entry(item, base))
    return Listing(format="rss", entries=entries, skipped=skipped, title=plain(str(feed.get("title") or ""), 200))


def _json_entry(item: dict[str, Any], base: str) -> Entry:
    # Version 1 has one author, 1.1 a list; both are found side by side.
    people = item.get("authors") or ([item["author"]] if item.get("author") else [])
    pdfs = [one.get("url") or "" for one in item.get("attachments") or () if one.get("mime_type") == "application/pdf"]
    addresses = [safe_link(item[key], base) or "" for key in ("url", "external_url") if item.get(key)]
    return _paper(
        title=item.get("title") or "",
        markup=item.get("summary") or item.get("content_text") or item.get("content_html") or "",
        names=[person if isinstance(person, str) else person.get("name") or "" for person in people],
        tags=item.get("tags") or [],
        named=[next(iter(addresses), ""), str(item.get("id") or ""), *addresses[1:]],
        pdf=safe_link(pdfs[0], base) or "" if pdfs else "",
        announced_on=_day(item.get("date_published") or item.get("date_modified") or "", None),
    )


# ── both ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _paper(
    *, title: str, markup: str, names: list[str], tags: list[str], named: list[str], pdf: str, announced_on: date | None
) -> Entry:
    """`named`: the item's link, then whatever else may hold an identifier of the paper."""
    found = _identify(named)
    known = found[0].identifier if found else None
    links = {"abstract": named[0], "pdf": pdf}
    if known:
        links |= identifiers.links(known)
        links["listing"] = named[0]
    return Entry(
        title=strip_html(title),
        abstract=strip_html(markup),
        authors=tuple(_people(names)),
        categories=tuple(strip_html(tag) for tag in tags),
        identifiers=tuple(each.identifier for each in found),
        announced_on=announced_on,
        version=next((each.version for each in found if each.version), None),
        links={relation: url for relation, url in links.items() if url},
    )


def _identify(named: Iterable[str]) -> list[RecognisedIdentifier]:
    """One identifier of each scheme: what is named first stands."""
    first: dict[str, RecognisedIdentifier] = {}
    for text in named:
        if found := identifiers.recognise(text):
            first.setdefault(found.identifier.scheme, found)
    return list(first.values())


def _people(names: list[str]) -> list[str]:
    """The authors; many feeds put all of them into one name."""
    names = [strip_html(name) for name in names]
    if len(names) != 1:
        return names
    parts = [part.strip() for part in re.split(r";", names[0]) if part.strip()]
    if len(parts) > 1:
        return parts
    parts = [part.strip() for part in re.split(r",(?: and)?\s", names[0]) if part.strip()]
    if len(parts) > 1 and len(parts) % 2 == 0 and all(_INITIALS.fullmatch(part) for part in parts[1::2]):
        return [f"{family}, {initials}" for family, initials in zip(parts[::2], parts[1::2], strict=True)]
    return parts if len(parts) > 1 and all(" " in part for part in parts) else names


def _day(stamp: str, parsed: Any) -> date | None:
    """The day as the feed's own clock has it; `parsed` is feedparser's reading in UTC, for rarer notations."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            stated = read(stamp.strip()).date()
            return stated if stated.year >= FIRST_YEAR else None
        except (ValueError, TypeError, IndexError):
            continue
    try:
        return date(*parsed[:3]) if parsed and parsed[0] >= FIRST_YEAR else None
    except ValueError:
        return None
