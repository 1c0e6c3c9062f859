from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.notifiers.email import email_settings
from services.notifiers.slack import slack_settings
from services.settings import settings
from tests.support.sinks import HttpSink, SmtpSink

Configure = Callable[..., None]


@pytest.fixture(autouse=True)
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Configure]:
    """Sets settings by their names without the prefix. The other settings have their defaults."""

    def forget() -> None:
        for cached in (settings, email_settings, slack_settings):
            cached.cache_clear()

    def set_to(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"PAPERWIRE_{name.upper()}", value)
        forget()

    monkeypatch.chdir(tmp_path)
    set_to(data_dir=str(tmp_path), base_url="https://papers.example.org")
    yield set_to
    forget()


@pytest.fixture
def smtp() -> Iterator[SmtpSink]:
    with SmtpSink() as sink:
        yield sink


@pytest.fixture
def http() -> Iterator[HttpSink]:
    with HttpSink() as sink:
        yield sink


class Commit:
    """Stands for the commit before the first byte that cannot be taken back. Counts its calls, and may refuse."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls = 0
        self.error = error

    def __call__(self) -> None:
        self.calls += 1
        if self.error:
            raise self.error


@pytest.fixture
def commit() -> Commit:
    return Commit()
