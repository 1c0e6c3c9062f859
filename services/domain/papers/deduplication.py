"""Deduplication: which papers an entry proves to be one, which of them is kept, and what it takes from the others."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from services.domain.papers.paper import Entry, Identifier, Paper, merge, same_by_title, title_key


@dataclass(slots=True)
class PaperIndex:
    """Papers by their identifiers and titles."""

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
        """Removes a replaced paper. Its identifiers lead to the kept paper once that one is put again."""
        del self.papers[paper.id]

    def find(self, entry: Entry) -> list[Paper]:
        """The papers that the entry proves to be one; empty when it is none of the index.

        These are the papers that its identifiers name, then those of its title that contradict neither the entry nor
        the papers before. An entry without identifiers cannot merge papers: it is the oldest paper of its title.
        """
        named = list(dict.fromkeys(self._by_identifier.get(identifier) for identifier in entry.identifiers))
        same = [self.papers[id] for id in named if id is not None]
        combined = entry
        for paper in same:
            combined = _with(combined, paper)
        titled = self.papers.keys() & self._by_title.get(title_key(entry.title), ())
        for id in sorted(titled - {paper.id for paper in same}):
            paper = self.papers[id]
            if (entry.identifiers or not same) and same_by_title(paper, combined):
                same.append(paper)
                combined = _with(combined, paper)
        return same


def _with(entry: Entry, paper: Paper) -> Entry:
    """The entry with what is known of its paper, so that a further paper is compared with both."""
    return replace(
        entry,
        identifiers=(*entry.identifiers, *paper.identifiers),
        authors=entry.authors or paper.authors,
        abstract=entry.abstract or paper.abstract,
    )


def choose_kept(papers: Sequence[Paper], already_notified: Collection[int]) -> Paper:
    """Which of the papers that are one is kept: one that was sent to somebody, otherwise the oldest."""
    return min(papers, key=lambda paper: (paper.id not in already_notified, paper.id))


def unite(kept: Paper, replaced: Iterable[Paper]) -> Paper:
    """The kept paper with all that is known of the replaced ones, as if it had been in all their listings."""
    for paper in replaced:
        kept = _unite(kept, paper)
    return kept


def _unite(kept: Paper, replaced: Paper) -> Paper:
    entry = Entry(
        title=replaced.title,
        abstract=replaced.abstract,
        authors=replaced.authors,
        author_count=replaced.author_count if kept.author_count is None else None,
        categories=replaced.categories,
        identifiers=replaced.identifiers,
        published_on=replaced.published_on,
        version=replaced.version,
        upvotes=replaced.upvotes,
        comments=replaced.comments,
        # A withdrawal belongs to a version; a newer version cancels it.
        withdrawn=replaced.withdrawn and replaced.version >= kept.version,
        links={**replaced.links, **kept.links},
    )
    first_seen_at = min(kept.first_seen_at, replaced.first_seen_at)
    return replace(merge(kept, entry, replaced.announced_on), first_seen_at=first_seen_at)
