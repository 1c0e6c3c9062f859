"""Reports of real mail servers, and other mails that may arrive in the mailbox."""

import re
import ssl
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.delivery.bounce import Bounce, is_hard, is_over_quota, status_of
from services.errors import ConfigError
from services.notifiers.email import MAX_BOUNCE_BYTES, email_settings, plugin
from services.ports import BounceReading, Mailbox
from tests.notifiers.conftest import Configure
from tests.support.certificates import certificate
from tests.support.cpu_time import cpu_seconds
from tests.support.digests import ENVELOPE, digest
from tests.support.imap import ImapSink

SAMPLES = Path(__file__).parents[1] / "data" / "bounces"
OURS = "<digest-0123456789abcdef01234567@papers.example.org>"
LINK = "https://papers.example.org/unsubscribe/1-" + "ab" * 20


read_bounce, read_unsubscribe = plugin.read_bounce, plugin.read_unsubscribe


def bounce_mailbox() -> AbstractContextManager[Mailbox]:
    box = plugin.mailbox()
    assert box is not None
    return box


def sample(name: str) -> bytes:
    return (
        (SAMPLES / f"{name}.eml")
        .read_bytes()
        .replace(b"MESSAGE-ID", OURS.encode())
        .replace(b"UNSUBSCRIBE", LINK.encode())
    )


@pytest.mark.parametrize(
    ("name", "status", "diagnostic", "hard"),
    [
        ("postfix", "5.1.1", "550 5.1.1 <ada@example.org>: Recipient address rejected: User unknown", True),
        ("exchange", "5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound", True),
        ("gmail", "5.1.1", "550-5.1.1 The email account that you tried to reach does not exist.", True),
        ("full", "5.2.2", "552 5.2.2 Mailbox full", False),
        ("vague", "5.1.1", "550 5.1.1 user unknown", True),
    ],
)
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_a_report_names_the_returned_mail_and_the_reason(
    name: str, status: str, diagnostic: str, hard: bool, ends: bytes
) -> None:
    bounce = read_bounce(sample(name).replace(b"\n", ends))
    assert bounce is not None
    assert (bounce.status, bounce.is_hard) == (status, hard)
    assert bounce.diagnostic.startswith(diagnostic)
    assert OURS in bounce.message_ids or LINK in bounce.links


def test_a_mail_whose_message_id_was_replaced_is_found_by_its_link() -> None:
    bounce = read_bounce(sample("vague"))
    assert bounce is not None
    assert bounce.links == (LINK,)
    assert OURS not in bounce.message_ids


@pytest.mark.parametrize(
    "body",
    [
        sample("delayed"),
        sample("postfix").replace(b"Action: failed", b"Action: delivered"),
        sample("postfix").replace(b"multipart/report", b"multipart/mixed"),
        sample("postfix")[:900],
        b"From: ada@example.org\r\nSubject: Out of office\r\n\r\nUntil Monday.",
        b"",
        b"\x00\xff" * 1000,
        b"Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nAction: failed",
        b"Content-Type: multipart/report; boundary=\xff\n\n--\xff\n",
        b"Content-Type: multipart/report; boundary=b; charset=nonsense\n\n--b\nContent-Type: message/rfc822\n\n\n--b--",
    ],
)
def test_a_report_without_a_failure_is_ignored(body: bytes) -> None:
    bounce = read_bounce(body)
    assert bounce is None or (bounce.message_ids, bounce.links) == ((), ())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_report_never_raises(data: st.DataObject) -> None:
    body = bytearray(sample(data.draw(st.sampled_from(["postfix", "exchange", "gmail", "vague"]))))
    for _ in range(data.draw(st.integers(1, 20))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=10))
        if not body:
            break
    read_bounce(bytes(body))
    read_unsubscribe(bytes(body))


NESTED = b"".join(b"Content-Type: multipart/report; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(4000))


@pytest.mark.parametrize(
    "body",
    [
        NESTED,
        b"Content-Type: multipart/report; boundary=" + b"(" * 5_000_000,
        b"Subject: " + b"=?utf-8?q?x?= " * 300_000,
    ],
)
def test_a_huge_mail_is_read_in_little_time(body: bytes) -> None:
    assert cpu_seconds(lambda: (read_bounce(body), read_unsubscribe(body))) < 5
    assert read_bounce(body) is None
    assert read_unsubscribe(body) == ""


@pytest.mark.parametrize(
    ("texts", "status"),
    [
        (("5.1.1", "smtp; 550 5.2.2 full"), "5.1.1"),
        (("5.0.0", "smtp; 550 5.2.2 full"), "5.2.2"),
        (("", "smtp; 550 from 10.5.1.1 5.7.1 no"), "5.7.1"),
        (("5.0.0", "no"), "5.0.0"),
        (("", ""), "5.0.0"),
    ],
)
def test_the_first_specific_status_is_used(texts: tuple[str, ...], status: str) -> None:
    assert status_of(*texts) == status


def test_only_a_status_about_the_address_is_hard() -> None:
    assert all(is_hard(status) for status in ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"))
    others = ("5.1.0", "5.1.4", "5.1.5", "5.1.7", "5.1.8", "5.1.9", "4.1.1", "5.2.1", "5.7.1", "5.0.0", "", "x")
    assert not any(is_hard(status) for status in others)


@pytest.mark.parametrize(
    "text",
    [
        "550 5.1.0 <paperwire@example.org> sender rejected. Refer to https://www.cox.example/error-codes.html",
        "550-5.1.0 MXIN506 MailFrom domain is listed in Spamhaus. 550 5.1.0 https://www.spamhaus.example/lookup",
        "550 5.1.0 192.0.2.222 is not allowed to send from <example.net> per it's SPF Record. IB508",
        "550 5.1.1 <ada@example.org>: Recipient address rejected: blocked by our reputation service",
        "550 5.1.1 Mail from 192.0.2.7 rejected, see the DNSBL",
        "550 5.1.1 user over quota",
        "550 5.1.1 DMARC policy of example.net",
        "550 5.7.1 5.1.1 user unknown",
        "552 5.1.1 too much mail",
        "450 5.1.1 user unknown",
        "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)",
        "550 Requested action not taken: mailbox unavailable",
    ],
)
def test_a_refusal_that_does_not_name_the_recipient_is_not_hard(text: str) -> None:
    assert not is_hard(status_of(text), text)
    assert not is_hard("5.1.0", text)


@pytest.mark.parametrize(
    "text",
    [
        "550 5.1.1 <policy@blocked-senders.example>: Recipient address rejected: User unknown in relay recipient table",
        "550 5.1.1 ada@example.org User not listed in Domino Directory",
        "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
        "550 5.1.0 no such user here",
        "550 No such user here",
        "553 5.1.3 bad address syntax",
        "550-5.1.1 The email account that you tried to reach does not exist. Please try\n550-5.1.1 double-checking",
    ],
)
def test_a_refusal_that_names_the_recipient_is_hard(text: str) -> None:
    assert is_hard(status_of(text), text)


def test_a_status_is_not_hard_when_the_diagnostic_contradicts_it() -> None:
    body = sample("postfix")
    assert b"User unknown" in body
    bounce = read_bounce(body.replace(b"User unknown", b"Sender is on a block list"))
    assert bounce is not None
    assert (bounce.status, bounce.is_hard) == ("5.1.1", False)


@pytest.mark.parametrize(
    ("code", "text", "full"),
    [
        (552, "5.2.2 mailbox full", True),
        (552, "exceeded storage allocation", True),
        (452, "4.2.2 over quota", True),
        (550, "5.2.2 over quota", True),
        (552, "5.3.4 message too large", False),
        (552, "message size exceeds the limit", False),
        (550, "5.1.1 user unknown", False),
        (452, "insufficient system storage", False),
    ],
)
def test_a_full_mailbox_is_recognised(code: int, text: str, full: bool) -> None:
    assert is_over_quota(code, text) is full


@pytest.mark.parametrize(
    ("status", "diagnostic", "full"),
    [
        ("5.2.2", "", True),
        ("5.2.2", "552 5.2.2 Mailbox full", True),
        ("5.0.0", "552 exceeded storage allocation", True),
        ("4.2.2", "452 4.2.2 The email account is over quota", True),
        ("5.0.0", "552 message size exceeds the limit", False),
        ("5.1.1", "550 5.1.1 user unknown", False),
    ],
)
def test_a_report_of_a_full_mailbox_is_recognised(status: str, diagnostic: str, full: bool) -> None:
    assert Bounce(status=status, diagnostic=diagnostic).is_over_quota is full


@pytest.mark.parametrize("blanks", [b" ", b"\t", b"  \t "])
@pytest.mark.parametrize("name", ["postfix", "exchange", "gmail", "vague"])
def test_blanks_before_the_colon_of_a_header_are_read(name: str, blanks: bytes) -> None:
    odd = re.sub(rb"(?m)^([A-Za-z][A-Za-z-]*):", rb"\1" + blanks + b":", sample(name))
    assert read_bounce(odd) == read_bounce(sample(name))


def test_an_action_may_have_a_comment() -> None:
    bounce = read_bounce(sample("postfix").replace(b"Action: failed", b"Action : Failed (unknown user)"))
    assert bounce is not None


# ── unsubscribing by mail ─────────────────────────────────────────────────────────────────────────────────────


def test_unsubscribing_by_mail_is_offered_only_with_a_mailbox(configure: Configure) -> None:
    token = LINK.rpartition("/")[2]
    envelope_url = f"List-Unsubscribe: <{ENVELOPE.unsubscribe_url}>"
    target = plugin.parse_target("ada@example.org")
    assert f"{envelope_url}\r\n".encode() in plugin.render(digest(1), ENVELOPE, target)
    configure(bounce_url="imaps://me:geheim@mail.example.org/INBOX", mail_from="alerts+x@example.org")
    last = ENVELOPE.unsubscribe_url.rpartition("/")[2]
    by_mail = f"{envelope_url}, <mailto:alerts%2Bx@example.org?subject=unsubscribe%20{last}>\r\n"
    assert by_mail.encode() in plugin.render(digest(1), ENVELOPE, target)
    assert read_unsubscribe(f"From: x@y.z\r\nSubject: Unsubscribe {token}\r\n\r\n".encode()) == token


@pytest.mark.parametrize("subject", ["unsubscribe", "unsubscribe 1-xyz", "Re: unsubscribe 1-" + "ab" * 20, ""])
def test_other_subjects_have_no_token(subject: str) -> None:
    assert read_unsubscribe(f"Subject: {subject}\r\n\r\nunsubscribe 1-{'ab' * 20}".encode()) == ""


# ── the mailbox ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url",
    ["imap://host/INBOX", "pop3://u:geheim@h", "imaps://u:geheim@h:x", "maildir://host/x", "imaps://u:geheim@h?x=1"],
)
def test_a_bad_mailbox_names_the_setting_and_not_its_content(configure: Configure, url: str) -> None:
    configure(bounce_url=url)
    with pytest.raises(ConfigError, match="PAPERWIRE_BOUNCE_URL") as caught:
        email_settings()
    assert "geheim" not in str(caught.value)


def test_without_a_mailbox_nothing_is_read() -> None:
    assert isinstance(plugin, BounceReading)
    assert plugin.mailbox() is None


def test_imap_returns_unread_mails_and_marks_them(configure: Configure) -> None:
    large = b"Subject: large\r\n\r\n" + b"x" * (2 * MAX_BOUNCE_BYTES)
    with ImapSink('Back "in"', mails=[b"Subject: one\r\n\r\n", large]) as sink:
        configure(bounce_url=f"imap://me%40example.org:gehe%20im@127.0.0.1:{sink.port}/Back%20%22in%22?tls=none")
        with bounce_mailbox() as mailbox:
            keys = mailbox.unread(10)
            assert mailbox.unread(1) == keys[:1]
            bodies = [mailbox.body(key) for key in keys]
            mailbox.seen(keys[0])
            assert mailbox.unread(10) == keys[1:]
        assert bodies == [b"Subject: one\r\n\r\n", large[:MAX_BOUNCE_BYTES]]
        assert sink.signed_in == [("me@example.org", "gehe im")]
        assert sink.seen == {1}


@pytest.mark.parametrize("fault", ["LOGIN", "SELECT", "SEARCH", "CLOSE"])
def test_the_error_of_a_mailbox_contains_no_secret(configure: Configure, fault: str) -> None:
    with ImapSink("INBOX", refuse=fault) as sink:
        configure(bounce_url=f"imap://me:geheim@127.0.0.1:{sink.port}/INBOX?tls=none")
        with pytest.raises(ConfigError, match="PAPERWIRE_BOUNCE_URL") as caught, bounce_mailbox() as mailbox:
            mailbox.unread(5)
        assert "geheim" not in str(caught.value)


def test_a_certificate_is_verified(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with ImapSink("INBOX", [b"Subject: one\r\n\r\n"], tls=context) as sink:
        configure(bounce_url=f"imaps://me:geheim@127.0.0.1:{sink.port}/INBOX")
        with pytest.raises(ConfigError, match="cannot be read"), bounce_mailbox():
            pass
        assert sink.signed_in == []
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        with bounce_mailbox() as mailbox:
            assert mailbox.unread(5) == ["1"]


def test_a_password_is_sent_unencrypted_only_with_tls_none(configure: Configure) -> None:
    with ImapSink("INBOX") as sink:
        configure(bounce_url=f"imap://me:geheim@127.0.0.1:{sink.port}/INBOX")
        with pytest.raises(ConfigError, match="PAPERWIRE_BOUNCE_URL"), bounce_mailbox():
            pass
        assert sink.signed_in == []


def test_starttls_encrypts_before_the_sign_in(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with ImapSink("INBOX", [b"Subject: one\r\n\r\n"], starttls=context) as sink:
        configure(bounce_url=f"imap://me:geheim@127.0.0.1:{sink.port}/INBOX")
        with pytest.raises(ConfigError, match="cannot be read"), bounce_mailbox():
            pass
        assert sink.signed_in == []
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        with bounce_mailbox() as mailbox:
            assert mailbox.unread(5) == ["1"]
        assert (sink.encrypted, sink.signed_in) == (True, [("me", "geheim")])


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("SELECT", b"* x EXISTS\r\n"),
        ("SEARCH", b"* SEARCH one two\r\n"),
        ("SEARCH", b"* SEARCH 1 " + b"(" * 100_000 + b"\r\n"),
        ("FETCH", b"* one FETCH (UID 1)\r\n"),
        ("FETCH", b"* 1 FETCH (UID 1 BODY[]<0>)\r\n"),
        ("FETCH", b"* 1 FETCH " + b"(" * 100_000 + b"\r\n"),
    ],
)
def test_an_answer_outside_of_imap_is_an_error_of_the_mailbox(
    configure: Configure, command: str, answer: bytes
) -> None:
    with ImapSink("INBOX", [b"Subject: one\r\n\r\n"], odd={command: answer}) as sink:
        configure(bounce_url=f"imap://me:geheim@127.0.0.1:{sink.port}/INBOX?tls=none")
        with pytest.raises(ConfigError, match="PAPERWIRE_BOUNCE_URL"), bounce_mailbox() as mailbox:
            list(map(mailbox.body, mailbox.unread(5)))


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b'* 1 FETCH (UID 1 BODY[]<0> "Subject: one")\r\n', b"Subject: one"),
        (b"* 2 FETCH (FLAGS () UID 9)\r\n* 1 FETCH (BODY[] {3}\r\none UID 1 FLAGS ())\r\n", b"one"),
        (b"* 1 FETCH (UID 1 BODY[]<0> NIL)\r\n", b""),
        (b"* 1 FETCH (UID 1 BODY[]<0> 99999999)\r\n", b""),
        (b"", b""),
    ],
)
def test_a_body_may_come_in_any_form(configure: Configure, answer: bytes, body: bytes) -> None:
    with ImapSink("INBOX", odd={"FETCH": answer}) as sink:
        configure(bounce_url=f"imap://me:geheim@127.0.0.1:{sink.port}/INBOX?tls=none")
        with bounce_mailbox() as mailbox:
            assert mailbox.body("1") == body


def test_no_password_is_logged(configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with ImapSink("INBOX") as sink:
        configure(bounce_url=f"imap://me:geheim@127.0.0.1:{sink.port}/INBOX?tls=none")
        with bounce_mailbox():
            pass
    assert "imapclient" in {record.name.split(".")[0] for record in caplog.records}
    assert "geheim" not in caplog.text


def test_a_maildir_gives_the_oldest_first_and_moves_what_was_read(configure: Configure, tmp_path: Path) -> None:
    for name in ("new", "cur", "tmp"):
        (tmp_path / "Back" / name).mkdir(parents=True)
    (tmp_path / "Back/new/1.a").write_bytes(b"Subject: one\n\n")
    configure(bounce_url=f"maildir://{tmp_path}/Back")
    with bounce_mailbox() as mailbox:
        assert mailbox.unread(5) == ["1.a"]
        assert mailbox.body("1.a") == b"Subject: one\n\n"
        mailbox.seen("1.a")
        assert mailbox.unread(5) == []
    assert [path.name for path in (tmp_path / "Back/cur").iterdir()] == ["1.a:2,S"]
    configure(bounce_url=f"maildir://{tmp_path}/Nowhere")
    with pytest.raises(ConfigError, match="cannot be read"), bounce_mailbox():
        pass
