"""`paperwire web`, `worker`, `scheduler` and `migrate`: one role a process, for Docker Compose and Kubernetes."""

import os
import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from services.cli import output
from services.errors import ConfigError

DEFAULT_PORT = 8400


def web(
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="The port to listen on. Default: the port of PAPERWIRE_BASE_URL, or 8400.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve the web pages."""
    from services import local
    from services.settings import settings
    from services.telemetry import configure_logging
    from services.web import server

    join(broker=False)
    config = settings()
    port = port or port_of(config.base_url)
    check_port_is_free(config.bind, port)
    if os.environ.get("PAPERWIRE_SUPERVISED") == "1":
        local.die_with_parent()
    configure_logging()
    server.serve(config, port)


def worker(
    queues: Annotated[
        str, typer.Option(metavar="QUEUES", help="The queues to work on, separated by commas.")
    ] = "poll,embed,match,deliver,slow",
    concurrency: Annotated[
        int,
        typer.Option(
            min=1, max=256, help="The number of processes. Only the poll and deliver queues can use more than one."
        ),
    ] = 2,
) -> None:
    """Run a worker for some or all queues."""
    join(broker=True)
    _exec_workers("worker", "--queues", queues, "--concurrency", str(concurrency))


def scheduler() -> None:
    """Start each stage when it is due. Only one scheduler is active; another one waits to take over."""
    join(broker=True)
    _exec_workers("scheduler")


def migrate() -> None:
    """Create or update the database schema."""
    from services import local
    from services.settings import settings
    from services.store.maintenance import migrate

    config = settings()
    with local.database(config) as url:
        migrate.upgrade(url, config.shards, config.role_password if config.database_url.get_secret_value() else "")
    output.say(f"the database schema is up to date ({config.shards} shard{'s' * (config.shards != 1)})")


def join(*, broker: bool) -> None:
    """Sets missing variables of the environment from the `up` that runs on this data directory: its servers and key."""
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
            raise ConfigError(
                f"{missing} is not set and no `paperwire up` runs on {config.data_dir}; set it or start `up`"
            )
        joined = config.model_copy(update={"base_url": up.base_url})
        url = database_url or local.url_of_role(config, up.database_url)
        os.environ |= local.role_environment(joined, url, broker_url or up.broker_url)
    settings.cache_clear()


def _exec_workers(*arguments: str) -> None:
    # -P keeps a `workers` package in the working directory from being imported instead of this one.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "workers", *arguments])


def port_of(base_url: str) -> int:
    """The port to listen on. A URL without a port belongs to a reverse proxy, which forwards to the default port."""
    try:
        return urlsplit(base_url).port or DEFAULT_PORT
    except ValueError:
        raise ConfigError(f"PAPERWIRE_BASE_URL: {base_url} has an invalid port; use a number from 1 to 65535") from None


def check_port_is_free(host: str, port: int) -> None:
    """Raises ConfigError if this process cannot listen on the port."""
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host} port {port}: {error.strerror or error}; choose another port with --port"
            ) from None
