"""Signing in with a link that is mailed."""

from datetime import timedelta

import pytest

from services.domain.accounts import signin
from services.notifiers.email import plugin as email
from services.ports import MaybeDelivered, Rejected, Retry, TransportDown
from services.store.accounts import credentials
from services.store.delivery import opt_in, sending_pause
from tests.web.conftest import Browser, Site, text_of
from tests.web.mailed_links import is_signed_in, key_of, mailed_path, mails, send_mails


@pytest.fixture
def nobody(site: Site) -> Browser:
    return site.browser()


def test_a_mailed_link_signs_in_the_browser_that_asked(site: Site, nobody: Browser) -> None:
    assert "mail with a link is on its way" in text_of(nobody.post("/signin/mail", {"email": " Ben@Example.org "}))
    assert send_mails(site) == 1
    ((to, _, html),) = mails(site)
    assert to == "ben@example.org"
    path = mailed_path(site)
    assert f"http://127.0.0.1:8400{path}" in html
    opened = nobody.get(path)
    assert opened.headers["location"] == "/signin/link"
    page = nobody.get("/signin/link")
    assert "ben@example.org" in page.text
    assert "confirmed" not in page.text
    assert not is_signed_in(nobody)
    assert nobody.post("/signin", {"key": key_of(path)}).status_code == 303
    assert is_signed_in(nobody)
    assert site.browser().post("/signin", {"key": key_of(path)}).status_code == 403


def test_another_browser_confirms_before_the_link_signs_it_in(site: Site, nobody: Browser) -> None:
    nobody.post("/signin/mail", {"email": "ben@example.org"})
    send_mails(site)
    other, path = site.browser(), mailed_path(site)
    other.get(path)
    assert "asked for in another browser" in text_of(other.get("/signin/link"))
    asked = other.post("/signin", {"key": key_of(path)})
    assert asked.status_code == 200
    assert "asked for in another browser" in text_of(asked)
    assert not is_signed_in(other)
    assert other.post("/signin", {"key": key_of(path), "confirmed": "on"}).status_code == 303
    assert is_signed_in(other)


def test_the_answer_for_an_unknown_address_is_the_same_and_nothing_is_sent(site: Site) -> None:
    known, unknown = (
        site.browser().post("/signin/mail", {"email": email}) for email in ("ben@example.org", "eve@example.org")
    )
    assert known.status_code == unknown.status_code == 200
    assert text_of(known).replace("ben@", "eve@") == text_of(unknown)
    rows = site.sql("SELECT email, ip, next_attempt_at IS NULL FROM link_request ORDER BY id")
    assert [(row[1], row[2]) for row in rows] == [("testclient", False)] * 2
    assert site.sql("SELECT count(*) FROM signin_link") == [(0,)], "the page itself must not look for the account"
    assert send_mails(site) == 2
    assert [to for to, _, _ in mails(site)] == ["ben@example.org"]


def test_a_newer_link_replaces_the_older_one(site: Site, nobody: Browser) -> None:
    nobody.post("/signin/mail", {"email": "ben@example.org"})
    send_mails(site)
    first = key_of(mailed_path(site))
    nobody.post("/signin/mail", {"email": "ben@example.org"})
    send_mails(site)
    second = key_of(mailed_path(site))
    assert first != second
    assert nobody.post("/signin", {"key": first}).status_code == 403
    assert nobody.post("/signin", {"key": second}).status_code == 303


def test_a_link_ends_after_fifteen_minutes(site: Site, nobody: Browser) -> None:
    nobody.post("/signin/mail", {"email": "ben@example.org"})
    send_mails(site)
    site.sql("UPDATE signin_link SET expires_at = expires_at - interval '14 minutes 50 seconds'")
    path = mailed_path(site)
    nobody.get(path)
    assert nobody.get("/signin/link").status_code == 200
    site.sql("UPDATE signin_link SET expires_at = expires_at - interval '20 seconds'")
    assert nobody.get("/signin/link").status_code == 403
    assert nobody.post("/signin", {"key": key_of(path)}).status_code == 403


def test_neither_key_nor_browser_is_stored(site: Site, nobody: Browser) -> None:
    nobody.post("/signin/mail", {"email": "ben@example.org"})
    send_mails(site)
    nonce = site.app.state.context.sessions.read(next(iter(nobody.client.cookies.values()))).nonce
    rows = str(site.sql("SELECT signin_link::text FROM signin_link") + site.sql("SELECT l::text FROM link_request l"))
    for secret in (key_of(mailed_path(site)), nonce):
        assert secret not in rows
        assert secret.encode().hex() not in rows


def test_an_address_gets_three_links_an_hour(site: Site) -> None:
    for _ in range(signin.MAX_TO_ADDRESS):
        assert site.browser().post("/signin/mail", {"email": "ben@example.org"}).status_code == 200
    refused = site.browser().post("/signin/mail", {"email": "BEN@example.org"})
    assert refused.status_code == 429
    assert "at most 3 sign-in links an hour" in text_of(refused)
    assert 'value="BEN@example.org"' in refused.text
    assert site.browser().post("/signin/mail", {"email": "ada@example.org"}).status_code == 200
    site.sql("UPDATE link_request SET created_at = created_at - interval '61 minutes'")
    assert site.browser().post("/signin/mail", {"email": "ben@example.org"}).status_code == 200


def test_one_place_asks_for_ten_links_an_hour(site: Site) -> None:
    for number in range(signin.MAX_FROM_IP):
        assert site.browser().post("/signin/mail", {"email": f"a{number}@example.org"}).status_code == 200
    refused = site.browser().post("/signin/mail", {"email": "ben@example.org"})
    assert refused.status_code == 429
    assert "from one place" in text_of(refused)


def test_all_places_together_ask_for_three_hundred_links_an_hour(site: Site, nobody: Browser) -> None:
    site.sql("INSERT INTO link_request (email, ip) SELECT n || '@x.org', n::text FROM generate_series(1, 299) n")
    assert nobody.post("/signin/mail", {"email": "ben@example.org"}).status_code == 200
    assert "Too many people" in text_of(nobody.post("/signin/mail", {"email": "ada@example.org"}))


@pytest.mark.parametrize("email", ["", "nonsense", "ben@example.org\r\nBcc: eve@example.org", "<b>@example.org"])
def test_what_is_no_address_is_refused_with_what_was_typed(site: Site, nobody: Browser, email: str) -> None:
    answer = nobody.post("/signin/mail", {"email": email})
    assert answer.status_code == 422
    assert "is not an e-mail address" in text_of(answer)
    assert "<b>" not in answer.text
    assert site.sql("SELECT count(*) FROM link_request") == [(0,)]


@pytest.mark.parametrize(
    ("outcome", "again"),
    [
        (Retry("451"), True),
        (TransportDown("535"), True),
        (MaybeDelivered("no answer"), False),
        (Rejected("550"), False),
    ],
)
def test_a_mail_is_tried_again_only_when_it_was_surely_not_sent(
    site: Site, nobody: Browser, monkeypatch: pytest.MonkeyPatch, outcome: object, again: bool
) -> None:
    monkeypatch.setattr(email, "send", lambda *_: outcome)
    nobody.post("/signin/mail", {"email": "ben@example.org"})
    assert send_mails(site) == 1
    query = "SELECT next_attempt_at > now() + interval '50 seconds' FROM link_request"
    assert site.sql(query) == [(True if again else None,)]


def test_a_request_that_waited_too_long_is_dropped(site: Site, nobody: Browser) -> None:
    nobody.post("/signin/mail", {"email": "ben@example.org"})
    site.sql(f"UPDATE link_request SET created_at = now() - interval '{signin.LINK_LIFETIME + timedelta(seconds=1)}'")
    assert send_mails(site) == 1
    assert mails(site) == []


def test_no_mail_is_sent_while_sending_is_paused_or_mail_is_down(site: Site, nobody: Browser) -> None:
    nobody.post("/signin/mail", {"email": "ben@example.org"})
    with site.db.transaction() as tx:
        sending_pause.start(tx, "a test", site.db.now())
    assert send_mails(site) == 0
    with site.db.transaction() as tx:
        sending_pause.end(tx)
    site.sql("INSERT INTO transport (key, down_because) VALUES ('smtp', 'refused')")
    assert send_mails(site) == 0
    site.sql("UPDATE transport SET down_because = ''")
    assert send_mails(site) == 1
    assert len(mails(site)) == 1


def test_an_address_whose_owner_refused_mails_gets_none(site: Site, nobody: Browser) -> None:
    with site.db.transaction() as tx:
        opt_in.suppress(tx, "ben@example.org", opt_in.REFUSED, refused=True)
    nobody.post("/signin/mail", {"email": "ben@example.org"})
    assert send_mails(site) == 1
    assert mails(site) == []


def test_a_link_of_the_command_line_needs_no_further_step(site: Site, nobody: Browser) -> None:
    with site.db.transaction() as tx:
        key = credentials.create_signin_link(tx, site.ben)
    assert nobody.post("/signin", {"key": key}).status_code == 303
