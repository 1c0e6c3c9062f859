"""Poll: fetch the listing of one source that is due, and keep its bytes for ingestion."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from sqlalchemy import Connection

from services import plugins
from services.domain import ledger as rules
from services.domain.cadence import next_poll
from services.errors import PaperwireError
from services.http import Failed, Fetched, Fetcher, NotModified
from services.ports import Request, Source
from services.settings import Settings
from services.store import ledger, notices, sources
from services.store.database import Database, Row
from services.telemetry import log

LEASE = timedelta(minutes=5)
"""Longer than any fetch may take; OAI stalls for minutes."""
DEFAULT_EVERY = timedelta(minutes=30)
TELL_AFTER = timedelta(hours=24)
"""A source that fails for so long tells its owner."""
Answer = Fetched | NotModified | Failed


def work(db: Database, settings: Settings, fetcher: Fetcher) -> bool:
    """Polls the source that is due longest; False when none is due or every gate is busy."""
    now = db.now()
    with db.transaction() as tx:
        row = sources.claim(tx, now, LEASE * settings.time_scale)
    if row is None:
        return False
    plugin = plugins.source(row["kind"])
    answer = _fetch(fetcher, lambda: plugin.request(row["moved_to"] or row["location"], now), row)
    with db.transaction() as tx:
        if isinstance(answer, Failed):
            _failed(tx, settings, row, plugin, answer, db.now())
        else:
            _succeeded(tx, row, plugin, answer, db.now())
    return True


def _fetch(fetcher: Fetcher, request: Callable[[], Request], row: Row) -> Answer:
    try:
        return fetcher.fetch(request(), etag=row["etag"] or None, last_modified=row["last_modified"] or None)
    except PaperwireError as error:
        return Failed(reason=str(error), retry_after=None, gone=False)


def _every(row: Row, plugin: Source) -> timedelta:
    every: timedelta = row["every"] or plugin.every or DEFAULT_EVERY
    return every


def _failed(tx: Connection, settings: Settings, row: Row, plugin: Source, answer: Failed, now: datetime) -> None:
    failures, since = row["failures"] + 1, row["failing_since"] or now
    due = next_poll(_every(row, plugin), failures, answer.retry_after, now, random.random())
    log.warning("poll failed", source=row["id"], kind=row["kind"], why=answer.reason, failures=failures)
    gone = {"polled": False} if answer.gone else {}
    values = {"failures": failures, "failing_since": since, "error": answer.reason, "next_poll_at": due, **gone}
    sources.finish_poll(tx, row, now, **values)
    if answer.gone or now - since >= TELL_AFTER:
        what = f"The source {row['kind']} {_shown(row['location'])} has failed since {since:%d %B %H:%M} UTC"
        host = urlsplit(settings.base_url).hostname or "localhost"
        notices.tell(tx, row["account_id"], f"source:{row['id']}:{since:%s}", f"{what}: {answer.reason}", host)


def _shown(location: str) -> str:
    """A location without what may be a secret in it: user, password and query of an address."""
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.hostname}{parts.path}" if parts.netloc else location


def _succeeded(tx: Connection, row: Row, plugin: Source, answer: Fetched | NotModified, now: datetime) -> None:
    """Bytes, cursor and the next due time are committed together."""
    table = plugin.timetable
    today = rules.today(table, now)
    have = ledger.state_of(tx, row["id"], today) == "complete"
    every = _every(row, plugin)
    if not table.states_days and answer.max_age is not None:
        # Only without a rhythm of its own: arXiv's max-age ends at midnight, obeyed, a stale list would stay a day.
        every = max(every, min(timedelta(seconds=answer.max_age), timedelta(days=1)))
    due = next_poll(every, 0, None, now, random.random(), table, have_today=have)
    seen = {"failures": 0, "failing_since": None, "error": "", "succeeded_at": now, "next_poll_at": due}
    if isinstance(answer, Fetched):
        silent = not row["announce_first"] and sources.is_first(tx, row["id"])
        sources.keep_listing(tx, row["id"], answer.body, now, silent=silent)
        seen |= {"etag": answer.etag or "", "last_modified": answer.last_modified or ""}
        if answer.permanent_url and "://" in row["location"]:
            seen["moved_to"] = answer.permanent_url
    if table.states_days and plugin.request_day(row["location"], today) is not None:
        born = rules.today(table, row["created_at"])
        days = rules.expected_days(table, max(born, today) - timedelta(days=rules.ARCHIVE_DAYS), today)
        ledger.note_gaps(tx, row["id"], days, now, loud_from=born)
    sources.finish_poll(tx, row, now, **seen)


# ── looking back ──────────────────────────────────────────────────────────────────────────────────────────────


def look_back(db: Database, settings: Settings, fetcher: Fetcher) -> bool:
    """Fetches one page of an announcement that was missed or not read whole; False when none is due."""
    with db.transaction() as tx:
        claimed = ledger.claim_gap(tx, db.now(), LEASE * settings.time_scale)
    if claimed is None:
        return False
    batch, row = claimed
    plugin = plugins.source(row["kind"])
    day = batch["announced_on"]
    request = plugin.request_day(row["location"], day)
    if request is None:
        answer: Answer = Failed(reason="this source cannot look back", retry_after=None, gone=False)
    else:
        page = Request(url=batch["next_url"] or request.url, headers=request.headers, timeout=request.timeout)
        answer = _fetch(fetcher, lambda: page, {"etag": "", "last_modified": ""})
    with db.transaction() as tx:
        now = db.now()
        ledger.finish_look(tx, batch, row, now, next_look_at=None)
        if isinstance(answer, Fetched):
            url = batch["next_url"]
            sources.keep_listing(tx, row["id"], answer.body, now, silent=batch["silent"], day=day, url=url)
        else:
            reason = answer.reason if isinstance(answer, Failed) else "nothing came"
            ledger.enter_failure(tx, row["id"], day, reason, plugin.timetable, now, looked_back=True)
    return True
