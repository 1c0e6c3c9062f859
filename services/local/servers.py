"""The database and the broker of a data directory: started by the first user, shared, and stopped after the last."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psutil

from services.errors import Conflict
from services.local import run_file
from services.local.datadir import DataDir
from services.local.file_locks import Lock
from services.local.postgres import Postgres
from services.local.process import end
from services.local.run_file import RunFile
from services.local.secret import secret_key
from services.local.shared_server import Say, SharedServer
from services.local.valkey import Valkey

if TYPE_CHECKING:  # the server process imports this package and does not need pydantic
    from services.settings import Settings

Prepare = Callable[[str], None]
REVIVE_INTERVAL_SECONDS = 1.0
UP_LOCK_TIMEOUT_SECONDS = 1.0
"""Longer than `running` holds the lock while it checks whether `up` runs."""
SUPERVISED = "PAPERWIRE_SUPERVISED"
DATA_DIR = "PAPERWIRE_DATA_DIR"


def say_on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def database(settings: "Settings", prepare: Prepare | None = None, *, say: Say = say_on_stderr) -> Iterator[str]:
    """Yields the URL of the database: from the setting, from a running `up`, or of the embedded database.

    `prepare` (the migration) runs on an embedded database first, in one process at a time.
    """
    if url := settings.database_url.get_secret_value():
        yield url
        return
    home = DataDir.at(settings.data_dir)
    server = Postgres(home)
    up = running(settings)
    if up and up.database_url != server.url:
        yield up.database_url
        return
    if not (home.path / "postgres").exists():
        say(f"starting a new database in {home.path}")
    with SharedServer(home, server, say).used(prepare) as url:
        yield url


@contextmanager
def servers(
    settings: "Settings", prepare: Prepare | None = None, *, say: Say = say_on_stderr
) -> Iterator[tuple[str, str]]:
    """Yields the URLs of database and broker for `up`, and restarts the embedded ones if they are killed.

    Only one `up` can run on a data directory: raises Conflict if another one does. Ends roles that a killed `up` left.
    """
    home = DataDir.at(settings.data_dir)
    lock = Lock(home.run / "up.lock")
    try:
        if not lock.take(wait_seconds=UP_LOCK_TIMEOUT_SECONDS):
            raise Conflict(_runs_already(home))
        end_orphans(home)
        postgres, valkey = Postgres(home), Valkey(home)
        database_url = settings.database_url.get_secret_value()
        broker_url = settings.broker_url.get_secret_value()
        RunFile(
            pid=os.getpid(),
            base_url=settings.base_url,
            database_url=database_url or postgres.url,
            broker_url=broker_url or valkey.url,
        ).write(home)
        with ExitStack() as stack:
            stack.callback(run_file.remove, home)
            embedded = []
            if not database_url:
                embedded.append(SharedServer(home, postgres, say))
                database_url = stack.enter_context(embedded[-1].used(prepare))
            if not broker_url:
                embedded.append(SharedServer(home, valkey, say))
                broker_url = stack.enter_context(embedded[-1].used())
            stack.enter_context(restarted_when_killed(embedded, say))
            yield database_url, broker_url
    finally:
        lock.close()


def running(settings: "Settings") -> RunFile | None:
    """The URLs and the pid of the `up` that runs on this data directory; None if none runs."""
    home = DataDir.at(settings.data_dir)
    lock = Lock(home.run / "up.lock")
    try:
        return run_file.read(home) if lock.held_elsewhere() else None
    finally:
        lock.close()


def url_of_role(settings: "Settings", database_url: str) -> str:
    """The URL for pages and workers: that of their role on the embedded server, elsewhere `database_url` itself."""
    from services.store.maintenance import database_role

    is_embedded = database_url == Postgres(DataDir.at(settings.data_dir)).url
    return database_role.url_of_role(database_url) if is_embedded else database_url


def role_environment(settings: "Settings", database_url: str, broker_url: str) -> dict[str, str]:
    """The environment of the roles that `up` starts. `end_orphans` recognises roles of a killed `up` by it."""
    return {
        DATA_DIR: str(DataDir.at(settings.data_dir).path),
        "PAPERWIRE_DATABASE_URL": database_url,
        "PAPERWIRE_BROKER_URL": broker_url,
        "PAPERWIRE_SECRET_KEY": secret_key(settings),
        "PAPERWIRE_SECRET_KEYS_OLD": settings.secret_keys_old.get_secret_value(),
        "PAPERWIRE_BASE_URL": settings.base_url,
        "PAPERWIRE_BIND": settings.bind,
    }


def end_orphans(home: DataDir) -> None:
    """Ends the roles that a killed `up` left on this data directory. The caller must hold `up.lock`."""
    own_pids = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    orphans = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environment = process.environ() if process.pid not in own_pids else {}
            if environment.get(SUPERVISED) == "1" and Path(environment.get(DATA_DIR, "")) == home.path:
                orphans.append(process)
    end(orphans, ((signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)))


def _runs_already(home: DataDir) -> str:
    up = run_file.read(home)
    return f"paperwire is already running on {home.path}" + (f" (process {up.pid}, {up.base_url})" if up else "")


class Revivable(Protocol):
    def revive(self) -> None: ...


@contextmanager
def restarted_when_killed(servers: Sequence[Revivable], say: Say) -> Iterator[None]:
    """Restarts each server process that was killed, once a second."""
    stopped = threading.Event()

    def watch() -> None:
        while not stopped.wait(REVIVE_INTERVAL_SECONDS):
            for server in servers:
                try:
                    server.revive()
                except Exception as error:  # This thread is the only one that restarts servers, so it must not end.
                    say(str(error))

    thread = threading.Thread(target=watch, name="servers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
