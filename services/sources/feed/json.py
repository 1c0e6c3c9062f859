"""JSON Feed: https://www.jsonfeed.org/version/1.1/"""

import json
from typing import Any

from services.domain.papers.entries import collect, entry_id
from services.domain.papers.paper import Entry, Listing
from services.domain.text.markup import decode, plain, safe_link
from services.errors import SourceError
from services.sources.feed.item import day_of, make_entry


def parse_json(body: bytes) -> Listing:
    try:
        feed = json.loads(decode(body))
    except (ValueError, RecursionError):
        raise SourceError("the JSON feed is damaged or incomplete") from None
    items = feed.get("items")
    if not isinstance(items, list):
        raise SourceError("the JSON feed has no items")
    base = safe_link(str(feed.get("feed_url") or feed.get("home_page_url") or "")) or ""
    home = str(feed.get("home_page_url") or feed.get("feed_url") or feed.get("title") or "")
    entries, skipped = collect(items, lambda item: _entry(item, base, home))
    return Listing(format="rss", entries=entries, skipped=skipped, title=plain(str(feed.get("title") or ""), 200))


def _entry(item: dict[str, Any], base: str, home: str) -> Entry:
    # Version 1 has one author, version 1.1 a list; some feeds have both.
    people = item.get("authors") or ([item["author"]] if item.get("author") else [])
    attachments = item.get("attachments") or ()
    pdfs = [file.get("url") or "" for file in attachments if file.get("mime_type") == "application/pdf"]
    pages = [safe_link(item[key], base) or "" for key in ("url", "external_url") if item.get(key)]
    return make_entry(
        title=item.get("title") or "",
        abstract=item.get("summary") or item.get("content_text") or item.get("content_html") or "",
        authors=[person if isinstance(person, str) else person.get("name") or "" for person in people],
        tags=item.get("tags") or [],
        page=next(iter(pages), ""),
        names=[str(item.get("id") or ""), *pages[1:]],
        pdf=safe_link(pdfs[0], base) or "" if pdfs else "",
        announced_on=day_of(item.get("date_published") or item.get("date_modified") or "", None),
        entry_id=entry_id(home, str(item.get("id") or next(iter(pages), ""))),
    )
