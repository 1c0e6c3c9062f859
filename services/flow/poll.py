"""Poll: fetch the listing of one source that is due, and keep its bytes for ingestion."""

import random
from datetime import datetime, timedelta

from sqlalchemy import Connection

from services import plugins
from services.domain.cadence import next_poll
from services.errors import PaperwireError
from services.http import Failed, Fetched, Fetcher, NotModified
from services.settings import Settings
from services.store import sources
from services.store.database import Database, Row
from services.telemetry import log

LEASE = timedelta(minutes=3)
"""Longer than any fetch may take."""
DEFAULT_EVERY = timedelta(minutes=30)


def work(db: Database, settings: Settings, fetcher: Fetcher) -> bool:
    """Polls the source that is due longest; False when none is due or every gate is busy."""
    now = db.now()
    with db.transaction() as tx:
        row = sources.claim(tx, now, LEASE * settings.time_scale)
    if row is None:
        return False
    answer = _fetch(row, fetcher, now)
    with db.transaction() as tx:
        _record(tx, row, answer, db.now())
    return True


def _fetch(row: Row, fetcher: Fetcher, now: datetime) -> Fetched | NotModified | Failed:
    try:
        request = plugins.source(row["kind"]).request(row["location"], now)
    except PaperwireError as error:
        return Failed(reason=str(error))
    return fetcher.fetch(request, etag=row["etag"] or None, last_modified=row["last_modified"] or None)


def _record(tx: Connection, row: Row, answer: Fetched | NotModified | Failed, now: datetime) -> None:
    """Bytes, cursor and the next due time are committed together."""
    every = row["every"] or plugins.source(row["kind"]).every or DEFAULT_EVERY
    jitter = random.random()
    if isinstance(answer, Failed):
        failures = row["failures"] + 1
        due = next_poll(every, failures, answer.retry_after, now, jitter)
        log.warning("poll failed", source=row["id"], kind=row["kind"], why=answer.reason, failures=failures)
        gone = {"polled": False} if answer.gone else {}
        sources.finish_poll(tx, row, now, failures=failures, error=answer.reason, next_poll_at=due, **gone)
        return
    seen = {"failures": 0, "error": "", "succeeded_at": now, "next_poll_at": next_poll(every, 0, None, now, jitter)}
    if isinstance(answer, Fetched):
        silent = not row["announce_first"] and sources.is_first(tx, row["id"])
        sources.keep_listing(tx, row["id"], answer.body, now, silent=silent)
        seen |= {"etag": answer.etag or "", "last_modified": answer.last_modified or ""}
    sources.finish_poll(tx, row, now, **seen)
