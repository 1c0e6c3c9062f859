"""Making an account: by an invitation, by domain, or by everybody."""

import re

import pytest
from starlette.testclient import TestClient

from services.flow import refusal_links
from services.flow.pipeline import signin_mail
from services.settings import Settings
from services.settings import settings as process_settings
from services.store.accounts import accounts
from services.store.delivery import opt_in
from tests.web.conftest import BASE, Browser, Site, text_of
from tests.web.mailed_links import is_signed_in, key_of, mailed_path, mails, send_mails


@pytest.fixture
def signup() -> str:
    return "invite"


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch, signup: str) -> Settings:
    monkeypatch.setenv("PAPERWIRE_SIGNUP", signup)
    process_settings.cache_clear()
    return process_settings()


@pytest.fixture
def nobody(site: Site) -> Browser:
    return site.browser()


def emails(site: Site) -> list[str]:
    return [email for (email,) in site.sql("SELECT email FROM account ORDER BY id")]


def test_an_invited_person_makes_an_account_that_gets_mail(site: Site, ada: Browser, nobody: Browser) -> None:
    assert ada.post("/members/invite", {"email": "Carol@Example.org"}).headers["location"].startswith("/members?")
    assert send_mails(site) == 1
    ((to, plain, _),) = mails(site)
    assert to == "carol@example.org"
    assert "invites you" in plain
    assert "ada@" not in plain
    path = mailed_path(site)
    nobody.get(path)
    page = nobody.get("/signin/link")
    assert "carol@example.org" in page.text
    assert "data-timezone" in page.text
    assert emails(site) == ["ada@example.org", "ben@example.org"], "opening the link must not make the account"
    assert nobody.post("/signin", {"key": key_of(path), "timezone": "Asia/Tokyo"}).status_code == 303
    assert is_signed_in(nobody)
    assert site.sql("SELECT email, timezone, operator FROM account WHERE id = 3") == [
        ("carol@example.org", "Asia/Tokyo", False)
    ]
    assert site.sql("SELECT kind, label, verified FROM channel WHERE account_id = 3") == [
        ("email", "carol@example.org", True)
    ]
    assert site.browser().post("/signin", {"key": key_of(path)}).status_code == 403
    assert "Open invitations" not in ada.get("/members").text


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "EST", "<b>", "../etc/passwd"])
def test_without_a_known_time_zone_the_account_gets_the_default(site: Site, ada: Browser, zone: str) -> None:
    ada.post("/members/invite", {"email": "carol@example.org"})
    send_mails(site)
    site.browser().post("/signin", {"key": key_of(mailed_path(site)), "timezone": zone})
    assert site.sql("SELECT timezone FROM account WHERE id = 3") == [("UTC",)]


def test_a_revoked_invitation_makes_no_account(site: Site, ada: Browser, nobody: Browser) -> None:
    ada.post("/members/invite", {"email": "carol@example.org"})
    send_mails(site)
    assert "carol@example.org" in text_of(ada.get("/members"))
    assert ada.post("/members/invitations/1/revoke").status_code == 303
    assert ada.post("/members/invitations/1/revoke").status_code == 404
    assert nobody.post("/signin", {"key": key_of(mailed_path(site))}).status_code == 403
    assert len(emails(site)) == 2
    assert "carol@example.org" not in text_of(ada.get("/members"))


def test_an_invitation_works_for_seven_days(site: Site, ada: Browser, nobody: Browser) -> None:
    ada.post("/members/invite", {"email": "carol@example.org"})
    send_mails(site)
    for table in ("signin_link", "invitation"):
        site.sql(f"UPDATE {table} SET expires_at = expires_at - interval '6 days 23 hours'")
    nobody.get(mailed_path(site))
    assert nobody.get("/signin/link").status_code == 200
    site.sql("UPDATE invitation SET expires_at = expires_at - interval '2 hours'")
    assert nobody.post("/signin", {"key": key_of(mailed_path(site))}).status_code == 403
    assert len(emails(site)) == 2


def test_an_invited_person_can_also_ask_for_a_link(site: Site, ada: Browser, nobody: Browser) -> None:
    ada.post("/members/invite", {"email": "carol@example.org"})
    send_mails(site)
    invited = key_of(mailed_path(site))
    site.sql("DELETE FROM confirmation")
    nobody.post("/signin/mail", {"email": "carol@example.org"})
    send_mails(site)
    assert nobody.post("/signin", {"key": key_of(mailed_path(site))}).status_code == 303
    assert is_signed_in(nobody)
    assert site.browser().post("/signin", {"key": invited}).status_code == 403
    assert site.sql("SELECT used_at IS NULL FROM invitation") == [(False,)]


def test_who_was_not_invited_gets_no_mail(site: Site, nobody: Browser) -> None:
    assert nobody.post("/signin/mail", {"email": "carol@example.org"}).status_code == 200
    send_mails(site)
    assert mails(site) == []


@pytest.mark.parametrize("signup", ["domain:example.org"])
def test_an_address_of_an_allowed_domain_makes_its_own_account(site: Site, nobody: Browser) -> None:
    for email in ("eve@evil.example", "carol@example.org"):
        nobody.post("/signin/mail", {"email": email})
    send_mails(site)
    ((to, plain, _),) = mails(site)
    assert to == "carol@example.org"
    assert "has no account yet" in " ".join(plain.split())
    nobody.post("/signin", {"key": key_of(mailed_path(site)), "timezone": "Asia/Tokyo"})
    assert is_signed_in(nobody)
    assert emails(site)[2:] == ["carol@example.org"]


@pytest.mark.parametrize("signup", ["open"])
def test_a_stranger_gets_one_sign_up_link_an_hour_and_none_after_a_refusal(site: Site, nobody: Browser) -> None:
    nobody.post("/signin/mail", {"email": "carol@example.com"})
    nobody.post("/signin/mail", {"email": "carol@example.com"})
    with site.db.transaction() as tx:
        opt_in.suppress(tx, "eve@example.com", opt_in.REFUSED, refused=True)
    nobody.post("/signin/mail", {"email": "eve@example.com"})
    assert send_mails(site) == 3
    assert [to for to, _, _ in mails(site)] == ["carol@example.com"]


@pytest.mark.parametrize("signup", ["open"])
def test_a_link_makes_no_account_once_sign_up_is_closed(
    site: Site, nobody: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody.post("/signin/mail", {"email": "carol@example.com"})
    send_mails(site)
    object.__setattr__(site.app.state.context, "settings", site.settings.model_copy(update={"signup": "closed"}))
    assert nobody.post("/signin", {"key": key_of(mailed_path(site))}).status_code == 403
    assert len(emails(site)) == 2


@pytest.mark.parametrize("signup", ["open"])
def test_two_links_of_one_address_make_one_account(site: Site, nobody: Browser) -> None:
    nobody.post("/signin/mail", {"email": "carol@example.com"})
    send_mails(site)
    with site.db.transaction() as tx:
        carol = accounts.add(tx, "carol@example.com", "UTC")
    nobody.post("/signin", {"key": key_of(mailed_path(site))})
    assert is_signed_in(nobody)
    assert site.sql("SELECT account_id FROM session") == [(carol,)]


@pytest.mark.parametrize("signup", ["closed"])
def test_a_closed_paperwire_invites_nobody(site: Site, ada: Browser, nobody: Browser) -> None:
    answer = ada.post("/members/invite", {"email": "carol@example.org"})
    assert answer.status_code == 422
    assert "PAPERWIRE_SIGNUP is closed" in text_of(answer)
    nobody.post("/signin/mail", {"email": "carol@example.org"})
    send_mails(site)
    assert mails(site) == []


@pytest.mark.parametrize(
    ("email", "words"), [("nonsense", "is not an e-mail address"), ("ben@example.org", "exists already")]
)
def test_an_invitation_that_cannot_be_made_is_explained(site: Site, ada: Browser, email: str, words: str) -> None:
    answer = ada.post("/members/invite", {"email": email})
    assert answer.status_code == 422
    assert words in text_of(answer)
    assert f'value="{email}"' in answer.text


def test_a_stranger_is_invited_once_an_hour_at_most(site: Site, ada: Browser) -> None:
    assert ada.post("/members/invite", {"email": "carol@example.org"}).status_code == 303
    answer = ada.post("/members/invite", {"email": "carol@example.org"})
    assert answer.status_code == 422
    assert "one an hour and three a day" in text_of(answer)


def test_a_stranger_refuses_further_mail(site: Site, ada: Browser) -> None:
    ada.post("/members/invite", {"email": "carol@example.org"})
    send_mails(site)
    ((_, plain, html),) = mails(site)
    found = re.search(r"http://127\.0\.0\.1:8400(/refuse/\S+)", plain)
    assert found
    assert found[0] in html
    stranger = TestClient(site.app, base_url=BASE)
    assert "carol@example.org" in text_of(stranger.get(found[1]))
    assert site.sql("SELECT count(*) FROM suppression") == [(0,)], "link scanners open every link"
    assert "Nothing more is sent" in text_of(stranger.post(found[1]))
    site.sql("DELETE FROM confirmation")
    assert ada.post("/members/invite", {"email": "carol@example.org"}).status_code == 422
    send_mails(site)
    assert len(mails(site)) == 1


def test_who_has_an_account_does_not_refuse_its_mail_with_an_old_link(site: Site, nobody: Browser) -> None:
    token = refusal_links.token(site.app.state.context.secrets, "ben@example.org")
    assert nobody.client.post(f"/refuse/{token}").status_code == 404
    assert site.sql("SELECT count(*) FROM suppression") == [(0,)]


def test_a_mail_to_an_account_offers_no_refusal(site: Site, nobody: Browser) -> None:
    nobody.post("/signin/mail", {"email": "ben@example.org"})
    send_mails(site)
    assert "/refuse/" not in mails(site)[0][1]


def test_an_invitation_waits_while_mail_is_down(site: Site, ada: Browser) -> None:
    ada.post("/members/invite", {"email": "carol@example.org"})
    site.sql("INSERT INTO transport (key, down_because) VALUES ('smtp', 'refused')")
    assert not signin_mail.work(site.db, site.settings)
    site.sql("UPDATE transport SET down_because = ''")
    assert signin_mail.work(site.db, site.settings)
    assert not signin_mail.work(site.db, site.settings)
