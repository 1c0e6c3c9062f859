"""The stages of the product, in order. Each task works until nothing is due, then wakes the next stage.

listing → papers → vectors → matches → notifications → deliveries
"""

import time
from collections.abc import Callable
from datetime import timedelta

from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy.exc import OperationalError

from services.errors import LeaseLost
from services.flow.pipeline import embed, ingest, match, notify, poll, signin_mail
from services.flow.pipeline.deliver import claim, gather, send
from services.flow.upkeep import (
    bounces,
    message_updates,
    model_rollover,
    no_match_reminder,
    recalibrate,
    recovery,
    retention,
    sentence_vectors,
)
from services.settings import settings
from services.store.db import database
from services.telemetry import STAGE_ERRORS, STAGE_ITEMS, log
from workers.app import app, beat, db, embedder, embedders, fetcher, loaded_shard, secrets, shard_numbers

TIME_BUDGET = 20.0
"""Seconds. Then a task sends itself a message and lets others have the worker."""
ONE_STEP = 0.0
"""A time budget for work in long steps: one step, then the others on the slow queue."""
GATHER_TIME_BUDGET = 2.0
"""Seconds spent on making messages of due items before the first of these messages is sent."""
RETENTION_TIME_BUDGET = 2.0
"""Seconds. The nightly clean-up has the whole night, in many short turns."""
WAKE_UP_WITHIN = timedelta(seconds=15)
"""A delivery that becomes due later than this is found by the sweep."""

# ── the pipeline ──────────────────────────────────────────────────────────────────────────────────────────────


@app.task(name="paperwire.poll")
def run_poll() -> None:
    if drain("poll", lambda: poll.work(db(), settings(), fetcher())):
        wake("ingest")


@app.task(name="paperwire.ingest")
def run_ingest() -> None:
    if drain("ingest", lambda: ingest.work(db(), settings())):
        wake("embed")


@app.task(name="paperwire.embed")
def run_embed() -> None:
    if drain("embed", lambda: embed.work(db(), settings(), *embedders())):
        for shard in shard_numbers():
            wake(f"match.{shard}")


@app.task(name="paperwire.match")
def run_match(shard: int) -> None:
    if drain(f"match.{shard}", lambda: match.work(db(), settings(), [loaded_shard(shard)])):
        wake("notify")


@app.task(name="paperwire.notify")
def run_notify() -> None:
    if drain("notify", lambda: notify.work(db(), settings())):
        wake("deliver")


@app.task(name="paperwire.deliver")
def run_deliver() -> None:
    drain("deliver", lambda: recovery.pause_if_copied(db()))
    drain("deliver", lambda: recovery.end_expired_lease(db(), settings()))
    drain("deliver", lambda: recovery.probe_transport(db(), settings(), secrets()))
    drain("deliver", lambda: signin_mail.work(db(), settings()))
    drain("deliver", lambda: message_updates.give_up(db(), settings()))
    drain("deliver", lambda: gather.gather_due(db(), settings()), GATHER_TIME_BUDGET)
    drain("deliver", lambda: message_updates.work(db(), settings()))
    drain("deliver", lambda: send.send_due(db(), settings(), secrets(), TIME_BUDGET))
    drain("deliver", _schedule_wake_up)


def _schedule_wake_up() -> bool:
    """Has the scheduler wake the stage when a rate limit allows the next message, so that no worker sleeps."""
    delay = claim.next_due_in(db(), within=WAKE_UP_WITHIN)
    if delay is not None:
        with db().transaction() as tx:
            database.wake(tx, "deliver", after=delay.total_seconds())
    return False


# ── upkeep ────────────────────────────────────────────────────────────────────────────────────────────────────


@app.task(name="paperwire.slow")
def run_slow() -> None:
    """Work that must not delay alerts, the most urgent first."""
    if drain("slow", lambda: poll.look_back(db(), settings(), fetcher()), ONE_STEP):
        wake("ingest")
    if drain("slow", lambda: recalibrate.compile_waiting(db(), embedder(), settings().time_scale), ONE_STEP):
        wake("notify")
    if drain("slow", lambda: embed.work_backlog(db(), settings(), *embedders()), ONE_STEP):
        wake("embed")
    drain("slow", lambda: sentence_vectors.work(db(), settings(), *embedders()), ONE_STEP)
    drain("slow", lambda: model_rollover.take_over(db(), settings()))
    drain("slow", lambda: bounces.work(db(), settings(), secrets()))
    drain("slow", lambda: retention.work(db(), settings()), RETENTION_TIME_BUDGET)
    drain("slow", lambda: embed.index_papers(db()))
    drain("slow", lambda: recalibrate.recalibrate_due(db(), embedder(), settings().time_scale), ONE_STEP)
    if drain("slow", lambda: no_match_reminder.work(db(), settings(), embedder()), ONE_STEP):
        wake("deliver")


@app.task(name="paperwire.heartbeat")
def heartbeat() -> None:
    beat()


# ── how a task works and wakes ────────────────────────────────────────────────────────────────────────────────


def drain(stage: str, work: Callable[[], int], time_budget: float = TIME_BUDGET) -> bool:
    """Calls `work` until nothing is due. When the time budget is spent, it sends the stage another message instead.

    `work` returns the number of rows that it has finished, or whether it has finished any. Returns whether any row was
    finished.
    """
    end, finished = time.monotonic() + time_budget, 0
    try:
        while count := work():
            finished += count
            STAGE_ITEMS.labels(stage).inc(count)
            if time.monotonic() >= end:
                wake(stage)
                break
    except LeaseLost as lost:
        log.info("left to another worker", stage=stage, why=str(lost))
    except OperationalError as error:
        STAGE_ERRORS.labels(stage).inc()
        log.warning("database lost, the next sweep retries", stage=stage, why=str(error.orig).splitlines()[0])
    return finished > 0


def wake(stage: str) -> None:
    """Sends a stage its message. If the broker is down, the next sweep sends the message."""
    name, _, shard = stage.partition(".")
    queue = {"ingest": "poll", "notify": "deliver"}.get(name, stage)
    try:
        app.send_task(f"paperwire.{name}", args=[int(shard)] if shard else [], queue=queue, retry=False)
    except (BrokerError, OSError) as error:
        log.warning("broker takes no messages, the next sweep retries", stage=stage, why=type(error).__name__)
