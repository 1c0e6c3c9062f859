"""An item of a feed as an entry, whatever the feed's format: identifiers, people and the day."""

import html
import re
from collections.abc import Iterable
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from services.domain.papers import identifiers
from services.domain.papers.identifiers import RecognisedIdentifier
from services.domain.papers.paper import Entry
from services.domain.text.markup import strip_html

MIN_YEAR = 1990
"""An older date comes from a clock that was never set."""
MAX_TITLE_WORDS = 20
"""Words of the description that serve as the title of an item without one."""
_NAMES = re.compile(r"""https?://[^\s"'<>]+|\b10\.\d{4,9}/[^\s"'<>]+|\barXiv:\s?[^\s"'<>]+""", re.IGNORECASE)
_ADDRESS = re.compile(r"\b(?:https?://|www\.)?(?:[\w-]+\.)+[a-z]{2,}/\S*|https?://\S+", re.IGNORECASE)
_INITIALS = re.compile(r"(?:[A-Z]\.?[ -]?){1,4}")


def make_entry(
    *,
    title: str,
    abstract: str,
    authors: list[str],
    tags: list[str],
    page: str,
    names: list[str],
    pdf: str,
    announced_on: date | None,
    entry_id: str,
) -> Entry:
    """`page`: the item's link. `names`: whatever else may contain an identifier of the paper. Texts are HTML."""
    text, title = strip_html(abstract), strip_html(title)
    recognised = _one_of_each_scheme([page, *names])
    if not title.strip():
        title = _first_words(text)
        recognised = recognised or _named_in(abstract)
    links = {"abstract": page, "pdf": pdf}
    if recognised:
        links |= identifiers.links(recognised[0].identifier)
        links["listing"] = page
    return Entry(
        title=title,
        abstract=text,
        authors=tuple(_people(authors)),
        categories=tuple(strip_html(tag) for tag in tags),
        identifiers=tuple(name.identifier for name in recognised),
        announced_on=announced_on,
        version=next((name.version for name in recognised if name.version), None),
        links={relation: url for relation, url in links.items() if url},
        entry_id=entry_id,
    )


def _one_of_each_scheme(names: Iterable[str]) -> list[RecognisedIdentifier]:
    """The first identifier of each scheme; one that is stated precedes one that is guessed from an address."""
    first: dict[str, RecognisedIdentifier] = {}
    for name in sorted(names, key=identifiers.is_guess):
        if recognised := identifiers.recognise(name):
            known = first.setdefault(recognised.identifier.scheme, recognised)
            if known.identifier == recognised.identifier and not known.version:
                first[recognised.identifier.scheme] = recognised
    return list(first.values())


def _named_in(markup: str) -> list[RecognisedIdentifier]:
    """The paper that a post without a title is about; none when the post names several."""
    found = [identifiers.recognise(name.rstrip(".,;:!?)")) for name in _NAMES.findall(html.unescape(markup))]
    by_scheme: dict[str, set[RecognisedIdentifier]] = {}
    for recognised in found:
        if recognised:
            by_scheme.setdefault(recognised.identifier.scheme, set()).add(recognised)
    return [min(same, key=str) for same in by_scheme.values() if len({one.identifier for one in same}) == 1]


def _first_words(text: str) -> str:
    """What serves as the title of an item without one."""
    words = (_ADDRESS.sub(" ", text).split() or text.split())[: MAX_TITLE_WORDS + 1]
    title = " ".join(words[:MAX_TITLE_WORDS])
    return f"{title} …" if len(words) > MAX_TITLE_WORDS else title


def _people(names: list[str]) -> list[str]:
    """The authors. Many feeds put all of them into one name."""
    names = [strip_html(name) for name in names]
    if len(names) != 1:
        return names
    parts = [part.strip() for part in names[0].split(";") if part.strip()]
    if len(parts) > 1:
        return parts
    parts = [part.strip() for part in re.split(r",(?: and)?\s", names[0]) if part.strip()]
    if len(parts) > 1 and len(parts) % 2 == 0 and all(_INITIALS.fullmatch(part) for part in parts[1::2]):
        return [f"{family}, {initials}" for family, initials in zip(parts[::2], parts[1::2], strict=True)]
    return parts if len(parts) > 1 and all(" " in part for part in parts) else names


def day_of(stamp: str, parsed: Any) -> date | None:
    """The day in the time zone of `stamp`. `parsed`: feedparser's reading in UTC, for rarer notations."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            stated = read(stamp.strip()).date()
            return stated if stated.year >= MIN_YEAR else None
        except (ValueError, TypeError, IndexError):
            continue
    try:
        return date(*parsed[:3]) if parsed and parsed[0] >= MIN_YEAR else None
    except ValueError:
        return None
