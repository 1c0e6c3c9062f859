"""The outbox: mails in files, for operators only, with their HTML in a sandboxed frame."""

from email.message import EmailMessage

import pytest

from services.notifiers.email import email_settings
from tests.web.conftest import Browser, Site, text_of

HTML = "<html><head><title>x</title></head><body><p>Hello <script>alert(1)</script></p></body></html>"


@pytest.fixture
def mail(site: Site) -> str:
    message = EmailMessage()
    message["Subject"], message["To"], message["From"] = "Two <papers>", "ada@example.org", "paperwire@example.org"
    message.set_content("plain words")
    message.add_alternative(HTML, subtype="html")
    outbox = site.settings.data_dir / "outbox"
    outbox.mkdir(parents=True)
    (outbox / "digest-12.eml").write_bytes(message.as_bytes())
    return "/outbox/digest-12.eml"


def test_mails_are_listed(ada: Browser, mail: str) -> None:
    page = ada.get("/outbox")
    assert "Two &lt;papers&gt;" in page.text
    assert mail in page.text


def test_an_empty_outbox_explains_when_mails_appear(ada: Browser) -> None:
    assert "No mails yet" in text_of(ada.get("/outbox"))


def test_a_mail_is_shown_as_html_text_and_raw(ada: Browser, mail: str) -> None:
    assert f'src="{mail}/html" sandbox=' in ada.get(mail).text
    assert "plain words" in ada.get(f"{mail}?show=text").text
    raw = ada.get(f"{mail}?show=raw").text
    assert "Content-Type: multipart/alternative" in raw
    assert "<script>alert" not in raw


def test_the_html_is_sandboxed_outside_the_frame_too(ada: Browser, mail: str) -> None:
    answer = ada.get(f"{mail}/html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox ")
    assert "allow-scripts" not in policy
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert '<base target="_blank">' in answer.text


@pytest.mark.parametrize("name", ["nothing.eml", "..%2Fsecret.key", "%2e%2e", ".eml", "x.txt"])
@pytest.mark.parametrize("view", ["", "/html", "?show=raw"])
def test_no_other_file_is_shown(site: Site, ada: Browser, name: str, view: str) -> None:
    site.settings.data_dir.mkdir(parents=True, exist_ok=True)
    (site.settings.data_dir / "secret.key").write_text("top secret")
    answer = ada.get(f"/outbox/{name}{view}")
    assert answer.status_code == 404
    assert "top secret" not in answer.text


def test_the_outbox_names_the_setting_of_a_mail_server(ada: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERWIRE_SMTP_URL", "smtp://user:sesame@127.0.0.1:2525")
    email_settings.cache_clear()
    page = ada.get("/outbox").text
    assert "Mails are sent through the server" in page
    assert "sesame" not in page
