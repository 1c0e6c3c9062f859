"""Reading several listings at once is reading one after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.papers.ingestion import Counts, SilenceBySource, IngestBatch
from services.domain.papers.paper import Entry, Identifier, Paper

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = date(2026, 3, 2)
TITLES = ("On the growth of very small worlds", "Tea", "A long and winding road to nowhere at all")
IDENTIFIERS = [Identifier("arxiv", str(n)) for n in range(2)] + [Identifier("doi", str(n)) for n in range(2)]


@dataclass
class Archive:
    """What the store keeps, as far as a desk reads it."""

    papers: dict[int, Paper] = field(default_factory=dict)
    heard: dict[int, SilenceBySource] = field(default_factory=dict)
    became: dict[int, int] = field(default_factory=dict)
    events: list[tuple[int, str]] = field(default_factory=list)
    days: dict[tuple[int, int], date] = field(default_factory=dict)

    def desk(self, ids: Iterator[int], told: frozenset[int]) -> IngestBatch:
        return IngestBatch(self.papers, self.heard, ids, lambda some: told.intersection(some), frozenset({3}), NOW)

    def keep(self, desk: IngestBatch) -> None:
        for one in (*desk.new(), *desk.changed()):
            self.papers[one.id] = one
        for (one, source), appearance in desk.appearances().items():
            mine = self.heard.setdefault(one, {})
            mine[source] = appearance.silent and mine.get(source, True)
            self.days.setdefault((one, source), appearance.day)
        for goes, stays in sorted(desk.merged().items()):
            del self.papers[goes]
            for source, silent in self.heard.pop(goes, {}).items():
                self.heard[stays][source] = silent and self.heard[stays].get(source, True)
                day = self.days.pop((goes, source))
                self.days[stays, source] = min(day, self.days.get((stays, source), day))
            self.became = {old: stays if new == goes else new for old, new in self.became.items()} | {goes: stays}
        self.events += desk.events()

    def told_of(self) -> set[tuple[int, str]]:
        return {(self.became.get(one, one), what) for one, what in self.events}


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
)
listings = st.lists(
    st.tuples(st.integers(1, 2), st.lists(entries, min_size=1, max_size=3), st.booleans()), min_size=2, max_size=4
)
Readings = Sequence[tuple[int, list[Entry], bool]]


def read(desk: IngestBatch, source: int, listing: list[Entry], silent: bool) -> Counts:
    return desk.read(source, [(entry, entry.announced_on or DAY) for entry in listing], silent=silent)


def one_by_one(known: Readings, given: Readings, told: frozenset[int]) -> tuple[Archive, list[Counts]]:
    archive, ids, counts = Archive(), count(1), []
    for reading in (*known, *given):
        desk = archive.desk(ids, told)
        counts.append(read(desk, *reading))
        archive.keep(desk)
    return archive, counts[len(known) :]


def together(known: Readings, given: Readings, told: frozenset[int]) -> tuple[Archive, list[Counts]]:
    archive, ids = Archive(), count(1)
    for reading in known:
        desk = archive.desk(ids, told)
        read(desk, *reading)
        archive.keep(desk)
    desk = archive.desk(ids, told)
    counts = [read(desk, *reading) for reading in given]
    archive.keep(desk)
    return archive, counts


@settings(max_examples=400, deadline=None)
@given(listings, listings, st.frozensets(st.integers(1, 4)))
def test_listings_read_at_once_give_what_they_give_one_by_one(
    known: Readings, given: Readings, told: frozenset[int]
) -> None:
    alone, counted_alone = one_by_one(known, given, told)
    both, counted = together(known, given, told)
    assert both.papers == alone.papers
    assert both.heard == alone.heard
    assert both.told_of() == alone.told_of()
    assert counted == counted_alone


def test_one_paper_in_two_listings_is_one_new_paper_and_then_known() -> None:
    entry = Entry(title="Tea", identifiers=(IDENTIFIERS[0],))
    archive = Archive()
    desk = archive.desk(count(1), frozenset())
    first, second = read(desk, 1, [entry], False), read(desk, 2, [replace(entry, upvotes=7)], False)
    archive.keep(desk)
    assert (first.new, second.new, second.known, second.updated) == (1, 0, 1, 1)
    assert [one.upvotes for one in archive.papers.values()] == [7]
    assert archive.events == [(1, "new"), (1, "source"), (1, "upvotes")]
