"""Deduplication: which papers an entry proves to be one, which of them is kept, and what it takes from the others."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from services.domain.papers.paper import Entry, Identifier, Paper, TextRule, contradict, merge, same_by_title, title_key

SCHEMES_WITH_OWN_SOURCES = frozenset(["arxiv", "doi"])
MAX_ENTRY_IDS = 50
"""Ids kept of one paper in one feed: some feeds make new ids for each answer."""


@dataclass(slots=True)
class PaperIndex:
    """Papers by their identifiers and titles."""

    papers: dict[int, Paper] = field(default_factory=dict)
    _by_identifier: dict[Identifier, int] = field(default_factory=dict)
    _by_title: dict[str, list[int]] = field(default_factory=dict)
    entry_ids: dict[tuple[int, int], tuple[str, ...]] = field(default_factory=dict)
    """By paper id and source id, the ids of the entries that a feed listed the paper as."""

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

    def add_entry_id(self, paper_id: int, source_id: int, entry_id: str) -> None:
        known = self.entry_ids.get((paper_id, source_id), ())
        if entry_id and entry_id not in known:
            self.entry_ids[paper_id, source_id] = (*known, entry_id)[-MAX_ENTRY_IDS:]

    def move_entry_ids(self, kept: int, replaced: Collection[int]) -> None:
        for paper_id, source_id in [key for key in self.entry_ids if key[0] in replaced]:
            for entry_id in self.entry_ids.pop((paper_id, source_id)):
                self.add_entry_id(kept, source_id, entry_id)

    def find(self, entry: Entry, source_id: int = 0) -> list[Paper]:
        """The papers that the entry proves to be one; empty when it is none of the index.

        These are the papers that its identifiers name, then those of its title that contradict neither the entry nor
        the papers before. An entry without identifiers cannot merge papers: it is the oldest paper of its title.
        Title and author decide between feeds only: two entries that one feed gives different ids are two papers.
        """
        named = list(dict.fromkeys(self._by_identifier.get(identifier) for identifier in entry.identifiers))
        same = [self.papers[id] for id in named if id is not None]
        combined = entry
        for paper in same:
            combined = _with(combined, paper)
        titled = self.papers.keys() & self._by_title.get(title_key(entry.title), ())
        for id in sorted(titled - {paper.id for paper in same}):
            paper = self.papers[id]
            if (entry.identifiers or not same) and self._same_by_title(paper, combined, source_id):
                same.append(paper)
                combined = _with(combined, paper)
        return same

    def _same_by_title(self, paper: Paper, entry: Entry, source_id: int) -> bool:
        feed = entry.entry_id.partition(":")[0]
        of_feed = [id for id in self.entry_ids.get((paper.id, source_id), ()) if id.partition(":")[0] == feed]
        if not entry.entry_id or not of_feed:
            return same_by_title(paper, entry)
        if entry.entry_id in of_feed:
            return title_key(paper.title) == title_key(entry.title) and not contradict(
                paper.identifiers, entry.identifiers
            )
        return _differs_only_in_id(paper, entry)


def _differs_only_in_id(paper: Paper, entry: Entry) -> bool:
    """Whether nothing but its id tells the entry from the paper: some feeds make new ids for each answer."""
    return (
        (paper.title, paper.abstract, paper.authors) == (entry.title, entry.abstract, entry.authors)
        and paper.links.get("abstract") == entry.links.get("abstract")
        and entry.announced_on in (None, paper.announced_on)
    )


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


def unite(kept: Paper, replaced: Iterable[Paper], own_text: Collection[int] = ()) -> Paper:
    """The kept paper with all that is known of the replaced ones, as if it had been in all their listings.

    `own_text`: the ids of the papers whose text is of the work's own kind of source.
    """
    has_own_text = kept.id in own_text
    for paper in replaced:
        entry_is_own = paper.id in own_text
        kept = _unite(kept, paper, text_rule(kept, has_own_text=has_own_text, entry_is_own=entry_is_own))
        has_own_text = has_own_text or entry_is_own
    return kept


def text_rule(paper: Paper, *, has_own_text: bool, entry_is_own: bool) -> TextRule:
    """Which text is kept. Only the work's own kind of source may rewrite a paper that has an arXiv id or a DOI.

    `has_own_text`: the paper's text is of that kind. `entry_is_own`: the entry is.
    """
    if entry_is_own:
        return TextRule.NEWER if has_own_text else TextRule.REPLACE
    if has_own_text:
        return TextRule.KEEP
    has_own_kind = any(identifier.scheme in SCHEMES_WITH_OWN_SOURCES for identifier in paper.identifiers)
    return TextRule.FILL if has_own_kind else TextRule.NEWER


def _unite(kept: Paper, replaced: Paper, rule: TextRule) -> Paper:
    entry = Entry(
        title=replaced.title,
        abstract=replaced.abstract,
        authors=replaced.authors,
        author_count=replaced.author_count if kept.author_count is None or rule is TextRule.REPLACE else None,
        categories=replaced.categories,
        identifiers=replaced.identifiers,
        published_on=replaced.published_on,
        version=replaced.version,
        upvotes=replaced.upvotes,
        comments=replaced.comments,
        # A withdrawal belongs to a version; a newer version cancels it.
        withdrawn=replaced.withdrawn and (rule is TextRule.REPLACE or replaced.version >= kept.version),
        links=replaced.links if rule is TextRule.REPLACE else {**replaced.links, **kept.links},
    )
    first_seen_at = min(kept.first_seen_at, replaced.first_seen_at)
    return replace(merge(kept, entry, replaced.announced_on, rule), first_seen_at=first_seen_at)
