"""Ingest: a listing's entries become papers, each once, and what is new becomes a run of events."""

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from services import plugins, sandbox
from services.domain.paper import (
    Entry,
    Identifier,
    Listing,
    Paper,
    first_paper,
    merge,
    same_by_title,
    title_key,
    what_happened,
)
from services.errors import SourceError
from services.settings import Settings
from services.store import ledger, papers, runs, sources, subscriptions
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
    """One ingestion's work in memory: which paper an entry is, and what it changes."""

    tx: Connection
    source_id: int
    now: datetime
    silent: bool
    archive: dict[int, Paper] = field(default_factory=dict)
    before: dict[int, Paper] = field(default_factory=dict)
    by_identifier: dict[Identifier, int] = field(default_factory=dict)
    by_title: dict[str, list[int]] = field(default_factory=dict)
    days: dict[int, date] = field(default_factory=dict)
    known: int = 0
    _ids: list[int] = field(default_factory=list)

    def look_up(self, entries: tuple[Entry, ...]) -> None:
        """Loads every paper that an entry could be."""
        self.by_identifier = papers.by_identifiers(self.tx, {i for entry in entries for i in entry.identifiers})
        like = papers.by_titles(self.tx, {title_key(entry.title) for entry in entries} - {""})
        self.archive = papers.load(self.tx, {*self.by_identifier.values(), *like})
        self.before = dict(self.archive)
        for one in self.archive.values():
            self._index(one)
        self._ids = papers.new_ids(self.tx, len(entries))

    def take(self, entry: Entry, day: date) -> None:
        paper = self._find(entry)
        if paper is None:
            paper = first_paper(entry, self._ids.pop(), day, self.now)
        else:
            self.known += 1
            paper = merge(paper, entry, day)
        self.archive[paper.id] = paper
        self.days[paper.id] = min(day, self.days.get(paper.id, day))
        self._index(paper)

    def _find(self, entry: Entry) -> Paper | None:
        for identifier in entry.identifiers:
            if identifier in self.by_identifier:
                return self.archive[self.by_identifier[identifier]]
        alike = (self.archive[one] for one in self.by_title.get(title_key(entry.title), ()))
        return next((paper for paper in alike if same_by_title(paper, entry)), None)

    def _index(self, paper: Paper) -> None:
        for identifier in paper.identifiers:
            self.by_identifier.setdefault(identifier, paper.id)
        ids = self.by_title.setdefault(title_key(paper.title), [])
        if paper.id not in ids:
            ids.append(paper.id)

    def write(self) -> int | None:
        """Stores papers, identifiers, appearances and, unless silent, their events; the run's id if there is one."""
        touched = [self.archive[one] for one in self.days]
        heard = papers.appearances(self.tx, [one for one in self.days if one in self.before])
        papers.insert_all(self.tx, [one for one in touched if one.id not in self.before], self.now)
        papers.update_all(self.tx, [one for one in touched if self._changed(one)], self.now)
        papers.identify(self.tx, touched)
        papers.appear(self.tx, self.days.keys(), self.source_id, self.days, self.now, self.silent)
        events = [] if self.silent else self._events(touched, heard)
        run = runs.open_run(self.tx, events) if events else None
        wake(self.tx, "embed")
        return run

    def _changed(self, paper: Paper) -> bool:
        return paper.id in self.before and paper != self.before[paper.id]

    def _events(self, touched: list[Paper], heard: dict[int, dict[int, bool]]) -> list[tuple[int, str]]:
        steps = subscriptions.upvote_steps(self.tx)
        events = []
        for paper in touched:
            sounds = heard.get(paper.id, {})
            announced, here = not all(sounds.values()) if sounds else False, self.source_id in sounds
            before = self.before.get(paper.id)
            happened = what_happened(before, paper, announced=announced, here=here, steps=steps)
            events += [(paper.id, what) for what in sorted(happened)]
        return events

    def tally(self, listing: Listing, run: int | None) -> Tally:
        found = len(listing.entries)
        updated = sum(self._changed(self.archive[one]) for one in self.days)
        skipped = tuple((one.where, one.reason) for one in listing.skipped)
        return Tally(found=found, new=found - self.known, known=self.known, updated=updated, skipped=skipped, run=run)


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
