"""The scheduler: enqueues stages periodically, and when pages, commands or workers notify it.

One scheduler is active at a time: it holds an advisory lock on the connection that it listens on. A second one waits.
"""

import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from math import inf
from types import FrameType

import psycopg
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import DBAPIError

from services.settings import settings
from services.store.db.database import WAKE_CHANNEL
from services.store.maintenance import due_work
from services.telemetry import SCHEDULER_MISSES, configure_logging, log
from workers.app import app, beat, db, embedders, shard_numbers
from workers.tasks import wake

SWEEP_INTERVAL = timedelta(seconds=15)
HEARTBEAT_INTERVAL = timedelta(seconds=20)
HEARTBEAT_QUEUES = ("poll", "embed", "deliver", "slow")
"""Queues that take heartbeats. Every worker must serve one of them: a worker without heartbeats is restarted."""
LOCK = "SELECT pg_try_advisory_lock(hashtextextended('paperwire:scheduler', 0))"
MAX_QUEUED = 4
"""A sweep adds no message to a queue that has this many, so that messages do not pile up behind a backlog."""


def sweep() -> None:
    """Wakes every stage that has due rows. A lost message delays work by one sweep at most."""
    models = [embedder.name for embedder in embedders()]
    with db().transaction() as tx:
        stages = due_work.stages_with_work(tx, db().now(), settings().time_scale, *models)
    for stage in stages:
        if _queued(_queue(stage)) < MAX_QUEUED:
            wake(stage)
    beat()


def heartbeat() -> None:
    """Sends a message to each kind of worker. The supervisor restarts a worker that has received none for long."""
    for queue in HEARTBEAT_QUEUES:
        if _queued(queue) < MAX_QUEUED * 4:
            app.send_task("paperwire.heartbeat", queue=queue, expires=60, retry=False)


def _queue(stage: str) -> str:
    return {"ingest": "poll", "notify": "deliver"}.get(stage, stage)


def _queued(queue: str) -> int:
    with app.connection_for_write() as connection:
        return int(connection.default_channel.client.llen(queue))


def _periodic_jobs() -> BackgroundScheduler:
    defaults = {"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
    scheduler = BackgroundScheduler(job_defaults=defaults, timezone="UTC")
    scale, now = settings().time_scale, datetime.now(UTC)
    intervals = {
        "sweep": max(0.5, SWEEP_INTERVAL.total_seconds() * scale),
        "heartbeat": HEARTBEAT_INTERVAL.total_seconds(),
    }
    for job in (sweep, heartbeat):
        name = job.__name__
        scheduler.add_job(job, "interval", seconds=intervals[name], id=name, next_run_time=now)
    scheduler.add_listener(_count_miss, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_ERROR)
    return scheduler


def _count_miss(event: JobExecutionEvent) -> None:
    SCHEDULER_MISSES.labels(event.job_id).inc()
    if error := getattr(event, "exception", None):
        log.warning(
            "periodic job failed", job=event.job_id, why=f"{type(error).__name__}: {str(error).splitlines()[:1]}"
        )


class WakeUps:
    """When to wake which stage: the earliest time that was asked for. In memory, since the sweep finds what is lost."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}

    def add(self, notice: str, now: float) -> None:
        """Reads a notice of `store.db.database.wake`: a stage, perhaps followed by the seconds to wait."""
        stage, _, after = notice.partition(" ")
        self._times[stage] = min(now + float(after or 0), self._times.get(stage, inf))

    def seconds_to_wait(self, now: float, max_seconds: float = 1.0) -> float:
        return max(0.001, min([max_seconds, *(time - now for time in self._times.values())]))

    def take_due(self, now: float) -> list[str]:
        """The stages that are due, each once."""
        due = [stage for stage, time in self._times.items() if time <= now]
        for stage in due:
            del self._times[stage]
        return due


def _stages_of(name: str) -> list[str]:
    return [f"match.{number}" for number in shard_numbers()] if name == "match" else [name]


def _listen(connection: psycopg.Connection, stop: threading.Event) -> None:
    """Wakes stages on notices until `stop` is set. Raises when the connection is lost, and the lock with it."""
    connection.execute(f"LISTEN {WAKE_CHANNEL}")
    wake_ups = WakeUps()
    while not stop.is_set():
        for notice in connection.notifies(timeout=wake_ups.seconds_to_wait(time.monotonic()), stop_after=1):
            wake_ups.add(notice.payload, time.monotonic())
        for name in wake_ups.take_due(time.monotonic()):
            for stage in _stages_of(name):
                wake(stage)
        connection.execute("SELECT 1")


def _serve(url: str, stop: threading.Event) -> None:
    """Waits for the lock, then enqueues and listens as long as the lock is held."""
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        while connection.execute(LOCK).fetchone() != (True,):
            beat()
            if stop.wait(1.0):
                return
        log.info("scheduler active")
        jobs = _periodic_jobs()
        jobs.start()
        try:
            _listen(connection, stop)
        finally:
            jobs.shutdown(wait=False)


def main() -> None:
    configure_logging()
    stop = threading.Event()

    def request_stop(signum: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, request_stop)
    signal.signal(signal.SIGINT, request_stop)
    url = settings().database_url.get_secret_value().replace("postgresql+psycopg://", "postgresql://", 1)
    while not stop.is_set():
        try:
            _serve(url, stop)
        except (psycopg.Error, DBAPIError) as error:
            log.warning("scheduler lost the database, trying again", why=str(error).splitlines()[0])
            stop.wait(1.0)
