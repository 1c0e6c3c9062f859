"""A form from another site, without a token or above the size limit changes nothing."""

import pytest

from tests.web.conftest import Browser, Site

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
