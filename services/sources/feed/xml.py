"""RSS, Atom and RDF, read by feedparser."""

import io
import re
from itertools import islice
from typing import Any

import feedparser

from services.domain.papers.entries import collect, entry_id
from services.domain.papers.paper import Entry, Listing, Skipped
from services.domain.sources.feed_hints import read_hints
from services.domain.text.markup import HEAD, plain, strip_html, xml
from services.errors import SourceError
from services.sources.feed.item import day_of, make_entry

MAX_ITEMS = 10_000
MAX_TAGS = 100

_LONG_WORD = re.compile(r"[A-Za-z0-9_.+-]{300}")
_ITEM = re.compile(r"<(?:entry|item)\b")
_END = re.compile(r"</(?:\w+:)?(?:rss|feed|rdf|channel)\s*>|<(?:\w+:)?(?:rss|feed|rdf)\b[^<>]*/>", re.IGNORECASE)
"""The end of a whole feed. A feed without entries that has none was cut off."""
_OWN_LINKS = (
    re.compile(r"""<(?:\w+:)?link\b(?=[^>]*\brel=["']self["'])[^>]*?\bhref=["'](https?://[^"'<>\s]+)"""),
    re.compile(r"<link>\s*(https?://[^<>\s]+)\s*</link>"),
    re.compile(r"""<link\b[^>]*?\bhref=["'](https?://[^"'<>\s]+)"""),
)


def parse_xml(body: bytes) -> Listing:
    text, cut = _first_items(xml(body))
    head = _head(text)
    headers = {"content-type": "application/xml; charset=utf-8", "content-location": _own_address(head)}
    try:
        # Bytes, since feedparser takes a string for a file or an address. Its cleaning of HTML would damage formulas.
        parsed = feedparser.parse(
            io.BytesIO(text.encode()), response_headers=headers, sanitize_html=False, resolve_relative_uris=False
        )
    except Exception as error:
        # feedparser lets the exceptions of its parsers through, which are of many kinds.
        raise SourceError(f"the feed is damaged: it cannot be read ({type(error).__name__})") from None
    if not parsed.version and not parsed.entries:
        raise SourceError("the feed is damaged: nothing in it can be read")
    if not parsed.entries and not _END.search(text):
        raise SourceError("the feed is incomplete: it ends before its first entry")
    home = parsed.feed.get("link") or parsed.feed.get("id") or parsed.feed.get("title") or ""
    entries, skipped = collect(
        parsed.entries, lambda item: _entry(item, home), lambda number, item: item.get("id") or f"entry {number}"
    )
    title = plain(strip_html(parsed.feed.get("title", "")), 200)
    return Listing(format="rss", entries=entries, skipped=skipped + cut, title=title, feed_hints=read_hints(head))


def _first_items(text: str) -> tuple[str, tuple[Skipped, ...]]:
    """The feed with at most `MAX_ITEMS` items, and what was left out."""
    starts = [item.start() for item in islice(_ITEM.finditer(text), MAX_ITEMS + 1)]
    if len(starts) <= MAX_ITEMS:
        return text, ()
    end = max(text.rfind("</item>") + len("</item>"), text.rfind("</entry>") + len("</entry>"), starts[-1])
    reason = f"only the first {MAX_ITEMS:,} entries of a feed are read"
    return text[: starts[-1]] + text[end:], (Skipped(f"entry {MAX_ITEMS + 1} and all after it", reason),)


def _head(text: str) -> str:
    """What precedes the first item."""
    item = _ITEM.search(text, 0, 16 * HEAD)
    return text[: item.start() if item else 16 * HEAD]


def _own_address(head: str) -> str:
    """The feed's own address, to which its relative links are relative; empty when it states none."""
    return next((link[1] for pattern in _OWN_LINKS if (link := pattern.search(head))), "")


def _entry(item: Any, home: str) -> Entry:
    pdfs = [link.get("href", "") for link in item.get("links", ()) if link.get("type") == "application/pdf"]
    contents = [part.get("value") or "" for part in item.get("content", ())]
    stamp = "published" if item.get("published") else "updated"
    return make_entry(
        title=item.get("title") or "",
        abstract=item.get("summary") or next(iter(contents), ""),
        authors=[author.get("name") or "" for author in item.get("authors", ())],
        tags=[tag.get("term") or "" for tag in item.get("tags", ())],
        page=item.get("link") or "",
        names=[item.get("id") or "", *_stated_identifiers(item), item.get("prism_url") or ""],
        pdf=next(iter(pdfs), ""),
        # Not feedparser's own `get`, which warns and gives one date in place of the other.
        announced_on=day_of(item.get(stamp) or "", dict.get(item, f"{stamp}_parsed")),
        entry_id=entry_id(home, item.get("id") or item.get("link") or ""),
    )


def _stated_identifiers(item: Any) -> list[str]:
    """Every dc:identifier, and the elements for DOIs of PRISM and of others, whatever their prefix."""
    dois = [value for key, value in item.items() if key.endswith("doi") and isinstance(value, str)]
    return [*item.get("dc_identifiers", ()), *dois]


# ── feedparser's quadratic handlers ───────────────────────────────────────────────────────────────────────────

_Handlers = feedparser.mixin._FeedParserMixin
_sync_author_detail, _add_tag = _Handlers._sync_author_detail, _Handlers._add_tag


def _sync_author_of_short_words(self: Any, key: str = "author") -> None:
    context = self._get_context()
    if context.get(key):
        context[key] = _LONG_WORD.sub(r"\g<0> ", context[key])
    _sync_author_detail(self, key)


def _add_first_tags(self: Any, term: str, scheme: str, label: str) -> None:
    if len(self._get_context().get("tags", ())) < MAX_TAGS:
        _add_tag(self, term, scheme, label)


def _end_dc_identifier(self: Any) -> None:
    self._get_context().setdefault("dc_identifiers", []).append(self.pop("dc_identifier") or "")


# feedparser keeps one dc:identifier of an item; PubMed states the PMID and the DOI in two of them.
_Handlers._end_dc_identifier = _end_dc_identifier
# Two of feedparser's handlers take quadratic time: the pattern for e-mail addresses in the length of a word
# (feedparser#562; half a megabyte takes minutes), the list of tags in their number. It has no setting for either.
_Handlers._sync_author_detail = _sync_author_of_short_words
_Handlers._add_tag = _add_first_tags
