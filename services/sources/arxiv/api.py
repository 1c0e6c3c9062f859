"""arXiv's API: the results of a query among the submissions that belong to one announcement.

https://info.arxiv.org/help/api/user-manual.html
"""

import re
from datetime import date
from urllib.parse import urlencode
from xml.etree.ElementTree import Element

from services.domain.papers import identifiers
from services.domain.papers.entries import collect
from services.domain.papers.paper import Entry, Listing
from services.domain.text.markup import plain
from services.errors import SourceError
from services.ports import Request
from services.sources.arxiv import calendar
from services.sources.arxiv.location import QUERY, search_query
from services.sources.arxiv.record import NAMESPACES, entry, text

PAGE_SIZE = 1_000
"""Results. arXiv allows 2,000, but with long lists of authors these exceed the largest body that is read."""
TIMEOUT = 90.0
"""Seconds."""
ANNOUNCEMENTS_OF_A_QUERY = 3
"""Announcements that each request covers. Holidays and moderation delay papers, which no other request would find."""

_RANGE = re.compile(r'submittedDate:"?\[(\d{12}) TO (\d{12})\]"?')
_ECHO = re.compile(r"search_query=(?P<query>.*?)&id_list=", re.DOTALL)


def request(location: str, day: date) -> Request:
    """Requests the papers of the announcement of `day`, by their times of submission."""
    announcements = ANNOUNCEMENTS_OF_A_QUERY if location.startswith(QUERY) else 1
    start, end = calendar.submissions(day, announcements)
    query = f"({search_query(location)}) AND submittedDate:[{start:%Y%m%d%H%M} TO {end:%Y%m%d%H%M}]"
    return Request(url=_url(query, 0), timeout=TIMEOUT)


def _url(query: str, start: int) -> str:
    parameters = {"search_query": query, "sortBy": "submittedDate", "sortOrder": "descending"}
    parameters |= {"start": f"{start}", "max_results": f"{PAGE_SIZE}"}
    return "https://export.arxiv.org/api/query?" + urlencode(parameters)


def parse(feed: Element) -> Listing:
    nodes = feed.findall("atom:entry", NAMESPACES)
    for node in nodes:
        if "arxiv.org/api/errors" in text(node, "atom:id"):
            raise SourceError(f"arXiv answers: {plain(text(node, 'atom:summary'), 200) or 'an error without a text'}")
    total, start = _number(feed, "totalResults"), _number(feed, "startIndex") or 0
    if total and start < total and not nodes:
        raise SourceError(f"arXiv answers with an empty page, though it counts {total:,} results")
    title = text(feed, "atom:title")
    day = _announced(title)
    entries, skipped = collect(
        nodes, lambda node: _entry(node, day), lambda number, node: text(node, "atom:id") or f"entry {number}"
    )
    return Listing(
        format="arxiv-api",
        entries=entries,
        skipped=skipped,
        announced_on=day,
        # No results may only mean a holiday that is not over. Without a day, the total is that of all of arXiv.
        announced=total if total and day else None,
        title=plain(title, 200),
        next_url=_next(title, start + len(nodes)) if day and total and start + len(nodes) < total else "",
    )


def _number(feed: Element, name: str) -> int | None:
    value = text(feed, f"opensearch:{name}")
    return int(value) if re.fullmatch(r"\d{1,9}", value) else None


def _announced(title: str) -> date | None:
    """The requested announcement, from the answer's title, which repeats the query."""
    submitted = _RANGE.search(title)
    last = calendar.moment_of(f"{submitted[2][:8]}T{submitted[2][8:]}Z") if submitted else None
    return calendar.announced_after(last - calendar.MINUTE) if last else None


def _next(title: str, start: int) -> str:
    echo = _ECHO.search(title)
    # arXiv repeats the range in quotes, in which it does not accept a range.
    return _url(_RANGE.sub(r"submittedDate:[\1 TO \2]", echo["query"]), start) if echo else ""


def _entry(node: Element, day: date | None) -> Entry:
    primary = node.find("arxiv:primary_category", NAMESPACES)
    terms = [category.get("term", "") for category in node.findall("atom:category", NAMESPACES)]
    submitted = calendar.moment_of(text(node, "atom:published"))
    return entry(
        identifiers.recognise(text(node, "atom:id")),
        title=text(node, "atom:title"),
        abstract=text(node, "atom:summary"),
        authors=[text(author, "atom:name") for author in node.findall("atom:author", NAMESPACES)],
        categories=([primary.get("term", "")] if primary is not None else []) + terms,
        doi=text(node, "arxiv:doi"),
        journal=text(node, "arxiv:journal_ref"),
        comment=text(node, "arxiv:comment"),
        # The API states when a paper was submitted, not when it was announced.
        announced_on=min(day, calendar.announced_after(submitted)) if day and submitted else None,
        published_on=calendar.day_of(text(node, "atom:published")),
    )
