"""`paperwire up`: all roles and servers in one supervised process tree."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import roles
from services.cli.startup import announce

if TYPE_CHECKING:
    from services.local import Child
    from services.settings import Settings

MAX_SILENCE_SECONDS = 150.0
"""A worker without a heartbeat for this long is restarted. The scheduler requests a heartbeat every 20 seconds."""
WORKERS = {"deliver": ("deliver", 2), "poll": ("poll", 2), "match": ("embed,match", 1), "slow": ("slow", 1)}
"""The queues and the number of processes by worker. Separate, so that slow sources and embedding delay no alert."""


def up(
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="The port of the web pages. Default: the port of PAPERWIRE_BASE_URL, or 8400."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The directory of all data. Default: PAPERWIRE_DATA_DIR.")
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Import a sample listing if the database has no papers.")
    ] = False,
) -> None:
    """Run the whole service: database, broker, web pages, workers and scheduler. Stop it with Ctrl-C."""
    from services import local

    signal.signal(signal.SIGTERM, _exit)
    config = _settings_with_options(port, data_dir)
    port = port or roles.port_of(config.base_url)
    with _servers(config, port) as (database_url, broker_url):
        os.environ |= local.role_environment(config, database_url, broker_url)
        config = _reload_settings()
        supervisor = local.Supervisor(
            _children(config, port, database_url),
            log=sys.stdout,
            on_started=lambda: announce(config, port, supervisor.say, sample=sample),
        )
        code = supervisor.run()
    raise typer.Exit(code)


def _exit(*_: object) -> None:
    sys.exit(0)


def _settings_with_options(port: int | None, data_dir: Path | None) -> "Settings":
    """The settings with the options applied, in this process and, through the environment, in its children."""
    from services.web.auth import is_loopback

    if data_dir:
        os.environ["PAPERWIRE_DATA_DIR"] = str(data_dir.expanduser().absolute())
    config = _reload_settings()
    if port and "base_url" not in config.model_fields_set:
        host = config.bind if is_loopback(config.bind) else "127.0.0.1"
        os.environ["PAPERWIRE_BASE_URL"] = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        config = _reload_settings()
    return config


def _reload_settings() -> "Settings":
    from services.settings import settings

    settings.cache_clear()
    return settings()


@contextmanager
def _servers(config: "Settings", port: int) -> Iterator[tuple[str, str]]:
    """Yields the URLs of the migrated database and of the broker."""
    from services import local
    from services.store.maintenance import migrate

    local.secret_key(config)  # raises ConfigError for a missing key before a server is started
    with local.servers(config, lambda url: migrate.upgrade_embedded(url, config.shards)) as urls:
        roles.check_port_is_free(config.bind, port)
        if config.database_url.get_secret_value():
            migrate.upgrade(urls[0], config.shards, config.role_password)
        yield urls


def _children(config: "Settings", port: int, database_url: str) -> "list[Child]":
    # -P keeps packages named `services` and `workers` in the working directory from being imported.
    python = (sys.executable, "-P", "-m")
    from services.local import Child, url_of_role

    signs_in = {"PAPERWIRE_DATABASE_URL": url_of_role(config, database_url)}
    children = [Child("web", (*python, "services.cli", "web", "--port", str(port)), signs_in)]
    for name, (queues, processes) in WORKERS.items():
        arguments = ("worker", "--queues", queues, "--concurrency", str(processes))
        heartbeat = config.data_dir / "run" / f"heartbeat.{name}"
        env = {**signs_in, "PAPERWIRE_HEARTBEAT": str(heartbeat)}
        children.append(Child(name, (*python, "workers", *arguments), env, heartbeat, MAX_SILENCE_SECONDS))
    return [*children, Child("scheduler", (*python, "workers", "scheduler"), signs_in)]
