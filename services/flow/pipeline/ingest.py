"""Ingest: a listing's entries become papers, each once, and what is new becomes a match run."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from services import plugins, sandbox
from services.domain.papers.ingestion import Counts, IngestBatch
from services.domain.papers.paper import Entry, Identifier, Listing, title_key
from services.domain.sources.batches import BatchPage
from services.domain.text.charset import as_utf8
from services.errors import SourceError
from services.flow.source_notices import NOTIFY_AFTER, notify_owner
from services.settings import Settings
from services.store.db.database import Database, lock, wake
from services.store.delivery import message_updates
from services.store.papers import appearances, merging, papers, vectors
from services.store.sources import batches, listings, sources
from services.store.sources.records import ClaimedListing, Source, SourceOfListing
from services.store.subscriptions import match_runs, subscriptions
from services.telemetry import fault_point, log

LEASE = timedelta(minutes=5)
MAX_PARSE_TIME = 60.0
"""Seconds of parsing, after which the remaining listings of a claim are released."""
MAX_IN_SANDBOX = 50 * 2**20
"""Bytes. A larger file can only be an archive that a person imports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What an ingestion did. `found` = `new` + `known`; `updated` of the known papers changed."""

    found: int
    new: int
    known: int
    updated: int
    skipped: tuple[tuple[str, str], ...]
    """Pairs of an entry and the reason why it could not be read."""
    run: int | None = None
    """The match run; None when nothing happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A parsed listing, with the part of an announcement that it is."""

    source: Source | SourceOfListing
    listing: Listing
    silent: bool
    day: date | None = None
    """The day by which it was requested; None for the present list."""
    first: bool = True
    """Whether it is the first page of the announcement."""


def work(db: Database, settings: Settings) -> bool:
    """Ingests the oldest fetched listings; False when there is none. Damaged bytes are recorded as a failure."""
    with db.transaction() as tx:
        claimed = listings.claim(tx, db.now(tx), LEASE * settings.time_scale)
    if not claimed:
        return False
    parsed = list(_parse_all(claimed))
    with db.transaction() as tx:
        now = db.now(tx)
        pages = [page for _, page in parsed if isinstance(page, Page)]
        if pages:
            store_all(tx, pages, now)
        for listing, page in parsed:
            if isinstance(page, SourceError):
                _record_failure(tx, settings, listing, str(page), now)
        listings.finish(tx, [listing for listing, page in parsed if isinstance(page, Page)], now)
        listings.release(tx, claimed[len(parsed) :])
    fault_point("ingested")
    return True


def _parse_all(claimed: Sequence[ClaimedListing]) -> Iterator[tuple[ClaimedListing, Page | SourceError]]:
    """Parses one listing after the other until `MAX_PARSE_TIME` is over."""
    begin = time.monotonic()
    for row in claimed:
        if time.monotonic() - begin > MAX_PARSE_TIME:
            return
        try:
            listing = _parse(row)
            yield row, Page(source=row.source, listing=listing, silent=row.silent, day=row.day, first=not row.url)
        except SourceError as error:
            yield row, error


def _parse(row: ClaimedListing) -> Listing:
    if row.attempts > listings.MAX_PARSE_ATTEMPTS:
        raise SourceError(f"reading this listing ended {row.attempts - 1} workers; it is left out")
    return sandbox.parse(row.kind, as_utf8(bytes(row.body), row.content_type), row.fetched_at.date())


def _record_failure(tx: Connection, settings: Settings, row: ClaimedListing, reason: str, now: datetime) -> None:
    log.warning("listing unreadable", source=row.source_id, why=reason)
    timetable = plugins.source(row.kind).timetable
    day, looked_back = row.day or now.date(), row.day is not None
    batches.record_failure(tx, row.source_id, day, reason, timetable, now, looked_back=looked_back)
    listings.finish_unreadable(tx, row, reason, now, listings.READ_AGAIN_AFTER * settings.time_scale)
    if row.day is None and row.read_again_at is None:
        source, since = sources.record_unreadable(tx, row.source_id, reason, now)
        if now - since >= NOTIFY_AFTER:
            notify_owner(tx, settings, source, since, reason)


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────


def store(tx: Connection, source_id: int, listing: Listing, *, now: datetime, silent: bool) -> Tally:
    """Writes one listing, as `store_all` does."""
    page = Page(source=sources.get(tx, source_id), listing=listing, silent=silent)
    return store_all(tx, [page], now)[0]


def store_all(tx: Connection, pages: Sequence[Page], now: datetime) -> list[Tally]:
    """Writes the papers and batches of the listings and the match run of what is new; one ingestion runs at a time."""
    lock(tx, "ingest")
    batch = _load(tx, [entry for page in pages for entry in page.listing.entries], now)
    counts = [
        batch.read(page.source.id, _with_days(page, now.date()), silent=page.silent, kind=page.source.kind)
        for page in pages
    ]
    _write(tx, batch, now)
    events = batch.events()
    run = match_runs.open_run(tx, events) if events else None
    wake(tx, "embed")
    tallies = [_tally(page.listing, count, run) for page, count in zip(pages, counts, strict=True)]
    for page in pages:
        if page.listing.feed_hints != page.source.feed_hints:
            sources.set_feed_hints(tx, page.source.id, page.listing.feed_hints)
    batch_pages = [_batch_page(page, tally, now) for page, tally in zip(pages, tallies, strict=True)]
    batches.record_pages(tx, batch_pages, now)
    return tallies


def _load(tx: Connection, entries: Sequence[Entry], now: datetime) -> IngestBatch:
    """An ingest batch with every paper of the archive that an entry could be."""
    identifiers = {identifier for entry in entries for identifier in entry.identifiers}
    by_identifier = papers.by_identifiers(tx, identifiers)
    by_title = papers.by_titles(tx, {title_key(entry.title) for entry in entries} - {""})
    archive = papers.load(tx, {*by_identifier.values(), *by_title})
    new_ids = iter(papers.new_ids(tx, len(entries)))
    upvote_steps = subscriptions.min_upvotes_in_use(tx)
    return IngestBatch(
        archive,
        appearances.silence_by_source(tx, archive.keys()),
        new_ids,
        lambda ids: merging.already_notified(tx, ids),
        upvote_steps,
        now,
        appearances.entry_ids(tx, archive.keys()) if any(entry.entry_id for entry in entries) else {},
        _publishes,
    )


def _publishes(kind: str, identifier: Identifier) -> bool:
    plugin = plugins.sources().get(kind)
    return plugin is not None and plugin.publishes(identifier)


def _with_days(page: Page, today: date) -> Iterator[tuple[Entry, date]]:
    """The entries with their announcement days, none after today."""
    default = page.day or page.listing.announced_on or today
    for entry in page.listing.entries:
        yield entry, min(entry.announced_on or default, today)


def _write(tx: Connection, batch: IngestBatch, now: datetime) -> None:
    """Stores papers, identifiers and appearances, and merges papers that became one."""
    papers.insert_all(tx, batch.new_papers(), now)
    papers.update_all(tx, batch.changed_papers(), now)
    vectors.forget(tx, [paper.id for paper in batch.papers_with_new_text()])
    papers.identify(tx, batch.papers())
    appearances.record(tx, batch.appearances(), now)
    # Last, since from here to the commit no paper is matched, notified or sent (merging.lock_against_merges).
    for replaced, kept in sorted(batch.merged_papers().items()):
        merging.merge_papers(tx, kept, replaced, now)
    message_updates.schedule_checks_for(tx, [paper.id for paper in batch.changed_papers()], now)


def _tally(listing: Listing, counts: Counts, run: int | None) -> Tally:
    return Tally(
        found=counts.found,
        new=counts.new,
        known=counts.known,
        updated=counts.updated,
        skipped=tuple((entry.where, entry.reason) for entry in listing.skipped),
        run=run,
    )


def _batch_page(page: Page, tally: Tally, now: datetime) -> BatchPage:
    source, listing, plugin = page.source, page.listing, plugins.source(page.source.kind)
    day = page.day or min(listing.announced_on or now.date(), now.date())
    return BatchPage(
        source_id=source.id,
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
        can_look_back=source.polled and plugin.request_day(source.location, day) is not None,
    )


# ── saved listings ────────────────────────────────────────────────────────────────────────────────────────────


def import_listing(db: Database, body: bytes, *, day: date | None, format: str | None, silent: bool) -> Tally:
    """Ingests a saved listing now; what is new is announced as after a poll, unless silent. Raises SourceError."""
    kind = detect(body, format)
    now = db.now()
    parse = sandbox.parse if len(body) <= MAX_IN_SANDBOX else _parse_here
    listing = parse(kind, body, day or now.date())
    if day is not None:
        entries = tuple(replace(entry, announced_on=day) for entry in listing.entries)
        listing = replace(listing, announced_on=day, entries=entries)
    with db.transaction() as tx:
        return store(tx, sources.source_of_imports(tx, kind), listing, now=now, silent=silent)


def detect(body: bytes, format: str | None = None) -> str:
    """The kind of the source that reads a saved listing. Raises SourceError when none does."""
    for kind, plugin in plugins.sources().items():
        recognised = plugin.recognise(body)
        if recognised is not None and format in (None, recognised):
            return kind
    if format is not None:
        kinds = [kind for kind, plugin in plugins.sources().items() if format in plugin.formats]
        if not kinds:
            known = sorted({name for plugin in plugins.sources().values() for name in plugin.formats})
            raise SourceError(f"no format {format!r}; there are: {', '.join(known)}")
        return kinds[0]
    raise SourceError("this is not a listing that paperwire can read; name its format with --format if it is one")


def _parse_here(kind: str, body: bytes, day: date) -> Listing:
    return plugins.source(kind).parse(body, day=day)
