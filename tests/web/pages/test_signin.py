"""Signing in with the printed key and with single-use links."""

from pathlib import Path

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from services.settings import Settings
from services.settings import settings as process_settings
from services.store.accounts import accounts, credentials
from services.web.app import create_app
from services.web.auth import COOKIE, SIGNIN_KEY_FILE
from tests.web.conftest import BASE, Browser, Site, text_of


@pytest.fixture
def printed(settings: Settings) -> str:
    path = Path(settings.data_dir) / SIGNIN_KEY_FILE
    path.parent.mkdir(parents=True)
    path.write_text("printed-key\n")
    return "printed-key"


@pytest.fixture
def nobody(site: Site) -> Browser:
    return site.browser()


def link_key(site: Site, account_id: int) -> str:
    with site.db.transaction() as tx:
        return credentials.create_signin_link(tx, account_id)


def signed_in_as(browser: Browser) -> str:
    page = browser.get("/account")
    return page.text.partition('name="email" value="')[2].partition('"')[0] if page.status_code == 200 else ""


def test_the_printed_key_signs_in_the_first_operator(nobody: Browser, printed: str) -> None:
    answer = nobody.get(f"/signin?key={printed}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert signed_in_as(nobody) == "ada@example.org"


def test_the_printed_key_signs_in_once(site: Site, nobody: Browser, printed: str) -> None:
    nobody.get(f"/signin?key={printed}")
    again = site.browser()
    assert again.get(f"/signin?key={printed}").headers["location"] == "/signin/link"
    assert again.get("/signin/link").status_code == 403
    assert again.post("/signin", {"key": printed}).status_code == 403
    assert signed_in_as(again) == ""


def test_the_printed_key_is_not_used_up_by_a_request_for_headers(nobody: Browser, printed: str) -> None:
    assert nobody.client.head(f"/signin?key={printed}").headers["location"] == "/signin/link"
    assert signed_in_as(nobody) == ""
    assert nobody.get(f"/signin?key={printed}").status_code == 303


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Via"])
def test_the_printed_key_is_not_valid_through_a_proxy(nobody: Browser, printed: str, header: str) -> None:
    assert nobody.get(f"/signin?key={printed}", **{header: "203.0.113.9"}).headers["location"] == "/signin/link"
    assert signed_in_as(nobody) == ""


def test_the_printed_key_is_not_valid_under_another_host_name(site: Site, printed: str) -> None:
    rebound = site.browser(base="http://evil.example:8400")
    assert rebound.get(f"/signin?key={printed}").status_code == 400
    assert rebound.post("/signin", {"key": printed}).status_code == 400


def test_signing_in_and_out_leaves_a_line_in_the_log(
    site: Site, nobody: Browser, capsys: pytest.CaptureFixture[str]
) -> None:
    key = link_key(site, site.ben)
    nobody.post("/signin", {"key": "wrong"})
    nobody.post("/signin", {"key": key})
    site.browser(site.ben).post("/signout")
    logged = "".join(capsys.readouterr())
    for event in ("a sign-in link was refused", f"signed in{' ' * 22}", "signed out"):
        assert event.strip() in logged
    assert f"account={site.ben}" in logged
    assert key not in logged


def test_pressing_the_button_uses_up_a_link_and_opening_it_does_not(site: Site, nobody: Browser) -> None:
    key = link_key(site, site.ben)
    for _ in range(3):  # link scanners
        opened = nobody.get(f"/signin?key={key}")
        assert (opened.status_code, opened.headers["location"]) == (303, "/signin/link")
        assert opened.headers["referrer-policy"] == "no-referrer"
        page = nobody.get("/signin/link")
        assert page.status_code == 200
        assert key in page.text
    assert signed_in_as(nobody) == ""
    assert nobody.post("/signin", {"key": key}).status_code == 303
    assert signed_in_as(nobody) == "ben@example.org"
    again = site.browser()
    refused = again.post("/signin", {"key": key})
    assert refused.status_code == 403
    assert "works once" in text_of(refused)
    assert signed_in_as(again) == ""


def test_an_expired_link_is_rejected(site: Site, nobody: Browser) -> None:
    key = link_key(site, site.ben)
    site.sql("UPDATE signin_link SET expires_at = now() - interval '1 second'")
    assert nobody.post("/signin", {"key": key}).status_code == 403


def test_signing_in_opens_the_requested_page(site: Site, nobody: Browser) -> None:
    asked = nobody.get("/matches?before=3")
    assert asked.status_code == 303
    nobody.get(asked.headers["location"])
    session = site.app.state.context.sessions.read(nobody.client.cookies[COOKIE])
    nobody.token = site.app.state.context.sessions.form_token(session)
    assert nobody.post("/signin", {"key": link_key(site, site.ben)}).headers["location"] == "/matches?before=3"


def test_signing_in_does_not_redirect_to_another_site(site: Site, nobody: Browser) -> None:
    nobody.get("/signin?next=https://evil.example/")
    assert nobody.post("/signin", {"key": link_key(site, site.ben)}).headers["location"] == "/"


def test_signing_in_makes_a_new_session(site: Site, nobody: Browser) -> None:
    before = nobody.token
    nobody.post("/signin", {"key": link_key(site, site.ben)})
    assert nobody.post("/signout").status_code == 403  # the form of the session before
    assert before not in nobody.get("/account").text


def test_sessions_survive_a_restart(site: Site, ben: Browser) -> None:
    cookie = ben.client.cookies[COOKIE]
    with TestClient(create_app(), base_url=BASE) as later:
        later.cookies.set(COOKIE, cookie)
        assert later.get("/account").status_code == 200


def test_signing_out_ends_the_session(ben: Browser) -> None:
    assert ben.post("/signout").status_code == 303
    assert ben.get("/account").status_code == 303


def test_signing_out_also_ends_a_copy_of_the_cookie_and_no_other_session(site: Site, ben: Browser) -> None:
    copied, other = site.browser(), site.browser(site.ben)
    copied.token = ben.token
    copied.client.cookies.clear()
    copied.client.cookies.set(COOKIE, ben.client.cookies[COOKIE])
    assert copied.get("/account").status_code == 200
    ben.post("/signout")
    assert copied.get("/account").headers["location"].startswith("/signin")
    assert copied.post("/account", {"timezone": "UTC"}).headers["location"] == "/signin"
    assert other.get("/account").status_code == 200


def test_a_cookie_opens_no_account_that_got_its_number(site: Site, ben: Browser) -> None:
    """A restored database can give a lost account's number to another person."""
    with site.db.transaction() as tx:
        accounts.remove(tx, site.ben)
        tx.execute(
            text("INSERT INTO account (id, email) OVERRIDING SYSTEM VALUE VALUES (:id, 'eve@example.org')"),
            {"id": site.ben},
        )
    assert ben.get("/account").headers["location"].startswith("/signin")


def test_a_deleted_account_is_signed_out(site: Site, ben: Browser) -> None:
    with site.db.transaction() as tx:
        accounts.remove(tx, site.ben)
    assert ben.get("/account").headers["location"].startswith("/signin")


def test_scripts_and_other_sites_cannot_use_the_cookie(site: Site, nobody: Browser) -> None:
    cookie = nobody.post("/signin", {"key": link_key(site, site.ben)}).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie


@pytest.mark.usefixtures("settings")
def test_over_https_the_cookie_is_secure(db: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERWIRE_BASE_URL", "https://papers.example.org")
    process_settings.cache_clear()
    with TestClient(create_app(), base_url="https://papers.example.org") as client:
        cookie = client.get("/signin").headers["set-cookie"]
        assert cookie.startswith("__Host-paperwire_session=")
        assert "Secure" in cookie
        assert "Path=/" in cookie
        assert "Domain" not in cookie
