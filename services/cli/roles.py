"""`paperwire web`, `worker`, `scheduler` and `migrate`: single roles, for compose and Kubernetes."""

import os
import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from services.cli import output
from services.errors import ConfigError

DEFAULT_PORT = 8400
GOODBYE_SECONDS = 3
"""That open requests are given when the web page ends."""


def web(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Else PAPERWIRE_BASE_URL's, else 8400.", show_default=False)
    ] = None,
) -> None:
    """Serve the pages."""
    import uvicorn

    from services import local
    from services.settings import settings
    from services.telemetry import configure_logging

    join(broker=False)
    config = settings()
    port = port or port_of(config.base_url)
    refuse_taken(config.bind, port)
    if os.environ.get("PAPERWIRE_SUPERVISED") == "1":
        local.die_with_parent()
    configure_logging()
    uvicorn.run(
        "services.web.app:create_app",
        factory=True,
        host=config.bind,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GOODBYE_SECONDS,
    )


def worker(
    queues: Annotated[
        str, typer.Option(metavar="Q", help="Some of poll, embed, match, deliver and slow.")
    ] = "poll,embed,match,deliver,slow",
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Processes, for poll and deliver.")] = 2,
) -> None:
    """Do the work of queues."""
    join(broker=True)
    _become("worker", "--queues", queues, "--concurrency", str(concurrency))


def scheduler() -> None:
    """Wake what is due; a second one stands by."""
    join(broker=True)
    _become("scheduler")


def migrate() -> None:
    """Bring the database up to date."""
    from services import local
    from services.settings import settings
    from services.store.maintenance import migrate

    config = settings()
    with local.database(config) as url:
        migrate.upgrade(url, config.shards)
    output.say(f"the database is up to date, {config.shards} shard{'s' * (config.shards != 1)}")


def join(*, broker: bool) -> None:
    """Puts into the environment what is not set: the servers and the key of the `up` on this data directory."""
    from services import local
    from services.settings import settings

    config = settings()
    database_url, broker_url = config.database_url.get_secret_value(), config.broker_url.get_secret_value()
    if database_url and (broker_url or not broker):
        os.environ["PAPERWIRE_SECRET_KEY"] = local.secret_key(config)
    else:
        up = local.running(config)
        if up is None:
            missing = "PAPERWIRE_DATABASE_URL" if not database_url else "PAPERWIRE_BROKER_URL"
            raise ConfigError(f"{missing} is not set, and no `paperwire up` runs on {config.data_dir} to join")
        joined = config.model_copy(update={"base_url": up.base_url})
        os.environ |= local.role_environment(joined, database_url or up.database_url, broker_url or up.broker_url)
    settings.cache_clear()


def _become(*words: str) -> None:
    # -P: a `workers` package in the working directory must not be taken for ours.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "workers", *words])


def port_of(base_url: str) -> int:
    """The port to listen on; an address without one is a proxy's, which forwards to the usual port."""
    try:
        return urlsplit(base_url).port or DEFAULT_PORT
    except ValueError:
        raise ConfigError(f"PAPERWIRE_BASE_URL: {base_url} has no usable port") from None


def refuse_taken(host: str, port: int) -> None:
    """Raises ConfigError when nobody could listen there."""
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror or error}; try --port") from None
