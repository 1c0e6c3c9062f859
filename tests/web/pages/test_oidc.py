"""Signing in at an OpenID Connect issuer, which is a real HTTP server on loopback."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from joserfc.jwk import OctKey

from services.errors import ConfigError
from services.flow.oidc import issuer as issuer_module
from services.settings import Settings, load
from services.settings import settings as process_settings
from services.store.accounts import members
from services.web.app import create_app
from tests.support.oidc_issuer import CLIENT, SECRET, OidcIssuer, rsa_key, serving
from tests.web.conftest import Browser, Site, text_of
from tests.web.mailed_links import is_signed_in, key_of, mailed_path, mails, send_mails

VERIFIED = {"email": "ben@example.org", "email_verified": True}


@pytest.fixture
def issuer() -> Iterator[OidcIssuer]:
    with serving() as running:
        yield running


@pytest.fixture
def signup() -> str:
    return "closed"


@pytest.fixture
def settings(settings: Settings, issuer: OidcIssuer, monkeypatch: pytest.MonkeyPatch, signup: str) -> Settings:
    monkeypatch.setenv("PAPERWIRE_OIDC_ISSUER", issuer.url)
    monkeypatch.setenv("PAPERWIRE_OIDC_CLIENT_ID", CLIENT)
    monkeypatch.setenv("PAPERWIRE_OIDC_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("PAPERWIRE_SIGNUP", signup)
    process_settings.cache_clear()
    return process_settings()


@pytest.fixture
def nobody(site: Site) -> Browser:
    return site.browser()


def sign_in(browser: Browser, issuer: OidcIssuer, subject: str = "s1", **claims: Any) -> Any:
    """The answer of the callback, after the person consented at the issuer."""
    begun = browser.get("/signin/oidc")
    assert begun.status_code == 303
    assert begun.headers["location"].startswith(f"{issuer.url}/authorize?")
    return browser.get(issuer.consent(begun.headers["location"], subject, **claims))


def identities(site: Site) -> list[tuple[object, ...]]:
    return site.sql("SELECT email, subject FROM member WHERE issuer <> '' ORDER BY id")


def test_a_verified_address_signs_in_to_its_account(site: Site, nobody: Browser, issuer: OidcIssuer) -> None:
    answer = sign_in(nobody, issuer, **VERIFIED)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert is_signed_in(nobody)
    assert identities(site) == [("ben@example.org", "s1")]
    assert "Sign in with 127.0.0.1" in text_of(site.browser().get("/signin"))


def test_the_subject_decides_and_not_the_address(site: Site, nobody: Browser, issuer: OidcIssuer) -> None:
    sign_in(nobody, issuer, **VERIFIED)
    later = site.browser()
    assert sign_in(later, issuer, "s1", email="ada@example.org", email_verified=True).status_code == 303
    assert 'name="email" value="ben@example.org"' in later.get("/account").text
    other = site.browser()
    refused = sign_in(other, issuer, "s2", **VERIFIED)
    assert refused.status_code == 403
    assert "may not sign in here" in text_of(refused)
    assert identities(site) == [("ben@example.org", "s1")]


def test_the_address_may_come_from_the_user_information(site: Site, nobody: Browser, issuer: OidcIssuer) -> None:
    assert sign_in(nobody, issuer, userinfo=VERIFIED).status_code == 303
    assert identities(site) == [("ben@example.org", "s1")]


def test_user_information_about_somebody_else_is_ignored(site: Site, nobody: Browser, issuer: OidcIssuer) -> None:
    answer = sign_in(nobody, issuer, userinfo={**VERIFIED, "sub": "s2"})
    assert "states no verified address" in text_of(answer)
    assert identities(site) == []


@pytest.mark.parametrize("verified", [False, None, "true", 1])
def test_an_address_that_is_not_verified_is_not_trusted(
    site: Site, nobody: Browser, issuer: OidcIssuer, verified: object
) -> None:
    answer = sign_in(nobody, issuer, email="ben@example.org", email_verified=verified)
    assert answer.status_code == 200
    assert "states no verified address" in text_of(answer)
    assert not is_signed_in(nobody)
    assert identities(site) == []


def bad_tokens() -> dict[str, dict[str, Any]]:
    now = int(time.time())
    secret = OctKey.import_key("client secret: ü" + "x" * 32)
    return {
        "wrong nonce": {"nonce": "another"},
        "no nonce": {"nonce": None},
        "expired": {"exp": now - 120},
        "without an end": {"exp": None},
        "from the future": {"iat": now + 3600},
        "another issuer": {"iss": "https://evil.example"},
        "another client": {"aud": "somebody-else"},
        "another party": {"aud": [CLIENT, "other"], "azp": "other"},
        "no subject": {"sub": None},
        "an empty subject": {"sub": ""},
        "a long subject": {"sub": "x" * 256},
        "a number as subject": {"sub": 7},
        "a key of a stranger": {"key": rsa_key("a stranger's")},
        "an unknown key": {"key": rsa_key("other"), "header": {"kid": "other"}},
        "alg none": {"unsigned": True},
        "a shared secret": {"header": {"alg": "HS256"}, "key": secret},
        "another access token": {"at_hash": "abcdefghijklmnop"},
    }


@pytest.mark.parametrize("kind", bad_tokens())
def test_a_token_that_is_not_valid_signs_nobody_in(site: Site, nobody: Browser, issuer: OidcIssuer, kind: str) -> None:
    answer = sign_in(nobody, issuer, **{**VERIFIED, **bad_tokens()[kind]})
    assert answer.status_code == 403
    assert not is_signed_in(nobody)
    assert identities(site) == []
    assert site.sql("SELECT count(*) FROM session") == [(0,)]


def test_the_state_belongs_to_the_browser_and_works_once(site: Site, nobody: Browser, issuer: OidcIssuer) -> None:
    begun = nobody.get("/signin/oidc").headers["location"]
    callback = issuer.consent(begun, **VERIFIED)
    other = site.browser()
    assert other.get(callback).status_code == 403
    other.get("/signin/oidc")
    assert other.get(callback).status_code == 403
    assert nobody.get(issuer.consent(begun, state="another", **VERIFIED)).status_code == 403
    assert nobody.get(callback).status_code == 403, "a wrong state ends what was begun"
    assert not is_signed_in(nobody)
    assert "did not begin in this browser" in text_of(nobody.get(callback))


def test_a_code_of_another_browser_does_not_fit_the_verifier(site: Site, nobody: Browser, issuer: OidcIssuer) -> None:
    stolen = issuer.consent(site.browser().get("/signin/oidc").headers["location"], **VERIFIED)
    code = stolen.partition("code=")[2].partition("&")[0]
    state = nobody.get("/signin/oidc").headers["location"].partition("state=")[2].partition("&")[0]
    assert nobody.get(f"/signin/oidc/callback?code={code}&state={state}").status_code == 403
    assert not is_signed_in(nobody)


def test_another_issuer_with_the_same_subject_is_another_person(
    site: Site, nobody: Browser, issuer: OidcIssuer
) -> None:
    sign_in(nobody, issuer, **VERIFIED)
    site.sql("UPDATE member SET issuer = 'https://other.example' WHERE issuer <> ''")
    answer = sign_in(site.browser(), issuer)
    assert answer.status_code == 200
    assert "states no verified address" in text_of(answer)


@pytest.mark.parametrize("always", [False, True])
def test_an_answer_that_names_another_issuer_is_refused(nobody: Browser, issuer: OidcIssuer, always: bool) -> None:
    """RFC 9207: an issuer that says that it names itself must always do so."""
    issuer.metadata = {"authorization_response_iss_parameter_supported": always}

    def answer(more: str) -> int:
        callback = issuer.consent(nobody.get("/signin/oidc").headers["location"], **VERIFIED)
        return int(nobody.get(callback + more).status_code)

    assert answer("&iss=https://evil.example") == 403
    assert answer("") == (403 if always else 303)
    assert answer(f"&iss={issuer.url}") == 303


def test_a_refusal_at_the_issuer_is_told(nobody: Browser) -> None:
    state = nobody.get("/signin/oidc").headers["location"].partition("state=")[2].partition("&")[0]
    answer = nobody.get(f"/signin/oidc/callback?error=access_denied&error_description=%3Cb%3E&state={state}")
    assert answer.status_code == 403
    assert "did not sign you in" in text_of(answer)
    assert "<b>" not in answer.text


@pytest.mark.parametrize("signup", ["domain:example.org"])
def test_the_rules_of_sign_up_hold(site: Site, issuer: OidcIssuer) -> None:
    carol, eve = site.browser(), site.browser()
    assert sign_in(carol, issuer, "s2", email="Carol@example.org", email_verified=True).status_code == 303
    assert is_signed_in(carol)
    refused = sign_in(eve, issuer, "s3", email="eve@evil.example", email_verified=True)
    assert refused.status_code == 403
    assert site.sql("SELECT email FROM account ORDER BY id")[2:] == [("carol@example.org",)]
    assert site.sql("SELECT label, verified FROM channel") == [("carol@example.org", True)]


@pytest.mark.parametrize("signup", ["invite"])
def test_an_invited_person_may_sign_in_at_the_issuer(
    site: Site, ada: Browser, nobody: Browser, issuer: OidcIssuer
) -> None:
    ada.post("/members/invite", {"email": "carol@example.org"})
    assert sign_in(nobody, issuer, email="carol@example.org", email_verified=True).status_code == 303
    assert site.sql("SELECT used_at IS NULL FROM invitation") == [(False,)]


@pytest.mark.parametrize("signup", ["open"])
def test_an_identity_without_an_address_confirms_one_by_mail(site: Site, nobody: Browser, issuer: OidcIssuer) -> None:
    """ORCID states no address."""
    assert "states no verified address" in text_of(sign_in(nobody, issuer, "0000-0001"))
    refused = nobody.post("/signin/oidc/email", {"email": "nonsense"})
    assert refused.status_code == 422
    assert 'value="nonsense"' in refused.text
    assert nobody.post("/signin/oidc/email", {"email": "carol@example.org"}).status_code == 200
    send_mails(site)
    assert [to for to, _, _ in mails(site)] == ["carol@example.org"]
    assert f"sign-in at {issuer.url}" in " ".join(mails(site)[0][1].split())
    nobody.get(mailed_path(site))
    assert nobody.post("/signin", {"key": key_of(mailed_path(site))}).status_code == 303
    assert identities(site) == [("carol@example.org", "0000-0001")]
    later = site.browser()
    assert sign_in(later, issuer, "0000-0001").status_code == 303
    assert is_signed_in(later)


def test_a_link_that_connects_an_identity_works_in_no_other_browser(
    site: Site, nobody: Browser, issuer: OidcIssuer
) -> None:
    """Otherwise a stranger could enter Ben's address, and Ben would open his account to the stranger's identity."""
    sign_in(nobody, issuer, "evil")
    nobody.post("/signin/oidc/email", {"email": "ben@example.org"})
    send_mails(site)
    path, ben = mailed_path(site), site.browser()
    ben.get(path)
    assert "only in the browser" in text_of(ben.get("/signin/link"))
    assert ben.post("/signin", {"key": key_of(path), "confirmed": "on"}).status_code == 200
    assert not is_signed_in(ben)
    assert identities(site) == []


def test_an_address_is_asked_for_right_after_the_sign_in_only(
    site: Site, nobody: Browser, issuer: OidcIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert nobody.post("/signin/oidc/email", {"email": "ben@example.org"}).status_code == 403
    sign_in(nobody, issuer)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 16 * 60)
    assert nobody.post("/signin/oidc/email", {"email": "ben@example.org"}).status_code == 403
    assert site.sql("SELECT count(*) FROM link_request") == [(0,)]


def test_a_disabled_account_stays_closed(site: Site, nobody: Browser, issuer: OidcIssuer) -> None:
    sign_in(nobody, issuer, **VERIFIED)
    site.sql(f"UPDATE account SET disabled_at = now() WHERE id = {site.ben}")
    assert sign_in(site.browser(), issuer, **VERIFIED).status_code == 403


def test_metadata_and_keys_are_read_once_and_new_keys_when_they_are_needed(
    site: Site, nobody: Browser, issuer: OidcIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        assert sign_in(site.browser(), issuer, **VERIFIED).status_code == 303
    read = ["/.well-known/openid-configuration", "/keys"]
    assert [issuer.asked.count(path) for path in read] == [1, 1]
    issuer.key = rsa_key("two")
    assert sign_in(nobody, issuer, header={"kid": "two"}, **VERIFIED).status_code == 403, "the keys were just read"
    monkeypatch.setattr(issuer_module, "KEYS_READ_AGAIN_AFTER", 0.0)
    assert sign_in(nobody, issuer, header={"kid": "two"}, **VERIFIED).status_code == 303
    assert [issuer.asked.count(path) for path in read] == [1, 2]


@pytest.mark.parametrize(
    "stated",
    [
        {"issuer": "https://evil.example"},
        {"authorization_endpoint": None},
        {"token_endpoint": "ftp://127.0.0.1/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"token_endpoint": "http://[broken"},
    ],
)
def test_metadata_that_cannot_be_used_is_told(nobody: Browser, issuer: OidcIssuer, stated: dict[str, Any]) -> None:
    issuer.metadata = stated
    answer = nobody.get("/signin/oidc")
    assert answer.status_code == 503
    assert "sign-in service" in text_of(answer)


def test_an_issuer_that_does_not_answer_leaves_the_mailed_link(site: Site, nobody: Browser, issuer: OidcIssuer) -> None:
    issuer.broken = {"/.well-known/openid-configuration"}
    answer = nobody.get("/signin/oidc")
    assert answer.status_code == 503
    assert "have a link mailed" in text_of(answer)
    assert 'action="/signin/mail"' in answer.text
    issuer.broken = {"/token"}
    assert sign_in(nobody, issuer, **VERIFIED).status_code == 403


def test_a_request_for_headers_begins_nothing(nobody: Browser, issuer: OidcIssuer) -> None:
    assert nobody.client.head("/signin/oidc").headers["location"] == "/signin"
    callback = issuer.consent(nobody.get("/signin/oidc").headers["location"], **VERIFIED)
    assert nobody.client.head(callback).headers["location"] == "/signin"
    assert nobody.get(callback).status_code == 303


def test_two_members_do_not_share_an_identity(site: Site, nobody: Browser, issuer: OidcIssuer) -> None:
    sign_in(nobody, issuer, **VERIFIED)
    with site.db.transaction() as tx:
        ada, ben = members.find(tx, "ada@example.org"), members.find(tx, "ben@example.org")
        assert ada is not None
        assert ben is not None
        identity = issuer_module.Identity(issuer.url, "s1")
        assert not members.connect(tx, ada, identity)
        assert members.connect(tx, ben, identity)
        assert not members.connect(tx, ben, issuer_module.Identity(issuer.url, "s2"))


@pytest.mark.parametrize(
    "url", ["http://login.example.org", "login.example.org", "https://u@x.org", "https://x.org?a=b"]
)
def test_an_issuer_needs_https(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PAPERWIRE_OIDC_ISSUER", url)
    with pytest.raises(ConfigError, match="PAPERWIRE_OIDC_ISSUER"):
        load(Settings)


def test_an_issuer_needs_a_client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERWIRE_OIDC_CLIENT_ID", "")
    process_settings.cache_clear()
    with pytest.raises(ConfigError, match="PAPERWIRE_OIDC_CLIENT_ID"):
        create_app()
