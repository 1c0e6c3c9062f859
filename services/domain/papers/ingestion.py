"""Ingestion of several listings in memory: which paper each entry is, which papers are merged, which events occur."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import chain

from services.domain.papers.deduplication import PaperIndex, choose_kept, text_rule, unite
from services.domain.papers.paper import Entry, Identifier, Paper, events_of_appearance, first_paper, merge

SilenceBySource = dict[int, bool]
"""By source id, whether a paper's appearance there was silent."""
Publishes = Callable[[str, Identifier], bool]
"""Whether a kind of source is the own source of the works with an identifier, as `arxiv` is of arXiv ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What one listing brought. `found` = `new` + `known` entries; `updated` of the known papers changed."""

    found: int
    new: int
    known: int
    updated: int


@dataclass(frozen=True, slots=True)
class Appearance:
    """A paper in a source, on the day of the first listing."""

    day: date
    silent: bool
    entry_ids: tuple[str, ...] = ()
    """What the feed calls the paper's entries."""

    def and_then(self, later: "Appearance") -> "Appearance":
        return Appearance(self.day, self.silent and later.silent)


class IngestBatch:
    """The papers of several listings that are written together."""

    def __init__(
        self,
        archive: Mapping[int, Paper],
        silence: Mapping[int, SilenceBySource],
        new_ids: Iterator[int],
        already_notified: Callable[[list[int]], Collection[int]],
        upvote_steps: frozenset[int],
        now: datetime,
        entry_ids: Mapping[tuple[int, int], tuple[str, ...]] | None = None,
        publishes: Publishes = lambda kind, identifier: False,
    ) -> None:
        """`archive`: every stored paper that an entry could be, by id. `silence`: their appearances, by paper id.

        `already_notified` returns those of the given papers that were sent to somebody. `upvote_steps` are the numbers
        of upvotes that some subscription asks for. `entry_ids`: by paper id and source id, the ids that feeds gave.
        """
        self._archive = dict(archive)
        self._index = PaperIndex()
        for paper in archive.values():
            self._index.put(paper)
        self._index.entry_ids.update(entry_ids or {})
        self._publishes = publishes
        self._kinds = {paper.id: set(paper.sources) for paper in archive.values()}
        """By paper id, the kinds of the sources that listed it."""
        self._merged_into: dict[int, int] = {}
        """Replaced papers, with the papers kept instead. Some of either were never in the archive."""
        self._silence: dict[int, SilenceBySource] = {id: dict(by_source) for id, by_source in silence.items()}
        self._new_ids, self._already_notified = new_ids, already_notified
        self._upvote_steps, self._now = upvote_steps, now
        self._appearances: dict[tuple[int, int], Appearance] = {}
        self._events: dict[tuple[int, str], None] = {}
        self._listed: dict[int, None] = {}

    # ── one listing after the other ───────────────────────────────────────────────────────────────────────────

    def read(self, source_id: int, entries: Iterable[tuple[Entry, date]], *, silent: bool, kind: str = "") -> Counts:
        """Adds the entries of one listing, each with its announcement day. A silent listing causes no events.

        `kind` is that of the source.
        """
        result, count = _ListingResult(source_id=source_id, kind=kind), 0
        for entry, day in entries:
            count += 1
            self._add_entry(result, entry, day)
        if not silent:
            for id in result.days:
                for event in sorted(self._events_of(result, id, source_id)):
                    self._events[id, event] = None
        self._record_appearances(result, source_id, silent=silent)
        new = len(result.days.keys() & result.created)
        updated = sum(self._was_updated(result, id) for id in result.days)
        return Counts(found=count, new=new, known=count - new, updated=updated)

    def _add_entry(self, result: "_ListingResult", entry: Entry, day: date) -> None:
        same = self._index.find(entry, result.source_id)
        entry_is_own = any(self._publishes(result.kind, identifier) for identifier in entry.identifiers)
        if not same:
            paper = first_paper(entry, next(self._new_ids), day, self._now)
            result.created.add(paper.id)
        else:
            for known in same:
                result.before.setdefault(known.id, known)
            paper = same[0] if len(same) == 1 else self._merge_papers(result, same)
            rule = text_rule(paper, has_own_text=self._has_own_text(paper), entry_is_own=entry_is_own)
            paper = merge(paper, entry, day, rule)
        self._index.put(paper)
        self._index.add_entry_id(paper.id, result.source_id, entry.entry_id)
        self._kinds.setdefault(paper.id, set()).add(result.kind)
        result.days[paper.id] = min(day, result.days.get(paper.id, day))
        if not entry.replacement:
            result.listed_as_new.add(paper.id)

    def _merge_papers(self, result: "_ListingResult", papers: list[Paper]) -> Paper:
        """Merges papers that are one, and returns the kept paper."""
        kept = choose_kept(papers, self._already_notified([paper.id for paper in papers]))
        replaced = {paper.id: paper for paper in papers if paper.id != kept.id}
        for paper in replaced.values():
            self._index.remove(paper)
        _add_merges(self._merged_into, replaced, kept.id)
        _add_merges(result.merged_into, replaced.keys() - result.created, kept.id)
        if result.listed_as_new & replaced.keys():
            result.listed_as_new.add(kept.id)
        days = [result.days.pop(id) for id in (kept.id, *replaced) if id in result.days]
        if days:
            result.days[kept.id] = min(days)
        self._index.move_entry_ids(kept.id, replaced)
        own_text = {paper.id for paper in papers if self._has_own_text(paper)}
        self._kinds[kept.id].update(*(self._kinds.pop(id) for id in replaced))
        return unite(kept, replaced.values(), own_text)

    def _has_own_text(self, paper: Paper) -> bool:
        """Whether the work's own kind of source has listed the paper."""
        kinds = self._kinds[paper.id]
        return any(self._publishes(kind, identifier) for kind in kinds for identifier in paper.identifiers)

    def _was_updated(self, result: "_ListingResult", id: int) -> bool:
        before = None if id in result.created else result.before[id]
        return before is not None and (self._index.papers[id] != before or id in result.merged_into.values())

    def _events_of(self, result: "_ListingResult", id: int, source_id: int) -> frozenset[str]:
        own = self._silence.get(id, {})
        merged = [self._silence.get(replaced, {}) for replaced, kept in result.merged_into.items() if kept == id]
        # A paper that this source listed silently before does not become new when it is listed again; its upvotes may.
        announced = source_id in own or not all(chain(own.values(), *(by_source.values() for by_source in merged)))
        if not announced and id not in result.listed_as_new:
            return frozenset()  # It was announced long before the source was added.
        before = None if id in result.created else result.before[id]
        return events_of_appearance(
            before,
            self._index.papers[id],
            announced=announced,
            same_source=source_id in own and all(by_source.keys() <= own.keys() for by_source in merged),
            steps=self._upvote_steps,
        )

    def _record_appearances(self, result: "_ListingResult", source_id: int, *, silent: bool) -> None:
        for replaced, kept in result.merged_into.items():
            _add_silence(self._silence.setdefault(kept, {}), self._silence.pop(replaced, {}))
        for id, day in result.days.items():
            by_source = self._silence.setdefault(id, {})
            appearance = Appearance(day, by_source.get(source_id, silent or id not in result.listed_as_new))
            by_source[source_id] = appearance.silent
            earlier = self._appearances.get((id, source_id))
            self._appearances[id, source_id] = earlier.and_then(appearance) if earlier else appearance
        self._listed |= dict.fromkeys(result.days)

    # ── what is to be written ─────────────────────────────────────────────────────────────────────────────────

    def papers(self) -> list[Paper]:
        """The papers that a listing had, in their final form."""
        return [self._index.papers[id] for id in dict.fromkeys(map(self._current_id, self._listed))]

    def new_papers(self) -> list[Paper]:
        return [paper for paper in self.papers() if paper.id not in self._archive]

    def changed_papers(self) -> list[Paper]:
        """The papers of the archive that changed, or with which another one was merged."""
        kept_ids = set(self.merged_papers().values())
        known = (paper for paper in self.papers() if paper.id in self._archive)
        return [paper for paper in known if paper != self._archive[paper.id] or paper.id in kept_ids]

    def papers_with_new_text(self) -> list[Paper]:
        """The papers of the archive whose title or abstract changed."""
        pairs = ((paper, self._archive[paper.id]) for paper in self.changed_papers())
        return [after for after, before in pairs if (after.title, after.abstract) != (before.title, before.abstract)]

    def merged_papers(self) -> dict[int, int]:
        """The papers of the archive that were replaced, with the papers kept instead."""
        return {replaced: kept for replaced, kept in self._merged_into.items() if replaced in self._archive}

    def appearances(self) -> dict[tuple[int, int], Appearance]:
        """By (paper id, source id)."""
        current: dict[tuple[int, int], Appearance] = {}
        for (id, source_id), appearance in self._appearances.items():
            key = (self._current_id(id), source_id)
            current[key] = current[key].and_then(appearance) if key in current else appearance
        ids = self._index.entry_ids
        return {key: replace(value, entry_ids=ids[key]) if key in ids else value for key, value in current.items()}

    def events(self) -> list[tuple[int, str]]:
        """Pairs of a paper id and what happened, as `event.what` names it."""
        return list(dict.fromkeys((self._current_id(id), event) for id, event in self._events))

    def _current_id(self, id: int) -> int:
        return self._merged_into.get(id, id)


@dataclass(slots=True)
class _ListingResult:
    """What one listing of an `IngestBatch` did."""

    source_id: int
    kind: str
    days: dict[int, date] = field(default_factory=dict)
    """The listed papers with their announcement days."""
    before: dict[int, Paper] = field(default_factory=dict)
    """The known papers among those, as they were before the listing."""
    created: set[int] = field(default_factory=set)
    merged_into: dict[int, int] = field(default_factory=dict)
    """Older papers that the listing proved to be the same as others, with the papers kept instead."""
    listed_as_new: set[int] = field(default_factory=set)
    """The other papers are listed only for a new version or a correction."""


def _add_merges(merged_into: dict[int, int], replaced: Iterable[int], kept: int) -> None:
    """Records that `kept` replaces the `replaced` papers, and those that they replaced earlier."""
    ids = set(replaced)
    for old, new in merged_into.items():
        if new in ids:
            merged_into[old] = kept
    merged_into.update(dict.fromkeys(ids, kept))


def _add_silence(silence: SilenceBySource, more: SilenceBySource) -> None:
    for source_id, silent in more.items():
        silence[source_id] = silent and silence.get(source_id, True)
