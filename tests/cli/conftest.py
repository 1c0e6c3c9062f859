"""Commands run in this process, on the tests' database."""

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


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    def error(self) -> str:
        """The one line that says what went wrong."""
        assert (self.code, self.out) == (1, ""), self
        assert self.err.startswith("error: ")
        assert self.err.count("\n") == 1, self.err
        return self.err.strip()


Paperwire = Callable[..., Answer]


@pytest.fixture
def paperwire(
    db: Database, settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Paperwire:
    """Runs a command as a person would; `stdin` is what is piped into it."""

    def command(*words: object, stdin: bytes = b"") -> Answer:
        monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(stdin)))
        code = run([str(word) for word in words])
        return Answer(code, *capsys.readouterr())

    return command


@pytest.fixture
def ada(paperwire: Paperwire) -> str:
    """An account with nothing in it."""
    assert paperwire("user", "add", "ada@example.org", "--timezone", "Europe/Berlin").code == 0
    return "ada@example.org"


@pytest.fixture
def archive(paperwire: Paperwire) -> Path:
    """A few papers, announced to nobody."""
    file = LISTINGS / "papers.jsonl"
    assert paperwire("import", file, "--silent", "--date", "2025-05-02").code == 0
    return file
