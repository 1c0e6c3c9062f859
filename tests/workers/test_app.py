"""What a worker's parts are made of."""

from collections.abc import Iterator

import pytest

from services.http.client import Failed
from services.ports import Request
from services.settings import settings
from workers import app


@pytest.fixture(autouse=True)
def webhook_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PAPERWIRE_ALLOW_WEBHOOK_HOSTS", "127.0.0.1")
    for cached in (settings, app.fetcher):
        cached.cache_clear()
    yield "127.0.0.1"
    for cached in (settings, app.fetcher):
        cached.cache_clear()


def test_sources_may_not_read_the_private_hosts_of_webhooks(webhook_host: str) -> None:
    outcome = app.fetcher().fetch(Request(url=f"http://{webhook_host}:9/feed"))
    assert isinstance(outcome, Failed)
    assert "not on the public internet" in outcome.reason
