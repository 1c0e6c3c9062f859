"""Ingest: a listing's entries become papers, each once, and what is new becomes a run of events."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from services import plugins, sandbox
from services.domain.papers.ingestion import Counts, IngestBatch
from services.domain.papers.paper import Entry, Listing, title_key
from services.domain.sources.batches import Line
from services.errors import SourceError
from services.settings import Settings
from services.store.db.database import Database, Row, lock, wake
from services.store.delivery import message_updates
from services.store.papers import merging, papers
from services.store.sources import batches, sources
from services.store.subscriptions import match_runs, subscriptions
from services.telemetry import fault_point, log

LEASE = timedelta(minutes=5)
MAX_READING = 60.0
"""Seconds of parsing after which a claim's remaining listings are left for the next."""
MAX_IN_SANDBOX = 50 * 2**20
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A parsed listing and which part of an announcement it is: `day` it was asked for by (None: the present one),
    `first` page.
    """

    source: Row
    """`id`, `kind`, `location`, its `feed_hints` and whether it is `polled`."""
    listing: Listing
    silent: bool
    day: date | None = None
    first: bool = True


def work(db: Database, settings: Settings) -> bool:
    """Reads the oldest fetched listings; False when none waits. Damaged bytes end in a recorded failure."""
    with db.transaction() as tx:
        claimed = sources.claim_listings(tx, db.now(tx), LEASE * settings.time_scale)
    if not claimed:
        return False
    read = list(_read(claimed))
    with db.transaction() as tx:
        now = db.now(tx)
        pages = [page for _, page in read if isinstance(page, Page)]
        if pages:
            store_all(tx, pages, now)
        for row, page in read:
            if isinstance(page, SourceError):
                _fail(tx, row, str(page), now)
        sources.finish_listings(tx, [row for row, page in read if isinstance(page, Page)], now)
        sources.leave_listings(tx, claimed[len(read) :])
    fault_point("ingested")
    return True


def _read(claimed: Sequence[Row]) -> Iterator[tuple[Row, Page | SourceError]]:
    """Parses one after the other until the time is up."""
    begin = time.monotonic()
    for row in claimed:
        if time.monotonic() - begin > MAX_READING:
            return
        try:
            source = {name: row[name] for name in ("kind", "location", "polled", "feed_hints")} | {
                "id": row["source_id"]
            }
            page = Page(source=source, listing=_parse(row), silent=row["silent"], day=row["day"], first=not row["url"])
            yield row, page
        except SourceError as error:
            yield row, error


def store(tx: Connection, source_id: int, listing: Listing, *, now: datetime, silent: bool) -> Tally:
    """Writes one listing, as `store_all` does."""
    page = Page(source=sources.of(tx, source_id), listing=listing, silent=silent)
    return store_all(tx, [page], now)[0]


def store_all(tx: Connection, pages: Sequence[Page], now: datetime) -> list[Tally]:
    """Writes the listings' papers, their lines in the ledger and the run of what is new; one ingestion at a time."""
    lock(tx, "ingest")
    desk = _desk(tx, [entry for page in pages for entry in page.listing.entries], now)
    counts = [desk.read(page.source["id"], _dated(page, now.date()), silent=page.silent) for page in pages]
    _write(tx, desk, now)
    run = match_runs.open_run(tx, events) if (events := desk.events()) else None
    wake(tx, "embed")
    tallies = [_tally(page.listing, count, run) for page, count in zip(pages, counts, strict=True)]
    for page in pages:
        sources.set_feed_hints(tx, page.source, page.listing.feed_hints)
    batches.enter(tx, [_line(page, tally, now) for page, tally in zip(pages, tallies, strict=True)], now)
    return tallies


def _desk(tx: Connection, entries: Sequence[Entry], now: datetime) -> IngestBatch:
    """With every paper that an entry could be."""
    named = papers.by_identifiers(tx, {i for entry in entries for i in entry.identifiers})
    like = papers.by_titles(tx, {title_key(entry.title) for entry in entries} - {""})
    known = papers.load(tx, {*named.values(), *like})
    ids = iter(papers.new_ids(tx, len(entries)))
    steps = subscriptions.min_upvotes_in_use(tx)
    return IngestBatch(
        known, papers.appearances(tx, known.keys()), ids, lambda some: merging.already_notified(tx, some), steps, now
    )


def _dated(page: Page, today: date) -> Iterator[tuple[Entry, date]]:
    usual = page.day or page.listing.announced_on or today
    for entry in page.listing.entries:
        yield entry, min(entry.announced_on or usual, today)


def _write(tx: Connection, desk: IngestBatch, now: datetime) -> None:
    """Stores papers, identifiers and appearances, and unites papers that became one."""
    papers.insert_all(tx, desk.new(), now)
    papers.update_all(tx, desk.changed(), now)
    papers.forget_vectors(tx, [one.id for one in desk.reworded()])
    papers.identify(tx, desk.touched())
    papers.appear(tx, desk.appearances(), now)
    # Late, since until the commit no paper is matched, told or sent (merging.hold_off).
    for goes, stays in sorted(desk.merged().items()):
        merging.merge_papers(tx, stays, goes, now)
    message_updates.schedule_checks_for(tx, [one.id for one in desk.changed()], now)


def _tally(listing: Listing, counts: Counts, run: int | None) -> Tally:
    skipped = tuple((one.where, one.reason) for one in listing.skipped)
    return Tally(
        found=counts.found, new=counts.new, known=counts.known, updated=counts.updated, skipped=skipped, run=run
    )


def _line(page: Page, tally: Tally, now: datetime) -> Line:
    source, listing, plugin = page.source, page.listing, plugins.source(page.source["kind"])
    day = page.day or min(listing.announced_on or now.date(), now.date())
    return Line(
        source_id=source["id"],
        day=day,
        timetable=plugin.timetable,
        announced=listing.announced,
        found=tally.found,
        new=tally.new,
        known=tally.known,
        updated=tally.updated,
        skipped=len(tally.skipped),
        first_page=page.first,
        next_url=listing.next_url,
        looked_back=page.day is not None,
        can_look_back=source["polled"] and plugin.request_day(source["location"], day) is not None,
    )


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
    read = sandbox.parse if len(body) <= MAX_IN_SANDBOX else _parse_here
    listing = read(kind, body, day or now.date())
    if day is not None:
        listing = _announced(listing, day)
    with db.transaction() as tx:
        return store(tx, sources.imported(tx, kind), listing, now=now, silent=silent)


def _announced(listing: Listing, day: date) -> Listing:
    """The listing with the day of its announcement as the person who imports it says."""
    return replace(listing, announced_on=day, entries=tuple(replace(e, announced_on=day) for e in listing.entries))


def _parse(row: Row) -> Listing:
    if row["attempts"] > sources.MAX_PARSE_ATTEMPTS:
        raise SourceError(f"reading this listing ended {row['attempts'] - 1} workers; it is left out")
    return sandbox.parse(row["kind"], bytes(row["body"]), row["fetched_at"].date())


def _parse_here(kind: str, body: bytes, day: date) -> Listing:
    return plugins.source(kind).parse(body, day=day)


def _fail(tx: Connection, row: Row, reason: str, now: datetime) -> None:
    log.warning("listing unreadable", source=row["source_id"], why=reason)
    plugin = plugins.source(row["kind"])
    day = row["day"] or now.date()
    batches.enter_failure(tx, row["source_id"], day, reason, plugin.timetable, now, looked_back=row["day"] is not None)
    sources.finish_listings(tx, [row], now, error=reason)
