"""The scheduler: ticks that only enqueue, and an ear for stages woken from pages and commands.

One is active at a time, by an advisory lock on the connection that it also listens on; a second stands by.
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

SWEEP = timedelta(seconds=15)
HEARTBEAT = timedelta(seconds=20)
PULSES = ("poll", "embed", "deliver", "slow")
"""Queues that take heartbeats: every worker serves one of them, or it is taken for dead."""
LOCK = "SELECT pg_try_advisory_lock(hashtextextended('paperwire:scheduler', 0))"
MAX_WAITING = 4
"""Messages of one queue beyond which a sweep adds none: a backlog does not breed messages."""


def sweep() -> None:
    """Wakes every stage that has due rows; lost messages cost no more than one sweep."""
    models = [one.name for one in embedders()]
    with db().transaction() as tx:
        stages = due_work.stages_with_work(tx, db().now(), settings().time_scale, *models)
    for stage in stages:
        if _waiting(_queue(stage)) < MAX_WAITING:
            wake(stage)
    beat()


def heartbeat() -> None:
    """A message through each kind of worker; the supervisor restarts one that shows no life."""
    for queue in PULSES:
        if _waiting(queue) < MAX_WAITING * 4:
            app.send_task("paperwire.heartbeat", queue=queue, expires=60, retry=False)


def _queue(stage: str) -> str:
    return {"ingest": "poll", "notify": "deliver"}.get(stage, stage)


def _waiting(queue: str) -> int:
    with app.connection_for_write() as connection:
        return int(connection.default_channel.client.llen(queue))


def _ticks() -> BackgroundScheduler:
    defaults = {"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
    scheduler = BackgroundScheduler(job_defaults=defaults, timezone="UTC")
    scale, at_once = settings().time_scale, datetime.now(UTC)
    every = {"sweep": max(0.5, SWEEP.total_seconds() * scale), "heartbeat": HEARTBEAT.total_seconds()}
    for tick in (sweep, heartbeat):
        name = tick.__name__
        scheduler.add_job(tick, "interval", seconds=every[name], id=name, next_run_time=at_once)
    scheduler.add_listener(_count_miss, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_ERROR)
    return scheduler


def _count_miss(event: JobExecutionEvent) -> None:
    SCHEDULER_MISSES.labels(event.job_id).inc()
    if error := getattr(event, "exception", None):
        log.warning("tick failed", job=event.job_id, why=f"{type(error).__name__}: {str(error).splitlines()[:1]}")


class Alarms:
    """Which stages are to be woken when, the earliest asked for; in memory, since the sweep finds what is lost."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def set(self, notice: str, now: float) -> None:
        """Takes a notice as `store.database.wake` words it: a stage, perhaps with the seconds to wait."""
        stage, _, after = notice.partition(" ")
        self._due[stage] = min(now + float(after or 0), self._due.get(stage, inf))

    def wait(self, now: float, longest: float = 1.0) -> float:
        return max(0.001, min([longest, *(due - now for due in self._due.values())]))

    def ring(self, now: float) -> list[str]:
        """The stages whose time has come, each once."""
        ringing = [stage for stage, due in self._due.items() if due <= now]
        for stage in ringing:
            del self._due[stage]
        return ringing


def _stages_of(name: str) -> list[str]:
    return [f"match.{number}" for number in shard_numbers()] if name == "match" else [name]


def _listen(connection: psycopg.Connection, stop: threading.Event) -> None:
    """Forwards notices until told to stop; raises when the connection, and with it the lock, is lost."""
    connection.execute(f"LISTEN {WAKE_CHANNEL}")
    alarms = Alarms()
    while not stop.is_set():
        for notice in connection.notifies(timeout=alarms.wait(time.monotonic()), stop_after=1):
            alarms.set(notice.payload, time.monotonic())
        for name in alarms.ring(time.monotonic()):
            for stage in _stages_of(name):
                wake(stage)
        connection.execute("SELECT 1")


def _serve(url: str, stop: threading.Event) -> None:
    """Waits for the lock, then ticks and listens for as long as it is held."""
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        while connection.execute(LOCK).fetchone() != (True,):
            beat()
            if stop.wait(1.0):
                return
        log.info("scheduler active")
        ticks = _ticks()
        ticks.start()
        try:
            _listen(connection, stop)
        finally:
            ticks.shutdown(wait=False)


def main() -> None:
    configure_logging()
    stop = threading.Event()

    def end(signum: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    url = settings().database_url.get_secret_value().replace("postgresql+psycopg://", "postgresql://", 1)
    while not stop.is_set():
        try:
            _serve(url, stop)
        except (psycopg.Error, DBAPIError) as error:
            log.warning("scheduler lost the database, trying again", why=str(error).splitlines()[0])
            stop.wait(1.0)
