"""Returned mails handed over by a mail server: with the secret alone, and only what they report is done."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from services.notifiers.email import email_settings
from tests.web.conftest import BASE, Browser, Site, text_of

SAMPLE = Path(__file__).parents[1] / "data" / "bounces" / "postfix.eml"
SECRET = {"Authorization": "Bearer geheim"}


@pytest.fixture
def server(site: Site, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("PAPERWIRE_BOUNCE_SECRET", "geheim")
    email_settings.cache_clear()
    channel = site.channel(site.ada, "email:ada@example.org")
    site.sql(
        "INSERT INTO delivery (account_id, channel_id, kind, idem_key, message_id, state, sent_at) "
        f"VALUES ({site.ada}, {channel}, 'digest', 'k', '<m1@x>', 'sent', now())"
    )
    return TestClient(site.app, base_url=BASE)


def body(message_id: str = "<m1@x>") -> bytes:
    return SAMPLE.read_bytes().replace(b"MESSAGE-ID", message_id.encode())


def test_a_hard_bounce_is_shown_where_the_channel_is_enabled_again(
    site: Site, server: TestClient, ada: Browser
) -> None:
    for texts in ("hard\n", "known\n"):
        answer = server.post("/bounces", content=body() + b"x" * 500_000, headers=SECRET)
        assert (answer.status_code, answer.text) == (200, texts)
    page = text_of(ada.get("/channels"))
    assert "mail to this address came back: 550 5.1.1" in page
    assert "came back: 550 5.1.1" in text_of(ada.get("/deliveries"))
    assert ada.post("/channels/1/enable").status_code == 303
    assert site.sql("SELECT disabled_because FROM channel") == [("",)]
    assert site.sql("SELECT * FROM suppression") == []


def test_soft_ones_are_counted_on_the_page(server: TestClient, ada: Browser) -> None:
    soft = body().replace(b"Status: 5.1.1", b"Status: 4.2.2")
    assert server.post("/bounces", content=soft, headers=SECRET).text == "soft\n"
    assert "1 mail to this address came back in the last 30 days. The last reason: 4.2.2 550 5.1.1" in text_of(
        ada.get("/channels")
    )


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"Authorization": "geheim"}])
def test_without_the_secret_nothing_is_taken(site: Site, server: TestClient, headers: dict[str, str]) -> None:
    assert server.post("/bounces", content=body(), headers=headers).status_code == 401
    assert site.sql("SELECT * FROM bounce") == []


def test_without_a_secret_in_the_settings_there_is_no_such_address(site: Site) -> None:
    answer = TestClient(site.app, base_url=BASE).post("/bounces", content=body(), headers={"Authorization": "Bearer "})
    assert answer.status_code == 404


def test_what_is_not_ours_is_ignored(site: Site, server: TestClient) -> None:
    assert server.post("/bounces", content=body("<other@x>"), headers=SECRET).text == "ignored\n"
    assert server.post("/bounces", content=b"", headers=SECRET).text == "ignored\n"
    assert site.sql("SELECT disabled_because FROM channel") == [("",)]
