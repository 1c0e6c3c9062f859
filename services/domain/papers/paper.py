"""Papers, listings and what makes two records one paper."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import Enum, auto
from functools import lru_cache

from services.domain.sources.feed_hints import NO_HINTS, FeedHints
from services.domain.text.latex import readable
from services.domain.text.tokens import fold

STRONG_SCHEMES = ("arxiv", "doi", "openreview")
TITLE_WORDS_THAT_IDENTIFY = 5
ABSTRACT_WORDS_THAT_IDENTIFY = 12
UPVOTE_STEPS = (5, 10, 25, 50, 100)


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """An id that one scheme gives to one work: `arxiv` (without version), `doi` (lower case) or `openreview`."""

    scheme: str
    value: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One paper as one listing states it, as plain text without markup. None: the listing does not state it."""

    title: str
    abstract: str = ""
    authors: tuple[str, ...] = ()
    author_count: int | None = None
    categories: tuple[str, ...] = ()
    identifiers: tuple[Identifier, ...] = ()
    announced_on: date | None = None
    published_on: date | None = None
    version: int | None = None
    replacement: bool = False
    """Listed for a new version or a correction, not for being new. It causes no event if it was never announced."""
    upvotes: int | None = None
    comments: int | None = None
    withdrawn: bool = False
    links: Mapping[str, str] = field(default_factory=dict)
    """By relation (`abstract`, `pdf`, `code`, `project`, `listing`), an http(s) URL."""
    entry_id: str = ""
    """What a feed calls the entry (guid, atom:id): `domain.papers.entries.entry_id` makes it. Empty: it has no id."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry that could not be read."""

    where: str
    """What identifies it: `entry 7`, an id or a title."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a source answered at one time."""

    format: str
    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...] = ()
    announced_on: date | None = None
    announced: int | None = None
    """The source's own count of the announcement; None when it states none."""
    title: str = ""
    next_url: str = ""
    """The address of the next page of the same answer; empty on the last page."""
    feed_hints: FeedHints = NO_HINTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """A paper as the archive stores it, merged from all its listings."""

    id: int
    title: str
    abstract: str = ""
    authors: tuple[str, ...] = ()
    author_count: int | None = None
    categories: tuple[str, ...] = ()
    identifiers: tuple[Identifier, ...] = ()
    sources: tuple[str, ...] = ()
    """Kinds of the sources it appeared in."""
    announced_on: date
    published_on: date | None = None
    first_seen_at: datetime
    version: int = 1
    upvotes: int = 0
    comments: int = 0
    withdrawn: bool = False
    links: Mapping[str, str] = field(default_factory=dict)


def upvote_step(upvotes: int) -> int:
    """How many of `UPVOTE_STEPS` the upvotes reach: 0 below 5 upvotes."""
    return sum(upvotes >= step for step in UPVOTE_STEPS)


# Cached since an ingestion computes the key of each title several times.
@lru_cache(maxsize=1 << 12)
def title_key(title: str) -> str:
    """The title's words without case, accents, LaTeX and punctuation: equal for two spellings of one title."""
    return fold(readable(title))


def family_name(author: str) -> str:
    """The folded family name of `Given Family` or `Family, Given`; empty for an empty name."""
    name = author.split(",", 1)[0] if "," in author else author
    folded = fold(readable(name)).split()
    return folded[-1] if folded else ""


def contradict(a: tuple[Identifier, ...], b: tuple[Identifier, ...]) -> bool:
    """Whether the two have different ids of one scheme and none in common. Similar titles do not outweigh that."""
    schemes = {identifier.scheme for identifier in a} & {identifier.scheme for identifier in b}
    return not schemes <= {identifier.scheme for identifier in set(a) & set(b)}


def begin_alike(a: str, b: str) -> bool:
    """Whether one abstract is the other, perhaps cut short. A dozen words are too few to decide."""
    short, long = sorted((fold(a).split(), fold(b).split()), key=len)
    # The last word may be cut in the middle.
    return len(short) > ABSTRACT_WORDS_THAT_IDENTIFY and long[: len(short) - 1] == short[:-1]


def same_by_title(paper: Paper, entry: Entry) -> bool:
    """Whether title and first author prove the two to be one paper, for when no identifier decides.

    When one side has no authors, one of these must hold: the title has five words or more (short titles recur), the
    abstracts begin alike, or both link to one page, which a feed lists again.
    """
    key = title_key(entry.title)
    if not key or key != title_key(paper.title) or contradict(paper.identifiers, entry.identifiers):
        return False
    if paper.authors and entry.authors:
        return family_name(paper.authors[0]) == family_name(entry.authors[0])
    page = entry.links.get("abstract")
    if page and page == paper.links.get("abstract"):
        return True
    return len(key.split()) >= TITLE_WORDS_THAT_IDENTIFY or begin_alike(paper.abstract, entry.abstract)


def first_paper(entry: Entry, paper_id: int, announced_on: date, now: datetime) -> Paper:
    """The paper of an entry that is no known paper."""
    return Paper(
        id=paper_id,
        title=entry.title,
        abstract=entry.abstract,
        authors=entry.authors,
        author_count=entry.author_count,
        categories=entry.categories,
        identifiers=entry.identifiers,
        announced_on=announced_on,
        published_on=entry.published_on,
        first_seen_at=now,
        version=entry.version or 1,
        upvotes=entry.upvotes or 0,
        comments=entry.comments or 0,
        withdrawn=entry.withdrawn,
        links=dict(entry.links),
    )


class TextRule(Enum):
    """What one more listing may change of a paper's text, version, withdrawal and links."""

    NEWER = auto()
    """A newer version replaces the text; otherwise the longer text is kept, since some pages cut abstracts short."""
    REPLACE = auto()
    """The listing is of the work's own kind of source, the paper's text is not: the listing's text is taken."""
    FILL = auto()
    """Neither is of the work's own kind of source: what is missing or cut short is completed."""
    KEEP = auto()
    """The paper's text is of the work's own kind of source, the listing is not: the paper's text stays."""


def merge(paper: Paper, entry: Entry, announced_on: date, rule: TextRule = TextRule.NEWER) -> Paper:
    """The paper with what one more listing states of it; equal to `paper` when the entry states nothing new.

    `rule` says which text is kept. Counts only grow, and the earliest announcement day is kept.
    """
    paper = _MERGE_TEXT[rule](paper, entry)
    return replace(
        paper,
        categories=(*paper.categories, *(c for c in entry.categories if c not in paper.categories)),
        identifiers=(*paper.identifiers, *(i for i in entry.identifiers if i not in paper.identifiers)),
        announced_on=min(paper.announced_on, announced_on),
        published_on=paper.published_on or entry.published_on,
        upvotes=max(paper.upvotes, entry.upvotes or 0),
        comments=max(paper.comments, entry.comments or 0),
    )


def _take_newer_text(paper: Paper, entry: Entry) -> Paper:
    newer = (entry.version or 1) > paper.version
    fuller = len(entry.abstract) > len(paper.abstract)
    return replace(
        paper,
        title=entry.title if newer else paper.title,
        abstract=entry.abstract if entry.abstract and (newer or fuller) else paper.abstract,
        authors=entry.authors if entry.authors and (newer or not paper.authors) else paper.authors,
        author_count=paper.author_count if entry.author_count is None else entry.author_count,
        version=max(paper.version, entry.version or 1),
        withdrawn=entry.withdrawn or (paper.withdrawn and not newer),
        links={**paper.links, **entry.links},
    )


def _replace_text(paper: Paper, entry: Entry) -> Paper:
    return replace(
        paper,
        title=entry.title,
        abstract=entry.abstract or paper.abstract,
        authors=entry.authors or paper.authors,
        author_count=entry.author_count if entry.authors else paper.author_count,
        version=entry.version or 1,
        withdrawn=entry.withdrawn,
        links={**paper.links, **entry.links},
    )


def _fill_text(paper: Paper, entry: Entry) -> Paper:
    return replace(
        paper,
        abstract=entry.abstract if _completes(entry.abstract, paper.abstract) else paper.abstract,
        authors=paper.authors or entry.authors,
        author_count=entry.author_count if paper.author_count is None and not paper.authors else paper.author_count,
        links={**entry.links, **paper.links},
    )


def _keep_text(paper: Paper, entry: Entry) -> Paper:
    return replace(paper, links={**entry.links, **paper.links})


def _completes(abstract: str, known: str) -> bool:
    """Whether the abstract is the known one in full; a known one of a few words counts as none."""
    if len(abstract) <= len(known):
        return False
    return len(fold(known).split()) <= ABSTRACT_WORDS_THAT_IDENTIFY or begin_alike(known, abstract)


_MERGE_TEXT = {
    TextRule.NEWER: _take_newer_text,
    TextRule.REPLACE: _replace_text,
    TextRule.FILL: _fill_text,
    TextRule.KEEP: _keep_text,
}


def events_of_appearance(
    before: Paper | None, after: Paper, *, announced: bool, same_source: bool, steps: frozenset[int]
) -> frozenset[str]:
    """The events of one appearance that is not silent, as `event.what` names them.

    `announced`: the paper had an appearance before that was not silent. `same_source`: it had one in this source.
    `steps`: the numbers of upvotes that subscriptions ask for, besides `UPVOTE_STEPS`. A new version is no event.
    """
    if before is None or not announced:
        return frozenset({"new"})
    events = set()
    if not same_source:
        events.add("source")
    if len(after.categories) > len(before.categories):
        events.add("category")
    if any(before.upvotes < step <= after.upvotes for step in steps.union(UPVOTE_STEPS)):
        events.add("upvotes")
    return frozenset(events)
