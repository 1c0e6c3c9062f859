"""Sessions: listed on the Account page, and ended one by one or all together."""

import pytest

from services.domain.accounts.browser import browser_name
from services.store.accounts import credentials
from tests.web.conftest import Browser, Site, text_of

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
EDGE = "Mozilla/5.0 (Windows NT 10.0; Win64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18.0 Mobile Safari/604.1"


def sessions_of(site: Site, account_id: int) -> list[int]:
    return [
        int(id) for (id,) in site.sql(f"SELECT id FROM session WHERE account_id = {account_id} AND ended_at IS NULL")
    ]


def is_signed_in(browser: Browser) -> bool:
    return browser.get("/account").status_code == 200


def test_the_account_page_lists_where_the_account_is_signed_in(site: Site, ben: Browser) -> None:
    site.sql(
        "INSERT INTO session (digest, account_id, member_id, address, user_agent)"
        f" SELECT 'x', account_id, id, '2001:db8::7', '{EDGE}' FROM member WHERE account_id = {site.ben}"
    )
    site.browser(site.ada)
    page = text_of(ben.get("/account"))
    assert "Firefox on Linux this one 192.0.2.7" in page
    assert "Edge on Windows 2001:db8::7" in page
    assert page.count("Sign out everywhere") == 1
    assert page.count("this one") == 1
    assert page.count("192.0.2.7") == 1


def test_signing_in_records_the_browser_and_its_address(site: Site) -> None:
    nobody = site.browser()
    with site.db.transaction() as tx:
        key = credentials.create_signin_link(tx, site.ben)
    nobody.post("/signin", {"key": key}, **{"User-Agent": FIREFOX + "\0" + "x" * 1_000})
    ((address, agent),) = site.sql("SELECT address, user_agent FROM session")
    assert address == "testclient"
    assert agent == (FIREFOX + "x" * 1_000)[:300]


def test_one_session_is_ended_and_the_others_go_on(site: Site, ben: Browser) -> None:
    other = site.browser(site.ben)
    mine, its = sessions_of(site, site.ben)
    answer = ben.post(f"/account/sessions/{its}/end")
    assert answer.headers["location"] == "/account?flash=session-ended#top"
    assert not is_signed_in(other)
    assert is_signed_in(ben)
    assert ben.post(f"/account/sessions/{its}/end").status_code == 404
    assert ben.post(f"/account/sessions/{mine}/end").headers["location"] == "/signin"
    assert not is_signed_in(ben)


def test_signing_out_everywhere_ends_every_session_of_the_account(site: Site, ada: Browser, ben: Browser) -> None:
    other = site.browser(site.ben)
    assert ben.post("/account/sessions/end").headers["location"] == "/signin"
    assert not is_signed_in(ben)
    assert not is_signed_in(other)
    assert is_signed_in(ada)


def test_a_session_of_another_account_cannot_be_ended(site: Site, ada: Browser, ben: Browser) -> None:
    (adas,) = sessions_of(site, site.ada)
    assert ben.post(f"/account/sessions/{adas}/end").status_code == 404
    assert is_signed_in(ada)


def test_a_session_ends_after_thirty_days(site: Site, ben: Browser) -> None:
    site.sql("UPDATE session SET created_at = now() - interval '29 days 23 hours'")
    assert is_signed_in(ben)
    site.sql("UPDATE session SET created_at = now() - interval '30 days 1 minute'")
    assert not is_signed_in(ben)


def test_the_last_use_is_written_every_few_minutes_only(site: Site, ben: Browser) -> None:
    query = "SELECT used_at > now() - interval '3 minutes' FROM session"
    site.sql("UPDATE session SET used_at = now() - interval '4 minutes'")
    ben.get("/account")
    assert site.sql(query) == [(False,)]
    site.sql("UPDATE session SET used_at = now() - interval '6 minutes'")
    ben.get("/account")
    assert site.sql(query) == [(True,)]


def test_the_key_of_a_session_is_not_stored(site: Site, ben: Browser) -> None:
    key = site.app.state.context.sessions.read(next(iter(ben.client.cookies.values()))).key
    assert len(key) >= 43
    ((row,),) = site.sql("SELECT session::text FROM session")
    assert key not in row
    assert key.encode().hex() not in row


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        (EDGE, "Edge on Windows"),
        (PHONE, "Safari on iPhone"),
        ("curl/8.5", "curl"),
        ("<script>", "unknown browser"),
        ("", "unknown browser"),
    ],
)
def test_a_browser_is_named_by_what_it_states(user_agent: str, name: str) -> None:
    assert browser_name(user_agent) == name
