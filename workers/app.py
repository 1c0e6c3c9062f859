"""The Celery application, and what a worker process makes once: database, shards, embedders."""

import os
from functools import cache
from pathlib import Path

from celery import Celery
from celery.signals import setup_logging
from sqlalchemy import func, select

from services.errors import ConfigError
from services.flow.pipeline.match import Shard
from services.flow.upkeep import model_rollover
from services.http.client import Fetcher
from services.ports import Embedder
from services.settings import Settings, settings
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
from services.store.db.tables import shard
from services.telemetry import configure_logging
from workers import broker

QUEUES = ("poll", "embed", "match", "deliver", "slow")


def _configured(config: Settings) -> Celery:
    """The settings that a Redis broker needs; the reasons are in docs/decisions/0001."""
    broker.install()
    app = Celery("paperwire", broker=config.broker_url.get_secret_value(), include=["workers.tasks"])
    app.conf.update(
        broker_transport_options={
            "visibility_timeout": 1800,
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
        },
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        task_soft_time_limit=720,
        task_time_limit=780,
        worker_soft_shutdown_timeout=30 * config.time_scale,
        worker_max_tasks_per_child=500,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_serializer="json",
        accept_content=["json"],
        task_create_missing_queues=True,
        task_default_queue="deliver",
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
    )
    return app


app = _configured(settings())


@setup_logging.connect
def _configure_logging(**_: object) -> None:
    """Keeps Celery from installing its own logging."""
    configure_logging()


@cache
def _database(pid: int) -> Database:
    url = settings().database_url.get_secret_value()
    if not url:
        raise ConfigError("PAPERWIRE_DATABASE_URL is not set; `paperwire up` sets it for its own processes")
    return Database(url)


def db() -> Database:
    """The database connections of this process: a fork must not use those of its parent."""
    return _database(os.getpid())


@cache
def secrets() -> SecretBox:
    return SecretBox(settings().secret_keys)


@cache
def fetcher() -> Fetcher:
    return Fetcher(user_agent=settings().user_agent, allow_hosts=settings().source_hosts)


def embedder() -> Embedder:
    """The embedder that serves."""
    return model_rollover.serving_embedder(db(), settings())


def embedders() -> list[Embedder]:
    """The embedders in use, the serving one first."""
    _request_wanted_model()
    return model_rollover.embedders_in_use(db(), settings())


@cache
def _request_wanted_model() -> None:
    """Records the embedder of this process's settings, once."""
    model_rollover.request_wanted_model(db(), settings())


def shard_numbers() -> range:
    """The numbers of all shards. Raises ConfigError if the settings and the database disagree on how many there are."""
    with db().transaction() as tx:
        count = tx.scalars(select(func.count()).select_from(shard)).one()
    if count != settings().shards:
        raise ConfigError(f"PAPERWIRE_SHARDS is {settings().shards}, the database has {count} shards")
    return range(count)


@cache
def loaded_shard(number: int) -> Shard:
    return Shard(number=number, heartbeat=beat)


def beat() -> None:
    """Touches the file by which the supervisor and the health check see that this process is alive."""
    path = os.environ.get("PAPERWIRE_HEARTBEAT")
    if path:
        Path(path).touch()
