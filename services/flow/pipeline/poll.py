"""Poll: fetch the listings of sources that are due, and keep their bytes for ingestion."""

import hashlib
import random
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from services import plugins
from services.domain.http.ssrf import without_secrets
from services.domain.sources import batches as rules
from services.domain.sources.polling import Timetable, next_poll
from services.errors import LeaseLost, PaperwireError
from services.http.client import Failed, Fetched, Fetcher, NotModified
from services.ports import Request, Source
from services.settings import Settings
from services.store.db.database import Database, Row
from services.store.delivery import operator_notices
from services.store.sources import batches, sources
from services.telemetry import log

LEASE = timedelta(minutes=5)
"""Longer than any fetch may take; OAI stalls for minutes."""
AT_A_TIME = 8
"""Requests, each through another gate."""
DEFAULT_EVERY = timedelta(minutes=30)
TELL_AFTER = timedelta(hours=24)
"""A source that fails for so long tells its owner."""
Answer = Fetched | NotModified | Failed


def work(db: Database, settings: Settings, fetcher: Fetcher) -> bool:
    """Polls the sources that are due longest, a few at a time; False when none is due or every gate is busy."""
    with db.transaction() as tx:
        now = db.now(tx)
        claimed = sources.claim(tx, now, LEASE * settings.time_scale, AT_A_TIME)
    if not claimed:
        return False
    with ThreadPoolExecutor(len(claimed)) as pool:
        waiting = {pool.submit(_ask, fetcher, row, now): row for row in claimed}
        while waiting:
            # Whatever has come by now is kept at once: nobody waits for a slow one.
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            _take(db, settings, [(waiting.pop(one), one.result()) for one in done])
    return True


def _take(db: Database, settings: Settings, answers: Sequence[tuple[Row, Answer]]) -> None:
    """Keeps answers together; where one is in the way, one by one, so that none costs the others theirs."""
    try:
        _keep(db, settings, answers)
    except SQLAlchemyError:
        raise  # It is the database's fault, and its leases run out.
    except Exception:
        for row, answer in answers:
            _take_one(db, settings, row, answer)


def _take_one(db: Database, settings: Settings, row: Row, answer: Answer) -> None:
    with suppress(LeaseLost):
        try:
            _keep(db, settings, [(row, answer)])
        except (LeaseLost, SQLAlchemyError):
            raise
        except Exception as error:
            _keep(db, settings, [(row, _broken(row, error))])


def _broken(row: Row, error: Exception) -> Failed:
    """A plugin's own fault: it counts as a failed poll, and is said with its place for whoever mends it."""
    log.exception("a source's plugin failed", source=row["id"], kind=row["kind"])
    why = f"paperwire's own fault in {row['kind']}: {type(error).__name__}, see the log"
    return Failed(reason=why, retry_after=None, gone=False)


def _ask(fetcher: Fetcher, row: Row, now: datetime) -> Answer:
    try:
        plugin = plugins.source(row["kind"])
        return _fetch(fetcher, lambda: plugin.request(row["moved_to"] or row["location"], now), row)
    except Exception as error:
        return _broken(row, error)


def _keep(db: Database, settings: Settings, answers: Sequence[tuple[Row, Answer]]) -> None:
    with db.transaction() as tx:
        now = db.now(tx)
        for row, answer in answers:
            if isinstance(answer, Failed):
                _failed(tx, settings, row, answer, now)
            else:
                _succeeded(tx, row, plugins.source(row["kind"]), answer, now)
        sources.free_gates(tx, [row for row, _ in answers], now)


def _fetch(fetcher: Fetcher, request: Callable[[], Request], row: Row) -> Answer:
    try:
        return fetcher.fetch(request(), etag=row["etag"] or None, last_modified=row["last_modified"] or None)
    except PaperwireError as error:
        return Failed(reason=str(error), retry_after=None, gone=False)


def _every(row: Row) -> timedelta:
    plugin = plugins.sources().get(row["kind"])
    every: timedelta = row["every"] or (plugin and plugin.every) or DEFAULT_EVERY
    return every


def _failed(tx: Connection, settings: Settings, row: Row, answer: Failed, now: datetime) -> None:
    failures, since = row["failures"] + 1, row["failing_since"] or now
    due = next_poll(_every(row), failures, answer.retry_after, now, random.random())
    log.warning("poll failed", source=row["id"], kind=row["kind"], why=answer.reason, failures=failures)
    gone = {"polled": False} if answer.gone else {}
    values = {"failures": failures, "failing_since": since, "error": answer.reason, "next_poll_at": due, **gone}
    sources.finish_poll(tx, row, now, **values)
    if answer.gone or now - since >= TELL_AFTER:
        what = f"The source {row['kind']} {without_secrets(row['location'])} has failed since {since:%d %B %H:%M} UTC"
        host = urlsplit(settings.base_url).hostname or "localhost"
        operator_notices.send(tx, row["account_id"], f"source:{row['id']}:{since:%s}", f"{what}: {answer.reason}", host)


def _succeeded(tx: Connection, row: Row, plugin: Source, answer: Fetched | NotModified, now: datetime) -> None:
    """Bytes, cursor and the next due time are committed together."""
    table = plugin.timetable
    today = rules.today(table, now)
    have = table.states_days and batches.state_of(tx, row["id"], today) == "complete"
    every = _every(row)
    if not table.states_days and answer.max_age is not None:
        # Only without a rhythm of its own: arXiv's max-age ends at midnight, obeyed, a stale list would stay a day.
        every = max(every, min(timedelta(seconds=answer.max_age), timedelta(days=1)))
    feed_hints = sources.feed_hints_of(row)
    due = next_poll(every, 0, None, now, random.random(), table, have_today=have, feed_hints=feed_hints)
    seen: dict[str, Any] = {"failures": 0, "failing_since": None, "error": "", "succeeded_at": now, "next_poll_at": due}
    if isinstance(answer, Fetched):
        digest = hashlib.sha256(answer.body).digest()
        if digest != row["digest"] or _day_began(table, row["succeeded_at"], now):
            silent = not row["announce_first"] and sources.is_first(tx, row["id"])
            sources.keep_listing(tx, row["id"], answer.body, now, silent=silent)
            seen["digest"] = digest
        seen |= {"etag": answer.etag or "", "last_modified": answer.last_modified or ""}
        if answer.permanent_url and "://" in row["location"]:
            seen["moved_to"] = answer.permanent_url
    if _day_began(table, row["succeeded_at"], now) and plugin.request_day(row["location"], today) is not None:
        born = rules.today(table, row["created_at"])
        days = rules.expected_days(table, max(born, today) - timedelta(days=rules.ARCHIVE_DAYS), today)
        batches.note_gaps(tx, row["id"], days, now, loud_from=born)
    sources.finish_poll(tx, row, now, **seen)


def _day_began(table: Timetable, before: datetime | None, now: datetime) -> bool:
    """Whether even the same bytes say something new (that the source still lists its last announcement), and days may
    have been missed.
    """
    return table.states_days and (before is None or rules.today(table, before) != rules.today(table, now))


# ── looking back ──────────────────────────────────────────────────────────────────────────────────────────────


def look_back(db: Database, settings: Settings, fetcher: Fetcher) -> bool:
    """Fetches one page of an announcement that was missed or not read whole; False when none is due."""
    with db.transaction() as tx:
        claimed = batches.claim_gap(tx, db.now(), LEASE * settings.time_scale)
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
        batches.finish_read(tx, batch, row, now, next_read_at=None)
        if isinstance(answer, Fetched):
            url = batch["next_url"]
            sources.keep_listing(tx, row["id"], answer.body, now, silent=batch["silent"], day=day, url=url)
        else:
            reason = answer.reason if isinstance(answer, Failed) else "nothing came"
            batches.enter_failure(tx, row["id"], day, reason, plugin.timetable, now, looked_back=True)
    return True
