"""Listings read in memory, one after the other: which paper an entry is, which papers become one, what happened."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import chain

from services.domain.papers.deduplication import PaperIndex, staying, unite
from services.domain.papers.paper import Entry, Paper, first_paper, merge, what_happened

Heard = dict[int, bool]
"""Source → whether a paper's appearance there was silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What one listing brought. `found` = `new` + `known` entries; `updated` of the known papers changed."""

    found: int
    new: int
    known: int
    updated: int


@dataclass(frozen=True, slots=True)
class Appearance:
    """A paper in a source, on a day; whether it was silent is settled by the first time."""

    day: date
    silent: bool

    def and_then(self, later: "Appearance") -> "Appearance":
        return Appearance(self.day, self.silent and later.silent)


class IngestBatch:
    """`known`: every paper of the archive that an entry could be; `heard`: where they appeared; `ids`: for new papers;
    `told`: which of some papers were sent to somebody; `steps`: the upvotes that some subscription asks for.
    """

    def __init__(
        self,
        known: Mapping[int, Paper],
        heard: Mapping[int, Heard],
        ids: Iterator[int],
        told: Callable[[list[int]], Collection[int]],
        steps: frozenset[int],
        now: datetime,
    ) -> None:
        self.archive = dict(known)
        self.register = PaperIndex()
        for one in known.values():
            self.register.put(one)
        self.became: dict[int, int] = {}
        """Papers that became others, and which; some of them may never have been in the archive."""
        self._heard: dict[int, Heard] = {one: dict(where) for one, where in heard.items()}
        self._ids, self._told, self._steps, self._now = ids, told, steps, now
        self._appearances: dict[tuple[int, int], Appearance] = {}
        self._events: dict[tuple[int, str], None] = {}
        self._touched: dict[int, None] = {}

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────

    def read(self, source_id: int, entries: Iterable[tuple[Entry, date]], *, silent: bool) -> Counts:
        """Takes one listing's entries, each with the day of its announcement; the listing is silent or makes events."""
        sheet, found = _ListingResult(), 0
        for entry, day in entries:
            found += 1
            self._take(sheet, entry, day)
        if not silent:
            for one in sheet.days:
                for what in sorted(self._happened(sheet, one, source_id)):
                    self._events[one, what] = None
        self._note(sheet, source_id, silent=silent)
        new = len(sheet.days.keys() & sheet.born)
        updated = sum(self._changed(sheet, one) for one in sheet.days)
        return Counts(found=found, new=new, known=found - new, updated=updated)

    def _take(self, sheet: "_ListingResult", entry: Entry, day: date) -> None:
        found = self.register.find(entry)
        if not found:
            paper = first_paper(entry, next(self._ids), day, self._now)
            sheet.born.add(paper.id)
        else:
            for one in found:
                sheet.before.setdefault(one.id, one)
            paper = merge(found[0] if len(found) == 1 else self._unite(sheet, found), entry, day)
        self.register.put(paper)
        sheet.days[paper.id] = min(day, sheet.days.get(paper.id, day))
        if not entry.replacement:
            sheet.news.add(paper.id)

    def _unite(self, sheet: "_ListingResult", found: list[Paper]) -> Paper:
        """The one paper that these are."""
        stays = staying(found, self._told([one.id for one in found]))
        going = {one.id: one for one in found if one.id != stays.id}
        for one in going.values():
            self.register.remove(one)
        _follow(self.became, going, stays.id)
        _follow(sheet.merged, going.keys() - sheet.born, stays.id)
        if sheet.news & going.keys():
            sheet.news.add(stays.id)
        days = [sheet.days.pop(one) for one in (stays.id, *going) if one in sheet.days]
        if days:
            sheet.days[stays.id] = min(days)
        return unite(stays, going.values())

    def _changed(self, sheet: "_ListingResult", one: int) -> bool:
        was = None if one in sheet.born else sheet.before[one]
        return was is not None and (self.register.papers[one] != was or one in sheet.merged.values())

    def _happened(self, sheet: "_ListingResult", one: int, source_id: int) -> frozenset[str]:
        mine = self._heard.get(one, {})
        others = [self._heard.get(goes, {}) for goes, stays in sheet.merged.items() if stays == one]
        # Listed silently here before, it is no news for being listed again, though its upvotes may be.
        announced = source_id in mine or not all(chain(mine.values(), *(where.values() for where in others)))
        if not announced and one not in sheet.news:
            return frozenset()  # Nobody missed it: its day was long before we watched.
        here = source_id in mine and all(where.keys() <= mine.keys() for where in others)
        before = None if one in sheet.born else sheet.before[one]
        return what_happened(before, self.register.papers[one], announced=announced, here=here, steps=self._steps)

    def _note(self, sheet: "_ListingResult", source_id: int, *, silent: bool) -> None:
        """What the next listing finds."""
        for goes, stays in sheet.merged.items():
            _hear(self._heard.setdefault(stays, {}), self._heard.pop(goes, {}))
        for one, day in sheet.days.items():
            heard = self._heard.setdefault(one, {})
            now = Appearance(day, heard.get(source_id, silent or one not in sheet.news))
            heard[source_id] = now.silent
            was = self._appearances.get((one, source_id))
            self._appearances[one, source_id] = was.and_then(now) if was else now
        self._touched |= dict.fromkeys(sheet.days)

    # ── what is to be written ─────────────────────────────────────────────────────────────────────────────────

    def touched(self) -> list[Paper]:
        """The living papers that stood in a listing, as they are now."""
        return [self.register.papers[one] for one in dict.fromkeys(map(self._now_id, self._touched))]

    def new(self) -> list[Paper]:
        return [one for one in self.touched() if one.id not in self.archive]

    def changed(self) -> list[Paper]:
        """Those of the archive that are not what they were."""
        stays = set(self.merged().values())
        known = (one for one in self.touched() if one.id in self.archive)
        return [one for one in known if one != self.archive[one.id] or one.id in stays]

    def reworded(self) -> list[Paper]:
        """Those of the archive whose text changed."""
        texts = ((one, self.archive[one.id]) for one in self.changed())
        return [now for now, was in texts if (now.title, now.abstract) != (was.title, was.abstract)]

    def merged(self) -> dict[int, int]:
        """Papers of the archive that became others, and which."""
        return {goes: stays for goes, stays in self.became.items() if goes in self.archive}

    def appearances(self) -> dict[tuple[int, int], Appearance]:
        """(paper, source) → its appearance in what was read."""
        found: dict[tuple[int, int], Appearance] = {}
        for (one, source_id), appearance in self._appearances.items():
            key = (self._now_id(one), source_id)
            found[key] = found[key].and_then(appearance) if key in found else appearance
        return found

    def events(self) -> list[tuple[int, str]]:
        return list(dict.fromkeys((self._now_id(one), what) for one, what in self._events))

    def _now_id(self, one: int) -> int:
        return self.became.get(one, one)


@dataclass(slots=True)
class _ListingResult:
    """One listing's part."""

    days: dict[int, date] = field(default_factory=dict)
    before: dict[int, Paper] = field(default_factory=dict)
    """The papers that it met, as they were before it."""
    born: set[int] = field(default_factory=set)
    merged: dict[int, int] = field(default_factory=dict)
    """Papers older than it that it made others, and which."""
    news: set[int] = field(default_factory=set)
    """Papers that it has for being new; the others stand in it for a new version or a correction alone."""


def _follow(became: dict[int, int], going: Iterable[int], stays: int) -> None:
    """Enters that some became another, also for those that had become them."""
    gone = set(going)
    for old, new in became.items():
        if new in gone:
            became[old] = stays
    became.update(dict.fromkeys(gone, stays))


def _hear(heard: Heard, more: Heard) -> None:
    for source_id, silent in more.items():
        heard[source_id] = silent and heard.get(source_id, True)
