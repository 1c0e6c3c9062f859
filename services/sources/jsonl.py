"""JSON Lines: an archive of papers with one JSON object a line."""

import json
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any

from services.domain.papers import identifiers
from services.domain.papers.entries import Unreadable, collect
from services.domain.papers.paper import Entry, Identifier, Listing
from services.domain.sources.polling import Timetable
from services.domain.text.markup import decode, describe
from services.errors import SourceError
from services.ports import Request

HEAD = 256_000
"""Bytes that are searched for a paper, to recognise the format."""
MAX_LINES_TRIED = 20


class JsonLines:
    kind = "jsonl"
    summary = "a file with one JSON object a line: id, title, summary, authors, categories, first_seen"
    example = ""
    formats: tuple[str, ...] = ("jsonl",)
    rank = 90
    every: timedelta | None = None
    timetable = Timetable()

    def location(self, text: str) -> str:
        if text.strip():
            raise SourceError("jsonl is only read from files: use `paperwire import FILE --format jsonl`")
        return ""

    def rate_limit(self, location: str) -> tuple[str, timedelta]:
        return "file", timedelta()

    def request(self, location: str, now: datetime) -> Request:
        raise SourceError("jsonl is only read from files: there is nothing to poll")

    def request_day(self, location: str, day: date) -> Request | None:
        return None

    def publishes(self, identifier: Identifier) -> bool:
        return False

    def recognise(self, body: bytes) -> str | None:
        lines = decode(body[:HEAD]).split("\n")
        return "jsonl" if any(_is_paper(line) for line in islice(filter(str.strip, lines), MAX_LINES_TRIED)) else None

    def parse(self, body: bytes, *, day: date) -> Listing:
        if not self.recognise(body):
            raise SourceError(f"these are no papers as one JSON object a line: {describe(body)}")
        numbered = [(number, line) for number, line in enumerate(decode(body).split("\n"), 1) if line.strip()]
        entries, skipped = collect(numbered, lambda item: _entry(item[1]), lambda _, item: f"line {item[0]}")
        return Listing(format="jsonl", entries=entries, skipped=skipped)


plugin = JsonLines()


def _is_paper(line: str) -> bool:
    try:
        paper = json.loads(line)
    except (ValueError, RecursionError):
        return False
    # A JSON Feed on one line has a title too.
    return isinstance(paper, dict) and isinstance(paper.get("title"), str) and "items" not in paper


def _entry(line: str) -> Entry:
    try:
        paper = json.loads(line)
    except (ValueError, RecursionError):
        raise Unreadable("it is no JSON") from None
    if not isinstance(paper, dict) or not isinstance(paper.get("title"), str):
        raise Unreadable("it is no object with a title")
    recognised = identifiers.recognise(paper["id"]) if isinstance(paper.get("id"), str) else None
    identifier = recognised.identifier if recognised else None
    return Entry(
        title=paper["title"],
        abstract=paper.get("summary") or "",
        authors=_strings(paper.get("authors")),
        categories=_strings(paper.get("categories")),
        identifiers=(identifier,) if identifier else (),
        announced_on=_day(paper.get("first_seen")),
        version=recognised.version if recognised else None,
        links=identifiers.links(identifier) if identifier else {},
    )


def _strings(value: Any) -> tuple[str, ...]:
    """The strings of a list; a single string counts as a list of one."""
    values = [value] if isinstance(value, str) else value or []
    return tuple(text for text in values if isinstance(text, str))


def _day(stamp: Any) -> date | None:
    if stamp is None:
        return None
    try:
        return date.fromisoformat(stamp[:10])
    except (TypeError, ValueError):
        raise Unreadable("its first_seen is no date such as 2025-05-30") from None
