"""`DATA_DIR/run/up.json`: the URLs and the pid of the running `paperwire up`, which other commands read."""

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from services.local.datadir import DataDir


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    pid: int
    base_url: str
    database_url: str
    broker_url: str

    def write(self, home: DataDir) -> None:
        write_private(_path(home), json.dumps(asdict(self), indent=2) + "\n")


def read(home: DataDir) -> RunFile | None:
    """The content of the file; None if it is missing or cannot be parsed."""
    try:
        return RunFile(**json.loads(_path(home).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def remove(home: DataDir) -> None:
    _path(home).unlink(missing_ok=True)


def _path(home: DataDir) -> Path:
    return home.run / "up.json"


def write_private(path: Path, text: str, *, replace: bool = True) -> None:
    """Writes a file atomically with mode 0600. Raises FileExistsError if it exists and `replace` is False."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(number, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(name, path)
        else:
            os.link(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
