"""The way through the house, top to bottom: each stage works off its due rows, then wakes the next.

listing → papers → vectors → matches → notifications → deliveries
"""

import time
from collections.abc import Callable
from datetime import timedelta

from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy.exc import OperationalError

from services.errors import LeaseLost
from services.flow.pipeline import embed as embed_stage
from services.flow.pipeline import ingest as ingest_stage
from services.flow.pipeline import match as match_stage
from services.flow.pipeline import notify as notify_stage
from services.flow.pipeline import poll as poll_stage
from services.flow.pipeline.deliver.claim import next_due_in
from services.flow.pipeline.deliver.gather import gather_due
from services.flow.pipeline.deliver.send import send_due
from services.flow.upkeep import bounces as bounces_stage
from services.flow.upkeep import message_updates as follow_up_stage
from services.flow.upkeep import model_rollover as serving_stage
from services.flow.upkeep import no_match_reminder as remind_stage
from services.flow.upkeep import recalibrate as recalibrate_stage
from services.flow.upkeep import restored_copy as recover_stage
from services.flow.upkeep import retention as clean_stage
from services.flow.upkeep import sentence_vectors as sentences_stage
from services.settings import settings
from services.store.db import database
from services.telemetry import STAGE_ERRORS, STAGE_ITEMS, log
from workers.app import app, beat, db, embedder, embedders, fetcher, loaded_shard, secrets, shard_numbers

SOON = timedelta(seconds=15)
"""What comes later is found by the sweep."""
TURN = 20.0
"""Seconds a task works before it lets others have the worker, by a message to itself."""
GATHERING_TURN = 2.0
"""Of making messages out of what is due, before those that are made go out: the first shall not wait for the last."""
CLEANING_TURN = 2.0
"""Of the clean-up, which has all night."""


def wake(stage: str) -> None:
    """Sends a stage its message. A broker that is down costs latency: the sweep sends another."""
    name, _, shard = stage.partition(".")
    queue = {"ingest": "poll", "notify": "deliver"}.get(name, stage)
    try:
        app.send_task(f"paperwire.{name}", args=[int(shard)] if shard else [], queue=queue, retry=False)
    except (BrokerError, OSError) as error:
        log.warning("broker does not take messages, the sweep will", stage=stage, why=type(error).__name__)


def drain(stage: str, work: Callable[[], int], turn: float = TURN) -> bool:
    """Works until nothing is due or the turn is over (then more is asked for); whether anything was done.

    `work` says how many rows it has worked off, or just whether it has.
    """
    end, done = time.monotonic() + turn, 0
    try:
        while count := work():
            done += count
            STAGE_ITEMS.labels(stage).inc(count)
            if time.monotonic() >= end:
                wake(stage)
                break
    except LeaseLost as lost:
        log.info("left to another worker", stage=stage, why=str(lost))
    except OperationalError as error:
        STAGE_ERRORS.labels(stage).inc()
        log.warning("database lost, the sweep will go on", stage=stage, why=str(error.orig).splitlines()[0])
    return done > 0


@app.task(name="paperwire.poll")
def poll() -> None:
    if drain("poll", lambda: poll_stage.work(db(), settings(), fetcher())):
        wake("ingest")


@app.task(name="paperwire.ingest")
def ingest() -> None:
    if drain("ingest", lambda: ingest_stage.work(db(), settings())):
        wake("embed")


@app.task(name="paperwire.embed")
def embed() -> None:
    if drain("embed", lambda: embed_stage.work(db(), settings(), *embedders())):
        for number in shard_numbers():
            wake(f"match.{number}")


@app.task(name="paperwire.match")
def match(shard: int) -> None:
    if drain(f"match.{shard}", lambda: match_stage.work(db(), settings(), [loaded_shard(shard)])):
        wake("notify")


@app.task(name="paperwire.notify")
def notify() -> None:
    if drain("notify", lambda: notify_stage.work(db(), settings())):
        wake("deliver")


@app.task(name="paperwire.deliver")
def deliver() -> None:
    drain("deliver", lambda: recover_stage.pause_if_copied(db()))
    drain("deliver", lambda: recover_stage.expire(db(), settings()))
    drain("deliver", lambda: recover_stage.probe_transport(db(), settings(), secrets()))
    drain("deliver", lambda: follow_up_stage.give_up(db(), settings()))
    drain("deliver", lambda: gather_due(db(), settings()), turn=GATHERING_TURN)
    drain("deliver", lambda: follow_up_stage.work(db(), settings()))
    drain("deliver", lambda: send_due(db(), settings(), secrets(), TURN))
    drain("deliver", _call_again)


def _call_again() -> bool:
    """Has the scheduler wake the stage when a gate opens, so that no worker sleeps before it."""
    turn = next_due_in(db(), within=SOON)
    if turn is not None:
        with db().transaction() as tx:
            database.wake(tx, "deliver", after=turn.total_seconds())
    return False


@app.task(name="paperwire.slow")
def slow() -> None:
    """What alerts may not wait for: missed days, interests that wait or age, bounces, vectors and words."""
    if drain("slow", lambda: poll_stage.look_back(db(), settings(), fetcher()), turn=0):
        wake("ingest")
    if drain("slow", lambda: recalibrate_stage.compile_waiting(db(), embedder(), settings().time_scale), turn=0):
        wake("notify")
    if drain("slow", lambda: embed_stage.work_backlog(db(), settings(), *embedders()), turn=0):
        wake("embed")
    drain("slow", lambda: sentences_stage.work(db(), settings(), *embedders()), turn=0)
    drain("slow", lambda: serving_stage.take_over(db(), settings()))
    drain("slow", lambda: bounces_stage.work(db(), settings(), secrets()))
    drain("slow", lambda: clean_stage.work(db(), settings()), turn=CLEANING_TURN)
    drain("slow", lambda: embed_stage.index_papers(db()))
    drain("slow", lambda: recalibrate_stage.recalibrate_due(db(), embedder(), settings().time_scale), turn=0)
    if drain("slow", lambda: remind_stage.work(db(), settings(), embedder()), turn=0):
        wake("deliver")


@app.task(name="paperwire.heartbeat")
def heartbeat() -> None:
    beat()
