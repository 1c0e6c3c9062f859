"""From the items of a listing to its entries: the same caps and the same care for every source."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from services.domain.papers.paper import Entry, Skipped
from services.domain.text.markup import plain, safe_link

TITLE = 500
ABSTRACT = 20_000
AUTHORS = 2_000
NAME = 200
CATEGORIES = 50

T = TypeVar("T")


class Unreadable(ValueError):
    """An item that is no paper; the message says why, for people."""


def tidy(entry: Entry) -> Entry:
    """`entry` with every text on one line and capped, and only links that are safe. Raises Unreadable untitled."""
    title = plain(entry.title, TITLE)
    if not title:
        raise Unreadable("it has no title")
    names = [name for author in entry.authors if (name := plain(author, NAME))]
    links = {relation: link for relation, url in entry.links.items() if (link := safe_link(url))}
    return replace(
        entry,
        title=title,
        abstract=plain(entry.abstract, ABSTRACT),
        authors=tuple(names[:AUTHORS]),
        author_count=entry.author_count or (len(names) if len(names) > AUTHORS else None),
        categories=tuple(dict.fromkeys(c for category in entry.categories if (c := plain(category, NAME))))[
            :CATEGORIES
        ],
        identifiers=tuple(dict.fromkeys(entry.identifiers)),
        links=links,
    )


def collect(
    items: Iterable[T], read: Callable[[T], Entry], where: Callable[[int, T], str] = lambda number, _: f"entry {number}"
) -> tuple[tuple[Entry, ...], tuple[Skipped, ...]]:
    """Reads each item; one that cannot be read is skipped and named, whatever is wrong with its shape."""
    entries: list[Entry] = []
    skipped: list[Skipped] = []
    for number, item in enumerate(items, 1):
        try:
            entries.append(tidy(read(item)))
        except Unreadable as error:
            skipped.append(Skipped(plain(where(number, item), NAME), str(error)))
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
            skipped.append(Skipped(plain(where(number, item), NAME), "it is not in the form this format has"))
    return tuple(entries), tuple(skipped)
