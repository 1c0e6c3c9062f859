"""Poll: fetch the listings of sources that are due, and store their bytes for ingestion."""

import hashlib
import random
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from services import plugins
from services.domain.sources import batches as rules
from services.domain.sources import moves
from services.domain.sources.batches import BatchState
from services.domain.sources.polling import Timetable, next_poll
from services.domain.text.charset import as_utf8
from services.errors import LeaseLost, PaperwireError
from services.flow.source_notices import NOTIFY_AFTER, notify_owner
from services.http.client import Failed, Fetched, Fetcher, NotModified
from services.ports import Request
from services.ports import Source as SourcePlugin
from services.settings import Settings
from services.store.db.database import Database
from services.store.sources import batches, listings, sources
from services.store.sources.records import FetchedState, PollFailure, PollSuccess, Source
from services.telemetry import log

LEASE = timedelta(minutes=5)
"""Longer than any fetch may take; arXiv's OAI takes minutes at times."""
MAX_REQUESTS_TOGETHER = 8
"""Each of another rate limit."""
DEFAULT_EVERY = timedelta(minutes=30)
Answer = Fetched | NotModified | Failed


def work(db: Database, settings: Settings, fetcher: Fetcher) -> bool:
    """Polls the sources that are due longest; False when none is due or every rate limit is taken."""
    with db.transaction() as tx:
        now = db.now(tx)
        claimed = sources.claim(tx, now, LEASE * settings.time_scale, MAX_REQUESTS_TOGETHER)
    if not claimed:
        return False
    with ThreadPoolExecutor(len(claimed)) as pool:
        pending = {pool.submit(_fetch_present, fetcher, source, now): source for source in claimed}
        while pending:
            # Answers are stored as they arrive, so that no source waits for a slow one.
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            _store_together(db, settings, [(pending.pop(future), future.result()) for future in done])
    return True


def _store_together(db: Database, settings: Settings, answers: Sequence[tuple[Source, Answer]]) -> None:
    """Stores answers in one transaction. When one of them fails, stores each in its own, so that no other is lost."""
    try:
        _store(db, settings, answers)
    except SQLAlchemyError:
        raise  # The database failed; the leases expire.
    except Exception:
        for source, answer in answers:
            _store_alone(db, settings, source, answer)


def _store_alone(db: Database, settings: Settings, source: Source, answer: Answer) -> None:
    with suppress(LeaseLost):
        try:
            _store(db, settings, [(source, answer)])
        except (LeaseLost, SQLAlchemyError):
            raise
        except Exception as error:
            _store(db, settings, [(source, _plugin_failed(source, error))])


def _plugin_failed(source: Source, error: Exception) -> Failed:
    """An exception of the plugin's own counts as a failed poll; the log has its traceback."""
    log.exception("a source's plugin failed", source=source.id, kind=source.kind)
    reason = f"paperwire's own fault in {source.kind}: {type(error).__name__}, see the log"
    return Failed(reason=reason, retry_after=None, gone=False)


def _fetch_present(fetcher: Fetcher, source: Source, now: datetime) -> Answer:
    address = _address(source)
    # The validators belong to the address that the last listing came from.
    known = address == (source.moved_to or source.location)
    try:
        plugin = plugins.source(source.kind)
        answer = _fetch(
            fetcher,
            lambda: plugin.request(address, now),
            etag=source.etag if known else "",
            last_modified=source.last_modified if known else "",
        )
    except Exception as error:
        return _plugin_failed(source, error)
    # Only its own address can say that the source is gone for good.
    return replace(answer, gone=False) if isinstance(answer, Failed) and address != source.location else answer


def _fetch(fetcher: Fetcher, request: Callable[[], Request], *, etag: str = "", last_modified: str = "") -> Answer:
    try:
        return fetcher.fetch(request(), etag=etag or None, last_modified=last_modified or None)
    except PaperwireError as error:
        return Failed(reason=str(error), retry_after=None, gone=False)


def _store(db: Database, settings: Settings, answers: Sequence[tuple[Source, Answer]]) -> None:
    with db.transaction() as tx:
        now = db.now(tx)
        for source, answer in answers:
            if isinstance(answer, Failed):
                _store_failure(tx, settings, source, answer, now)
            else:
                _store_success(tx, source, plugins.source(source.kind), answer, now)
        sources.release_rate_limits(tx, [source for source, _ in answers], now)


def _every(source: Source) -> timedelta:
    plugin = plugins.sources().get(source.kind)
    every: timedelta = source.every or (plugin and plugin.every) or DEFAULT_EVERY
    return every


def _store_failure(tx: Connection, settings: Settings, source: Source, answer: Failed, now: datetime) -> None:
    failures, since = source.failures + 1, source.failing_since or now
    due = next_poll(_every(source), failures, answer.retry_after, now, random.random())
    log.warning("poll failed", source=source.id, kind=source.kind, why=answer.reason, failures=failures)
    result = PollFailure(
        next_poll_at=due, failures=failures, failing_since=since, error=answer.reason, gone=answer.gone
    )
    sources.finish_poll(tx, source, result, now)
    if answer.gone or now - since >= NOTIFY_AFTER:
        notify_owner(tx, settings, source, since, answer.reason)


def _store_success(
    tx: Connection, source: Source, plugin: SourcePlugin, answer: Fetched | NotModified, now: datetime
) -> None:
    """Stores the body, the validators and the next due time in one transaction."""
    timetable = plugin.timetable
    due = _next_poll(tx, source, timetable, answer.max_age, now)
    day_began = _day_began(timetable, source.succeeded_at, now)
    fetched = _store_listing(tx, source, answer, now, day_began=day_began) if isinstance(answer, Fetched) else None
    move = None
    if isinstance(answer, Fetched) and fetched and fetched.digest is None:
        # The same bytes were read before, so that no reading follows that would record the move.
        move = moves.after_reading(source.move, source.location, _permanent_address(source, answer))
    if day_began:
        _add_missing_days(tx, source, plugin, now)
    sources.finish_poll(tx, source, PollSuccess(next_poll_at=due, fetched=fetched, move=move), now)


def _next_poll(tx: Connection, source: Source, timetable: Timetable, max_age: float | None, now: datetime) -> datetime:
    state = batches.state_of(tx, source.id, rules.today(timetable, now)) if timetable.states_days else None
    every = _every(source)
    if not timetable.states_days and max_age is not None:
        # Only for sources without days: arXiv's max-age ends at midnight, which would keep a stale list for a day.
        every = max(every, min(timedelta(seconds=max_age), timedelta(days=1)))
    return next_poll(
        every,
        0,
        None,
        now,
        random.random(),
        timetable,
        have_today=state is BatchState.COMPLETE,
        feed_hints=source.feed_hints,
    )


def _store_listing(tx: Connection, source: Source, answer: Fetched, now: datetime, *, day_began: bool) -> FetchedState:
    # As it is read: a server that corrects the charset sends the same bytes.
    digest = hashlib.sha256(as_utf8(answer.body, answer.content_type)).digest()
    changed = digest != source.digest or day_began
    if changed:
        silent = not source.announce_first and listings.is_first(tx, source.id, source.created_at)
        listings.add(
            tx,
            source.id,
            answer.body,
            now,
            silent=silent,
            content_type=answer.content_type,
            address=_permanent_address(source, answer),
        )
    return FetchedState(
        etag=answer.etag or "",
        last_modified=answer.last_modified or "",
        digest=digest if changed else None,
    )


def _permanent_address(source: Source, answer: Fetched) -> str:
    """Where the source's address leads to for good; empty for a source that is not named by an address."""
    return (answer.permanent_url or _address(source)) if "://" in source.location else ""


def _address(source: Source) -> str:
    return moves.address_to_request(source.location, source.moved_to, source.failures)


def _add_missing_days(tx: Connection, source: Source, plugin: SourcePlugin, now: datetime) -> None:
    """Makes the days that were missed due for looking back; the days before the source was added are silent."""
    timetable, today = plugin.timetable, rules.today(plugin.timetable, now)
    if plugin.request_day(source.location, today) is None:
        return
    created = rules.today(timetable, source.created_at)
    days = rules.expected_days(timetable, max(created, today) - timedelta(days=rules.ARCHIVE_DAYS), today)
    batches.add_missing(tx, source.id, days, now, announced_from=created)


def _day_began(timetable: Timetable, last_success: datetime | None, now: datetime) -> bool:
    """Whether this is the first successful poll of a day.

    Then even unchanged bytes are news, since they say that the source still lists its last announcement, and days may
    have been missed.
    """
    if not timetable.states_days:
        return False
    return last_success is None or rules.today(timetable, last_success) != rules.today(timetable, now)


# ── looking back ──────────────────────────────────────────────────────────────────────────────────────────────


def look_back(db: Database, settings: Settings, fetcher: Fetcher) -> bool:
    """Fetches one page of an announcement that was missed or is incomplete; False when none is due."""
    with db.transaction() as tx:
        claimed = batches.claim_look_back(tx, db.now(), LEASE * settings.time_scale)
    if claimed is None:
        return False
    batch, source = claimed
    plugin = plugins.source(source.kind)
    day = batch.announced_on
    request = plugin.request_day(source.location, day)
    if request is None:
        answer: Answer = Failed(reason="this source cannot look back", retry_after=None, gone=False)
    else:
        page = Request(url=batch.next_url or request.url, headers=request.headers, timeout=request.timeout)
        answer = _fetch(fetcher, lambda: page)
    with db.transaction() as tx:
        now = db.now()
        batches.finish_look_back(tx, batch, source, now)
        if isinstance(answer, Fetched):
            listings.add(
                tx,
                source.id,
                answer.body,
                now,
                silent=batch.silent,
                content_type=answer.content_type,
                day=day,
                url=batch.next_url,
            )
        else:
            reason = answer.reason if isinstance(answer, Failed) else "nothing came"
            batches.record_failure(tx, source.id, day, reason, plugin.timetable, now, looked_back=True)
    return True
