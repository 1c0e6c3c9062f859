"""`paperwire up`: everything in one supervised process tree."""

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

MAX_SILENCE = 150.0
"""Seconds without a sign of life after which a worker is replaced: the scheduler asks for one every 20 s."""
WORKERS = {"deliver": ("deliver", 2), "poll": ("poll", 2), "match": ("embed,match", 1), "slow": ("slow", 1)}
"""Name → queues and processes. Apart, so that slow sources and embedding keep no alert waiting."""


def up(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Of the page: else PAPERWIRE_BASE_URL's, else 8400.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where everything is kept; else PAPERWIRE_DATA_DIR.")
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Fill an empty database with a sample listing.")] = False,
) -> None:
    """Run everything: database, broker, page, workers and scheduler. Ctrl-C ends all of it."""
    from services import local

    signal.signal(signal.SIGTERM, _leave)
    config = _settings(port, data_dir)
    port = port or roles.port_of(config.base_url)
    with _servers(config, port) as (database_url, broker_url):
        os.environ |= local.role_environment(config, database_url, broker_url)
        config = _reread()
        supervisor = local.Supervisor(
            _children(config, port),
            log=sys.stdout,
            on_started=lambda: announce(config, port, supervisor.say, sample=sample),
        )
        code = supervisor.run()
    raise typer.Exit(code)


def _leave(*_: object) -> None:
    sys.exit(0)


def _settings(port: int | None, data_dir: Path | None) -> "Settings":
    """The settings with the options in them, for this process and all that it starts."""
    from services.web.auth import is_loopback

    if data_dir:
        os.environ["PAPERWIRE_DATA_DIR"] = str(data_dir.expanduser().absolute())
    config = _reread()
    if port and "base_url" not in config.model_fields_set:
        host = config.bind if is_loopback(config.bind) else "127.0.0.1"
        os.environ["PAPERWIRE_BASE_URL"] = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        config = _reread()
    return config


def _reread() -> "Settings":
    from services.settings import settings

    settings.cache_clear()
    return settings()


@contextmanager
def _servers(config: "Settings", port: int) -> Iterator[tuple[str, str]]:
    """Database and broker, migrated, for the one `up` of a data directory."""
    from services import local
    from services.store.maintenance import migrate

    local.secret_key(config)  # a missing one is said before anything is started
    with local.servers(config, lambda url: migrate.upgrade(url, config.shards)) as urls:
        roles.refuse_taken(config.bind, port)
        if config.database_url.get_secret_value():
            migrate.upgrade(urls[0], config.shards)
        yield urls


def _children(config: "Settings", port: int) -> "list[Child]":
    # -P: packages named `services` and `workers` in the working directory must not be taken for ours.
    python = (sys.executable, "-P", "-m")
    from services.local import Child

    children = [Child("web", (*python, "services.cli", "web", "--port", str(port)))]
    for name, (queues, processes) in WORKERS.items():
        words = ("worker", "--queues", queues, "--concurrency", str(processes))
        pulse = config.data_dir / "run" / f"heartbeat.{name}"
        env = {"PAPERWIRE_HEARTBEAT": str(pulse)}
        children.append(Child(name, (*python, "workers", *words), env, pulse, MAX_SILENCE))
    return [*children, Child("scheduler", (*python, "workers", "scheduler"))]
