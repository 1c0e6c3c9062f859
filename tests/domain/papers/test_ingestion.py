"""Ingesting several listings together gives the same result as ingesting them one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.papers.ingestion import Counts, IngestBatch, SilenceBySource
from services.domain.papers.paper import Entry, Identifier, Paper

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = date(2026, 3, 2)
TITLES = ("On the growth of very small worlds", "Tea", "A long and winding road to nowhere at all")
IDENTIFIERS = [Identifier("arxiv", str(n)) for n in range(2)] + [Identifier("doi", str(n)) for n in range(2)]
KINDS = {1: "arxiv", 2: "feed"}


def publishes(kind: str, identifier: Identifier) -> bool:
    return kind == identifier.scheme


@dataclass
class Archive:
    """What the store keeps, as far as an ingest batch reads it."""

    papers: dict[int, Paper] = field(default_factory=dict)
    silence: dict[int, SilenceBySource] = field(default_factory=dict)
    merged_into: dict[int, int] = field(default_factory=dict)
    events: list[tuple[int, str]] = field(default_factory=list)
    days: dict[tuple[int, int], date] = field(default_factory=dict)
    entry_ids: dict[tuple[int, int], tuple[str, ...]] = field(default_factory=dict)

    def batch(self, ids: Iterator[int], notified: frozenset[int]) -> IngestBatch:
        papers = {
            id: replace(paper, sources=tuple(KINDS[source] for source in self.silence.get(id, ())))
            for id, paper in self.papers.items()
        }
        steps = frozenset({3})
        return IngestBatch(papers, self.silence, ids, notified.intersection, steps, NOW, self.entry_ids, publishes)

    def write(self, batch: IngestBatch) -> None:
        for paper in (*batch.new_papers(), *batch.changed_papers()):
            self.papers[paper.id] = replace(paper, sources=())
        for (paper_id, source), appearance in batch.appearances().items():
            by_source = self.silence.setdefault(paper_id, {})
            by_source[source] = appearance.silent and by_source.get(source, True)
            self.days.setdefault((paper_id, source), appearance.day)
            self.entry_ids[paper_id, source] = appearance.entry_ids
        for replaced, kept in sorted(batch.merged_papers().items()):
            del self.papers[replaced]
            for source, silent in self.silence.pop(replaced, {}).items():
                self.silence[kept][source] = silent and self.silence[kept].get(source, True)
                day = self.days.pop((replaced, source))
                self.days[kept, source] = min(day, self.days.get((kept, source), day))
                ids = self.entry_ids.get((kept, source), ()), self.entry_ids.pop((replaced, source), ())
                self.entry_ids[kept, source] = tuple(dict.fromkeys([*ids[0], *ids[1]]))
            moved = {old: kept if new == replaced else new for old, new in self.merged_into.items()}
            self.merged_into = moved | {replaced: kept}
        self.events += batch.events()

    def current_events(self) -> set[tuple[int, str]]:
        return {(self.merged_into.get(paper_id, paper_id), what) for paper_id, what in self.events}


entries = st.builds(
    Entry,
    title=st.sampled_from(TITLES),
    authors=st.sampled_from([(), ("Ada Lovelace",), ("Emmy Noether",)]),
    abstract=st.sampled_from(["", "Short.", "A much longer abstract of the same paper."]),
    identifiers=st.lists(st.sampled_from(IDENTIFIERS), max_size=2, unique=True).map(tuple),
    version=st.sampled_from([None, 1, 2]),
    upvotes=st.sampled_from([None, 2, 4, 30]),
    categories=st.sampled_from([(), ("cs.LG",), ("cs.CL", "cs.LG")]),
    replacement=st.booleans(),
    announced_on=st.sampled_from([DAY, DAY - timedelta(days=1)]),
    withdrawn=st.booleans(),
    entry_id=st.sampled_from(["", "feed:1", "feed:2", "other:1"]),
)
listings = st.lists(
    st.tuples(st.integers(1, 2), st.lists(entries, min_size=1, max_size=3), st.booleans()), min_size=2, max_size=4
)
Readings = Sequence[tuple[int, list[Entry], bool]]


def read(batch: IngestBatch, source: int, listing: list[Entry], silent: bool) -> Counts:
    days = [(entry, entry.announced_on or DAY) for entry in listing]
    return batch.read(source, days, silent=silent, kind=KINDS[source])


def one_by_one(known: Readings, given: Readings, notified: frozenset[int]) -> tuple[Archive, list[Counts]]:
    archive, ids, counts = Archive(), count(1), []
    for reading in (*known, *given):
        batch = archive.batch(ids, notified)
        counts.append(read(batch, *reading))
        archive.write(batch)
    return archive, counts[len(known) :]


def together(known: Readings, given: Readings, notified: frozenset[int]) -> tuple[Archive, list[Counts]]:
    archive, ids = Archive(), count(1)
    for reading in known:
        batch = archive.batch(ids, notified)
        read(batch, *reading)
        archive.write(batch)
    batch = archive.batch(ids, notified)
    counts = [read(batch, *reading) for reading in given]
    archive.write(batch)
    return archive, counts


def known_entry_ids(archive: Archive) -> dict[tuple[int, int], set[str]]:
    return {key: set(ids) for key, ids in archive.entry_ids.items() if ids}


@settings(max_examples=400, deadline=None)
@given(listings, listings, st.frozensets(st.integers(1, 4)))
def test_listings_read_together_give_the_same_as_one_by_one(
    known: Readings, given: Readings, notified: frozenset[int]
) -> None:
    alone, counted_alone = one_by_one(known, given, notified)
    both, counted = together(known, given, notified)
    assert both.papers == alone.papers
    assert both.silence == alone.silence
    assert known_entry_ids(both) == known_entry_ids(alone)
    assert both.current_events() == alone.current_events()
    assert counted == counted_alone


def test_a_paper_in_two_listings_is_new_once_and_then_known() -> None:
    entry = Entry(title="Tea", identifiers=(IDENTIFIERS[0],))
    archive = Archive()
    batch = archive.batch(count(1), frozenset())
    first, second = read(batch, 1, [entry], False), read(batch, 2, [replace(entry, upvotes=7)], False)
    archive.write(batch)
    assert (first.new, second.new, second.known, second.updated) == (1, 0, 1, 1)
    assert [paper.upvotes for paper in archive.papers.values()] == [7]
    assert archive.events == [(1, "new"), (1, "source"), (1, "upvotes")]
