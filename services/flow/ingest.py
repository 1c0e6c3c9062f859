"""Ingest: a listing's entries become papers, each once, and what is new becomes a run of events."""

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from services import plugins, sandbox
from services.domain.identity import Register, staying, unite
from services.domain.paper import Entry, Listing, Paper, first_paper, merge, title_key, what_happened
from services.errors import SourceError
from services.settings import Settings
from services.store import followed, ledger, merging, papers, runs, sources, subscriptions
from services.store.database import Database, Row, lock, wake
from services.telemetry import fault_point, log

LEASE = timedelta(minutes=5)
LARGEST_IN_SANDBOX = 50 * 2**20
"""Bytes; a larger file can only be a person's own archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What an ingestion did. `found` = `new` + `known`; `updated` of the known changed."""

    found: int
    new: int
    known: int
    updated: int
    skipped: tuple[tuple[str, str], ...]
    run: int | None = None


def work(db: Database, settings: Settings) -> bool:
    """Reads the oldest fetched listing; False when none waits. Damaged bytes end in a recorded failure."""
    with db.transaction() as tx:
        row = sources.claim_listing(tx, db.now(), LEASE * settings.time_scale)
    if row is None:
        return False
    try:
        listing = _parse(row)
    except SourceError as error:
        with db.transaction() as tx:
            _fail(tx, row, str(error), db.now())
        return True
    page = Page(day=row["day"], first=not row["url"])
    with db.transaction() as tx:
        store(tx, row["source_id"], listing, now=db.now(), silent=row["silent"], page=page)
        sources.finish_listing(tx, row, db.now())
    fault_point("ingested")
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of an announcement a listing is: `day` it was asked for by (None: the present one), `first` page."""

    day: date | None = None
    first: bool = True


def store(
    tx: Connection, source_id: int, listing: Listing, *, now: datetime, silent: bool, page: Page | None = None
) -> Tally:
    """Writes a listing's papers, its line in the ledger and, unless silent, the run of what is new; one at a time."""
    lock(tx, "ingest")
    page, today = page or Page(), now.date()
    desk = _Desk(tx, source_id, now, silent)
    desk.look_up(listing.entries)
    for entry in listing.entries:
        desk.take(entry, min(entry.announced_on or page.day or listing.announced_on or today, today))
    run = desk.write()
    tally = desk.tally(listing, run)
    _enter(tx, source_id, listing, tally, page, now)
    return tally


def _enter(tx: Connection, source_id: int, listing: Listing, tally: Tally, page: Page, now: datetime) -> None:
    plugin = plugins.source(sources.kind_of(tx, source_id))
    day = page.day or min(listing.announced_on or now.date(), now.date())
    counts = {name: getattr(tally, name) for name in ("found", "new", "known", "updated")}
    counts |= {"announced": listing.announced, "skipped": len(tally.skipped)}
    location = sources.location_of(tx, source_id)
    ledger.enter(
        tx,
        source_id,
        day,
        counts,
        plugin.timetable,
        now,
        first_page=page.first,
        next_url=listing.next_url,
        looked_back=page.day is not None,
        can_look_back=location is not None and plugin.request_day(location, day) is not None,
    )


@dataclass(slots=True)
class _Desk:
    """One ingestion's work in memory: which paper an entry is, which papers it makes one, and what it changes."""

    tx: Connection
    source_id: int
    now: datetime
    silent: bool
    register: Register = field(default_factory=Register)
    before: dict[int, Paper] = field(default_factory=dict)
    days: dict[int, date] = field(default_factory=dict)
    merged: dict[int, int] = field(default_factory=dict)
    """Papers of the archive that became others, and which."""
    news: set[int] = field(default_factory=set)
    """Papers that the listing has for being new; the others stand in it for a new version or a correction alone."""
    _ids: list[int] = field(default_factory=list)

    def look_up(self, entries: tuple[Entry, ...]) -> None:
        """Loads every paper that an entry could be."""
        named = papers.by_identifiers(self.tx, {i for entry in entries for i in entry.identifiers})
        like = papers.by_titles(self.tx, {title_key(entry.title) for entry in entries} - {""})
        self.before = papers.load(self.tx, {*named.values(), *like})
        for one in self.before.values():
            self.register.put(one)
        self._ids = papers.new_ids(self.tx, len(entries))

    def take(self, entry: Entry, day: date) -> None:
        found = self.register.find(entry)
        if not found:
            paper = first_paper(entry, self._ids.pop(), day, self.now)
        else:
            paper = merge(found[0] if len(found) == 1 else self._unite(found), entry, day)
        self.register.put(paper)
        self.days[paper.id] = min(day, self.days.get(paper.id, day))
        if not entry.replacement:
            self.news.add(paper.id)

    def _unite(self, found: list[Paper]) -> Paper:
        """The one paper that these are."""
        stays = staying(found, merging.told(self.tx, [one.id for one in found]))
        going = {one.id: one for one in found if one.id != stays.id}
        for one in going.values():
            self.register.remove(one)
        self.merged = {old: stays.id if new in going else new for old, new in self.merged.items()}
        self.merged |= {one: stays.id for one in going if one in self.before}
        if self.news & going.keys():
            self.news.add(stays.id)
        days = [self.days.pop(one) for one in (stays.id, *going) if one in self.days]
        if days:
            self.days[stays.id] = min(days)
        return unite(stays, going.values())

    def write(self) -> int | None:
        """Stores papers, identifiers, appearances and, unless silent, their events; the run's id if there is one."""
        touched = [self.register.papers[one] for one in self.days]
        heard = papers.appearances(self.tx, [one for one in (*self.days, *self.merged) if one in self.before])
        papers.insert_all(self.tx, [one for one in touched if one.id not in self.before], self.now)
        papers.update_all(self.tx, [one for one in touched if self._changed(one)], self.now)
        papers.forget_vectors(self.tx, [one.id for one in touched if self._reads_otherwise(one)])
        papers.identify(self.tx, touched)
        news = self.days.keys() & self.news
        papers.appear(self.tx, news, self.source_id, self.days, self.now, self.silent)
        papers.appear(self.tx, self.days.keys() - news, self.source_id, self.days, self.now, silent=True)
        # Late, since until the commit no paper is matched, told or sent (merging.hold_off).
        for goes, stays in sorted(self.merged.items()):
            merging.merge_papers(self.tx, stays, goes, self.now)
        followed.note_changes(self.tx, [one.id for one in touched if self._changed(one)], self.now)
        events = [] if self.silent else self._events(touched, heard)
        run = runs.open_run(self.tx, events) if events else None
        wake(self.tx, "embed")
        return run

    def _changed(self, paper: Paper) -> bool:
        return paper.id in self.before and (paper != self.before[paper.id] or paper.id in self.merged.values())

    def _reads_otherwise(self, paper: Paper) -> bool:
        before = self.before.get(paper.id)
        return before is not None and (paper.title, paper.abstract) != (before.title, before.abstract)

    def _events(self, touched: list[Paper], heard: dict[int, dict[int, bool]]) -> list[tuple[int, str]]:
        steps = subscriptions.upvote_steps(self.tx)
        gained: dict[int, list[dict[int, bool]]] = {}
        for goes, stays in self.merged.items():
            gained.setdefault(stays, []).append(heard.get(goes, {}))
        events = []
        for paper in touched:
            mine, others = heard.get(paper.id, {}), gained.get(paper.id, [])
            announced = not all(silent for sounds in (mine, *others) for silent in sounds.values())
            here = self.source_id in mine and all(sounds.keys() <= mine.keys() for sounds in others)
            if not announced and paper.id not in self.news:
                continue  # Nobody missed it: its day was long before we watched.
            before = self.before.get(paper.id)
            happened = what_happened(before, paper, announced=announced, here=here, steps=steps)
            events += [(paper.id, what) for what in sorted(happened)]
        return events

    def tally(self, listing: Listing, run: int | None) -> Tally:
        found, new = len(listing.entries), sum(one not in self.before for one in self.days)
        updated = sum(self._changed(self.register.papers[one]) for one in self.days)
        skipped = tuple((one.where, one.reason) for one in listing.skipped)
        return Tally(found=found, new=new, known=found - new, updated=updated, skipped=skipped, run=run)


def detect(body: bytes, format: str | None = None) -> str:
    """The kind of the source that reads a saved listing. Raises SourceError when none does."""
    for kind, plugin in plugins.sources().items():
        recognised = plugin.recognise(body)
        if recognised is not None and format in (None, recognised):
            return kind
    if format is not None:
        readers = [kind for kind, plugin in plugins.sources().items() if format in plugin.formats]
        if not readers:
            known = sorted({name for plugin in plugins.sources().values() for name in plugin.formats})
            raise SourceError(f"no format {format!r}; there are: {', '.join(known)}")
        return readers[0]
    raise SourceError("this is not a listing that paperwire can read; name its format with --format if it is one")


def import_listing(db: Database, body: bytes, *, day: date | None, format: str | None, silent: bool) -> Tally:
    """Reads a saved listing now; what is new is announced as by a poll, unless silent. Raises SourceError."""
    kind = detect(body, format)
    now = db.now()
    read = sandbox.parse if len(body) <= LARGEST_IN_SANDBOX else _parse_here
    listing = read(kind, body, day or now.date())
    if day is not None:
        listing = _announced(listing, day)
    with db.transaction() as tx:
        return store(tx, sources.imported(tx, kind), listing, now=now, silent=silent)


def _announced(listing: Listing, day: date) -> Listing:
    """The listing with the day of its announcement as the person who imports it says."""
    return replace(listing, announced_on=day, entries=tuple(replace(e, announced_on=day) for e in listing.entries))


def _parse(row: Row) -> Listing:
    if row["attempts"] > sources.MOST_PARSE_ATTEMPTS:
        raise SourceError(f"reading this listing ended {row['attempts'] - 1} workers; it is left out")
    return sandbox.parse(row["kind"], bytes(row["body"]), row["fetched_at"].date())


def _parse_here(kind: str, body: bytes, day: date) -> Listing:
    return plugins.source(kind).parse(body, day=day)


def _fail(tx: Connection, row: Row, reason: str, now: datetime) -> None:
    log.warning("listing unreadable", source=row["source_id"], why=reason)
    plugin = plugins.source(row["kind"])
    day = row["day"] or now.date()
    ledger.enter_failure(tx, row["source_id"], day, reason, plugin.timetable, now, looked_back=row["day"] is not None)
    sources.finish_listing(tx, row, now, error=reason)
