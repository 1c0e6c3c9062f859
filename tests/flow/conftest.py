"""The service's stages on the tests' database, with plugins' settings and sinks to send to."""

from collections.abc import Callable, Iterator

import pytest

from services.notifiers.email import email_settings
from services.notifiers.slack import slack_settings
from services.settings import Settings
from services.settings import settings as process_settings
from services.store.db.database import Database
from tests.support.sinks import Answer, HttpSink, SmtpSink
from tests.support.world import Clock, Pipeline, TimedPipeline

Configure = Callable[..., None]


@pytest.fixture
def configure(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Sets plugins' settings by their names without the prefix, until the test ends."""

    def forget() -> None:
        for cached in (process_settings, email_settings, slack_settings):
            cached.cache_clear()

    def set_to(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"PAPERWIRE_{name.upper()}", value)
        forget()

    set_to()
    yield set_to
    forget()


@pytest.fixture
def timed(db: Database, postgres_url: str, settings: Settings, configure: Configure) -> Iterator[TimedPipeline]:
    clock = Clock("2026-05-04T06:00")
    database = Database(postgres_url, clock=clock)
    yield TimedPipeline(database, settings, clock)
    database.close()


@pytest.fixture
def world(db: Database, settings: Settings, configure: Configure) -> Pipeline:
    return Pipeline(db, settings)


@pytest.fixture
def smtp(configure: Configure) -> Iterator[SmtpSink]:
    with SmtpSink() as sink:
        configure(smtp_url=sink.url)
        yield sink


@pytest.fixture
def slack(configure: Configure) -> Iterator[HttpSink]:
    with HttpSink() as sink:
        configure(slack_api_url=f"http://127.0.0.1:{sink.port}/", slack_bot_token="xoxb-secret")
        sink.always("/chat.postMessage", Answer(body='{"ok": true, "ts": "1.2", "channel": "C1"}'))
        yield sink
