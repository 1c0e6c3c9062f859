"""Endpoints for monitoring, and the application without a database or a key."""

from dataclasses import fields

import pytest
from sqlalchemy.engine import make_url
from starlette.testclient import TestClient

from services.errors import ConfigError
from services.settings import Settings
from services.settings import settings as process_settings
from services.store.maintenance.audit import Audit
from services.web.app import create_app
from services.web.pages import signin
from services.web.security_headers import HEADERS
from tests.web.conftest import Browser, Site, text_of


def test_a_migrated_database_is_ready(site: Site) -> None:
    nobody = site.browser()
    assert nobody.get("/healthz").status_code == 200
    assert nobody.get("/readyz").text == "ready\n"


def test_metrics_count_overdue_work(site: Site) -> None:
    subscription = site.subscription(site.ada)
    site.match(site.ada, subscription, site.paper("Forgotten"))
    site.sql("UPDATE match SET created_at = now() - interval '1 hour'")
    metrics = site.browser().get("/metrics").text
    assert 'paperwire_audit{figure="matches_not_notified"} 1.0' in metrics
    for figure in fields(Audit):
        assert f'paperwire_audit{{figure="{figure.name}"}}' in metrics
    assert "paperwire_database_up 1.0" in metrics
    assert "example.org" not in metrics


def test_metrics_report_a_failing_embedder(site: Site) -> None:
    assert "paperwire_embedder_up 1.0" in site.browser().get("/metrics").text
    site.sql(
        "INSERT INTO transport (key, down_because, check_at) "
        "VALUES ('embedder:all-MiniLM-L6-v2-int8', 'no answer', now())"
    )
    assert "paperwire_embedder_up 0.0" in site.browser().get("/metrics").text


def test_a_database_that_is_not_migrated_is_not_ready(
    site: Site, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.db.engine.dispose()
    empty = make_url(postgres_url).set(database="template1").render_as_string(hide_password=False)
    monkeypatch.setenv("PAPERWIRE_DATABASE_URL", empty)
    process_settings.cache_clear()
    with TestClient(create_app()) as client:
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "paperwire migrate" in answer.text


@pytest.mark.usefixtures("settings")
def test_without_a_database_pages_answer_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERWIRE_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    process_settings.cache_clear()
    app = create_app()
    with TestClient(app, base_url="http://127.0.0.1:8400") as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        assert "paperwire_database_up 0.0" in client.get("/metrics").text
        browser = Browser(app, "the key of a session")
        answer = browser.get("/matches")
    assert answer.status_code == 503
    assert "does not answer" in text_of(answer)


@pytest.mark.parametrize("name", ["PAPERWIRE_DATABASE_URL", "PAPERWIRE_SECRET_KEY"])
def test_a_missing_setting_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "")
    process_settings.cache_clear()
    with pytest.raises(ConfigError, match=name):
        create_app()


def test_a_page_that_fails_has_the_security_headers_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("geheim")

    monkeypatch.setattr(signin.RequestContext, "render", fail)
    with TestClient(site.app, base_url="http://127.0.0.1:8400", raise_server_exceptions=False) as client:
        answer = client.get("/signin")
    assert answer.status_code == 500
    assert "geheim" not in answer.text
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert answer.headers["Cache-Control"] == "no-store"


def test_metrics_count_transports_that_are_down_and_dead_deliveries(site: Site) -> None:
    channel = site.channel(site.ada, "email:ada@example.org")
    before = site.browser().get("/metrics").text
    assert "paperwire_circuit_breakers_open 0.0" in before
    assert "paperwire_deliveries_dead 0.0" in before
    site.sql("INSERT INTO transport (key, down_because, check_at) VALUES ('smtp', 'no answer', now())")
    site.sql(
        "INSERT INTO delivery (account_id, channel_id, kind, idem_key, message_id, state) "
        f"SELECT {site.ada}, {channel}, 'digest', n, n, 'dead' FROM unnest(ARRAY['one', 'two']) n"
    )
    after = site.browser().get("/metrics").text
    assert "paperwire_circuit_breakers_open 1.0" in after
    assert "paperwire_deliveries_dead 2.0" in after
