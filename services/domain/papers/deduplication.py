"""Which papers are one: what an entry proves, and which of them stays."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from services.domain.papers.paper import Entry, Identifier, Paper, merge, same_by_title, title_key


@dataclass(slots=True)
class PaperIndex:
    """Living papers by what they are recognised by."""

    papers: dict[int, Paper] = field(default_factory=dict)
    _by_identifier: dict[Identifier, int] = field(default_factory=dict)
    _by_title: dict[str, list[int]] = field(default_factory=dict)

    def put(self, paper: Paper) -> None:
        self.papers[paper.id] = paper
        for identifier in paper.identifiers:
            self._by_identifier[identifier] = paper.id
        ids = self._by_title.setdefault(title_key(paper.title), [])
        if paper.id not in ids:
            ids.append(paper.id)

    def remove(self, paper: Paper) -> None:
        """Forgets a paper that became another, which has its identifiers now and is to be put anew."""
        del self.papers[paper.id]

    def find(self, entry: Entry) -> list[Paper]:
        """The papers that the entry proves to be one; empty for one that nobody knows.

        They are those that its identifiers name, and those of its title that contradict nothing known by then. An
        entry without identifiers proves nothing: it is the oldest of its title.
        """
        named = list(dict.fromkeys(self._by_identifier.get(identifier) for identifier in entry.identifiers))
        found = [self.papers[one] for one in named if one is not None]
        known = entry
        for paper in found:
            known = _with(known, paper)
        titled = self.papers.keys() & self._by_title.get(title_key(entry.title), ())
        for one in sorted(titled - {paper.id for paper in found}):
            if (entry.identifiers or not found) and same_by_title(self.papers[one], known):
                found.append(self.papers[one])
                known = _with(known, self.papers[one])
        return found


def _with(entry: Entry, paper: Paper) -> Entry:
    """The entry with what is known of the paper that it is, so that a third is compared with both."""
    return replace(
        entry,
        identifiers=(*entry.identifiers, *paper.identifiers),
        authors=entry.authors or paper.authors,
        abstract=entry.abstract or paper.abstract,
    )


def staying(found: Sequence[Paper], told: Collection[int]) -> Paper:
    """Which of the papers that became one stays: one that was sent already (`told`) before one that waits, then the
    oldest.
    """
    return min(found, key=lambda paper: (paper.id not in told, paper.id))


def unite(stays: Paper, goes: Iterable[Paper]) -> Paper:
    """The staying paper with all that is known of the others, as if it had been merged from the listings of all."""
    for other in goes:
        stays = _unite(stays, other)
    return stays


def _unite(stays: Paper, goes: Paper) -> Paper:
    entry = Entry(
        title=goes.title,
        abstract=goes.abstract,
        authors=goes.authors,
        author_count=goes.author_count if stays.author_count is None else None,
        categories=goes.categories,
        identifiers=goes.identifiers,
        published_on=goes.published_on,
        version=goes.version,
        upvotes=goes.upvotes,
        comments=goes.comments,
        # A withdrawal is the word of a version: an older one's is lifted by a newer.
        withdrawn=goes.withdrawn and goes.version >= stays.version,
        links={**goes.links, **stays.links},
    )
    return replace(merge(stays, entry, goes.announced_on), first_seen_at=min(stays.first_seen_at, goes.first_seen_at))
