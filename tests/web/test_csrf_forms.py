"""A form from another site, without a token or above the size limit changes nothing."""

import pytest
from starlette.testclient import TestClient

from services.settings import settings
from services.web.app import create_app
from tests.web.conftest import BASE, Browser, Site

FIELDS = {"email": "eve@example.org", "timezone": "UTC"}


def email_of_ada(site: Site) -> str:
    return str(site.sql(f"SELECT email FROM account WHERE id = {site.ada}")[0][0])


def test_a_form_of_this_site_is_accepted(site: Site, ada: Browser) -> None:
    assert ada.post("/account", FIELDS).status_code == 303
    assert email_of_ada(site) == "eve@example.org"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://127.0.0.1:9999", "http://[broken"])
def test_a_form_of_another_origin_is_rejected(site: Site, ada: Browser, origin: str) -> None:
    assert ada.post("/account", FIELDS, Origin=origin).status_code == 403
    assert email_of_ada(site) == "ada@example.org"


def test_a_form_without_an_origin_is_rejected(site: Site, ada: Browser) -> None:
    assert ada.client.post("/account", data={"token": ada.token, **FIELDS}).status_code == 403
    assert email_of_ada(site) == "ada@example.org"


def test_another_name_of_this_host_is_the_same_site(site: Site) -> None:
    browser = site.browser(site.ada, base="http://localhost:8400")
    assert browser.post("/account", FIELDS).status_code == 303


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_a_form_without_its_token_is_rejected(site: Site, ada: Browser, token: str) -> None:
    assert ada.post("/account", {**FIELDS, "token": token}).status_code == 403
    assert email_of_ada(site) == "ada@example.org"


def test_the_token_of_another_account_is_rejected(ada: Browser, ben: Browser) -> None:
    assert ada.post("/account", {**FIELDS, "token": ben.token}).status_code == 403


def test_a_form_above_the_size_limit_is_rejected(ada: Browser) -> None:
    assert ada.post("/account", {"timezone": "x" * 200_000}).status_code == 413


def test_every_response_has_the_security_headers(ada: Browser) -> None:
    for path in ("/subscriptions", "/nowhere", "/healthz", "/static/style.css"):
        headers = ada.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "camera=()" in headers["permissions-policy"]
        assert "strict-transport-security" not in headers


def test_no_cache_keeps_a_page(ada: Browser) -> None:
    for path in ("/subscriptions", "/account", "/nowhere"):
        assert ada.get(path).headers["cache-control"] == "no-store"
    assert ada.get("/static/style.css").headers["cache-control"] == "no-cache"


@pytest.mark.usefixtures("settings", "db")
def test_over_https_browsers_are_told_to_stay_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERWIRE_BASE_URL", "https://papers.example.org")
    settings.cache_clear()
    with TestClient(create_app(), base_url="https://papers.example.org") as client:
        assert client.get("/signin").headers["strict-transport-security"] == "max-age=31536000"


def test_a_page_is_shown_under_the_names_of_this_server_only(site: Site) -> None:
    for host in ("127.0.0.1:8400", "localhost", "[::1]:8400"):
        assert site.browser().get("/signin", Host=host).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "[broken", ""):
        answer = site.browser().get("/signin", Host=host)
        assert answer.status_code == 400
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert site.browser().get("/healthz", Host="10.0.0.7:8400").status_code == 200


@pytest.mark.parametrize("path", ["/subscriptions", "/healthz", "/metrics", "/static/style.css", "/nowhere"])
def test_head_is_a_get_without_a_body(ada: Browser, path: str) -> None:
    head, get = ada.client.head(path), ada.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert ada.client.head("/signout").status_code == 405


@pytest.mark.parametrize("name", ["email", "token", "timezone"])
def test_characters_that_cannot_be_stored_are_no_error_of_the_server(ada: Browser, name: str) -> None:
    fields = {"token": ada.token, **FIELDS, name: "\\ud800\\x00"}
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()
    )
    headers = {"Origin": BASE, "Content-Type": "multipart/form-data; boundary=x; charset=unicode_escape"}
    answer = ada.client.post("/account", content=f"{parts}--x--\r\n".encode(), headers=headers)
    assert answer.status_code in (303, 403, 422)
