"""The database and the broker of a data directory, and who may start, share and stop them."""

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

if TYPE_CHECKING:  # the keeper imports this package, and need not wait for pydantic
    from services.settings import Settings

Prepare = Callable[[str], None]
REVIVE_EVERY = 1.0
UP_LOCK_SECONDS = 1.0
"""More than a command holds the lock for when it looks whether `up` runs."""
SUPERVISED = "PAPERWIRE_SUPERVISED"
DATA_DIR = "PAPERWIRE_DATA_DIR"


def say_on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def database(settings: "Settings", prepare: Prepare | None = None, *, say: Say = say_on_stderr) -> Iterator[str]:
    """The URL of the database: the setting's, a running `up`'s, or the embedded one's for as long as it is needed.

    `prepare` (the migration) is run on an embedded database before it is used, by one process at a time.
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
    with SharedServer(home, server, say).used(prepare) as url:
        yield url


@contextmanager
def servers(
    settings: "Settings", prepare: Prepare | None = None, *, say: Say = say_on_stderr
) -> Iterator[tuple[str, str]]:
    """The URLs of database and broker for `up`, which runs once on a data directory; the embedded ones are kept alive.

    Raises Conflict when it runs already. What a killed `up` left running is ended first.
    """
    home = DataDir.at(settings.data_dir)
    lock = Lock(home.run / "up.lock")
    try:
        if not lock.take(wait=UP_LOCK_SECONDS):
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
            shares = []
            if not database_url:
                shares.append(SharedServer(home, postgres, say))
                database_url = stack.enter_context(shares[-1].used(prepare))
            if not broker_url:
                shares.append(SharedServer(home, valkey, say))
                broker_url = stack.enter_context(shares[-1].used())
            stack.enter_context(kept_alive(shares, say))
            yield database_url, broker_url
    finally:
        lock.close()


def running(settings: "Settings") -> RunFile | None:
    """The `up` that runs on this data directory, if one does."""
    home = DataDir.at(settings.data_dir)
    lock = Lock(home.run / "up.lock")
    try:
        return run_file.read(home) if lock.held_elsewhere() else None
    finally:
        lock.close()


def role_environment(settings: "Settings", database_url: str, broker_url: str) -> dict[str, str]:
    """What the roles that `up` starts must know; a killed `up`'s roles are recognised by it later."""
    return {
        DATA_DIR: str(DataDir.at(settings.data_dir).path),
        "PAPERWIRE_DATABASE_URL": database_url,
        "PAPERWIRE_BROKER_URL": broker_url,
        "PAPERWIRE_SECRET_KEY": secret_key(settings),
        "PAPERWIRE_BASE_URL": settings.base_url,
        "PAPERWIRE_BIND": settings.bind,
    }


def end_orphans(home: DataDir) -> None:
    """Ends the roles that a killed `up` left on this data directory; only its lock's holder may."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    orphans = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environment = process.environ() if process.pid not in ours else {}
            if environment.get(SUPERVISED) == "1" and Path(environment.get(DATA_DIR, "")) == home.path:
                orphans.append(process)
    end(orphans, ((signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)))


def _runs_already(home: DataDir) -> str:
    up = run_file.read(home)
    return f"paperwire is already running on {home.path}" + (f" (process {up.pid}, {up.base_url})" if up else "")


class Reviving(Protocol):
    def revive(self) -> None: ...


@contextmanager
def kept_alive(shares: Sequence[Reviving], say: Say) -> Iterator[None]:
    """Has each server started again that somebody killed."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(REVIVE_EVERY):
            for share in shares:
                try:
                    share.revive()
                except Exception as error:  # Whatever it is, nobody else would start a server again.
                    say(str(error))

    thread = threading.Thread(target=watch, name="servers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
