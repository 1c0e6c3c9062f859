"""Entries of a listing: the same limits and the same treatment of damaged items for every source."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import blake2s
from typing import TypeVar

from services.domain.papers.paper import Entry, Skipped
from services.domain.text.markup import plain, safe_link

MAX_TITLE = 500
"""Characters, as are the next two."""
MAX_ABSTRACT = 20_000
MAX_NAME = 200
MAX_AUTHORS = 2_000
MAX_CATEGORIES = 50

T = TypeVar("T")


class Unreadable(ValueError):
    """An item that is no paper; the message states the reason for people."""


def entry_id(feed: str, item: str) -> str:
    """What a feed calls an item, in a short form that ids of other feeds cannot equal; empty when it has no id.

    `feed`: what distinguishes the feed from others, such as its home page. `item`: guid or atom:id, or the item's link.
    """
    if not item.strip():
        return ""
    return ":".join(blake2s(_without_tracking(text).encode(), digest_size=8).hexdigest() for text in (feed, item))


def _without_tracking(text: str) -> str:
    """A link without what may change while it leads to the same page."""
    address = re.sub(r"^https?://(?:www\.)?", "", text.strip(), flags=re.IGNORECASE)
    if address == text.strip():
        return address
    return re.sub(r"(?<=[?&])utm_\w+=[^&#]*&?|#.*", "", address).rstrip("?&/")


def tidy(entry: Entry) -> Entry:
    """The entry with every text on one line and within its limit, and only safe links. Raises Unreadable untitled."""
    title = plain(entry.title, MAX_TITLE)
    if not title:
        raise Unreadable("it has no title")
    names = [name for author in entry.authors if (name := plain(author, MAX_NAME))]
    categories = [name for category in entry.categories if (name := plain(category, MAX_NAME))]
    links = {relation: link for relation, url in entry.links.items() if (link := safe_link(url))}
    return replace(
        entry,
        title=title,
        abstract=plain(entry.abstract, MAX_ABSTRACT),
        authors=tuple(names[:MAX_AUTHORS]),
        author_count=entry.author_count or (len(names) if len(names) > MAX_AUTHORS else None),
        categories=tuple(dict.fromkeys(categories))[:MAX_CATEGORIES],
        identifiers=tuple(dict.fromkeys(entry.identifiers)),
        links=links,
    )


def collect(
    items: Iterable[T],
    read: Callable[[T], Entry],
    name: Callable[[int, T], str] = lambda number, _: f"entry {number}",
) -> tuple[tuple[Entry, ...], tuple[Skipped, ...]]:
    """The entries that `read` makes of the items. An item that it cannot read is skipped; `name` identifies it."""
    entries: list[Entry] = []
    skipped: list[Skipped] = []
    for number, item in enumerate(items, 1):
        try:
            entries.append(tidy(read(item)))
        except Unreadable as error:
            skipped.append(Skipped(plain(name(number, item), MAX_NAME), str(error)))
        # Whatever is wrong with the shape of one item must not cost the others.
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
            skipped.append(Skipped(plain(name(number, item), MAX_NAME), "it is not in the form this format has"))
    return tuple(entries), tuple(skipped)
