"""Runs commands in this process on the test database."""

import json
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from services.cli.app import run
from services.settings import Settings
from services.store.db.database import Database

LISTINGS = Path(__file__).parents[1] / "data" / "listings"


class Result(NamedTuple):
    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    def error(self) -> str:
        """The error line; fails if there is other output."""
        assert (self.code, self.out) == (1, ""), self
        assert self.err.startswith("error: ")
        assert self.err.count("\n") == 1, self.err
        return self.err.strip()


Paperwire = Callable[..., Result]


@pytest.fixture
def paperwire(
    db: Database, settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Paperwire:
    """Runs a command with arguments; `stdin` is its standard input."""

    def command(*arguments: object, stdin: bytes = b"") -> Result:
        monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(stdin)))
        code = run([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return command


@pytest.fixture
def ada(paperwire: Paperwire) -> str:
    """An account without subscriptions and channels."""
    assert paperwire("user", "add", "ada@example.org", "--timezone", "Europe/Berlin").code == 0
    return "ada@example.org"


@pytest.fixture
def archive(paperwire: Paperwire) -> Path:
    """A few papers in the archive, imported silently."""
    file = LISTINGS / "papers.jsonl"
    assert paperwire("import", file, "--silent", "--date", "2025-05-02").code == 0
    return file
