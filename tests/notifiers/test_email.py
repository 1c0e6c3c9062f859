import email
import re
import ssl
from dataclasses import replace
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from html import unescape
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.errors import ConfigError, LeaseLost, NotFound, TargetError
from services.notifiers.email import EmailTarget, email_settings, message, outbox, plugin, read_outbox
from services.notifiers.email.config import bounce_box, server
from services.notifiers.email.connection import tls
from services.ports import MaybeDelivered, Outcome, Rejected, Retry, Sent, TransportDown
from tests.notifiers.conftest import Commit, Configure
from tests.support.certificates import certificate
from tests.support.digests import ENVELOPE, about, digest
from tests.support.sinks import CLOSE, SmtpSink, refused_port

ADA = EmailTarget(address="ada@example.org")
BODY = b"From: a@b.c\r\nMessage-ID: <delivery-12.ab@x>\r\n\r\none\r\n.two\r\n..three\r\n"


def parsed(body: bytes) -> EmailMessage:
    return email.message_from_bytes(body, policy=SMTP)


def text_and_html(body: bytes) -> tuple[str, str]:
    mail = parsed(body)
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    return plain.get_content(), html.get_content()


# ── the message ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_digest_is_a_mail_with_text_and_html() -> None:
    mail = parsed(plugin.render(digest(), ENVELOPE, ADA))
    assert mail.get_content_type() == "multipart/alternative"
    assert mail["To"] == "ada@example.org"
    assert mail["From"] == "paperwire <paperwire@papers.example.org>"
    assert mail["Message-ID"] == ENVELOPE.message_id
    assert mail["Date"].datetime == ENVELOPE.date
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Id"] == "paperwire <alerts.papers.example.org>"
    assert "References" not in mail
    assert "In-Reply-To" not in mail


@pytest.mark.parametrize("kind", ["digest", "message", "test", "notice"])
def test_every_kind_of_mail_is_marked_as_automatic_and_has_the_unsubscribe_header(kind: str) -> None:
    mail = parsed(plugin.render(digest(1, kind=kind), ENVELOPE, ADA))
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Auto-Response-Suppress"] == "OOF, AutoReply"
    assert mail["List-Unsubscribe"] == f"<{ENVELOPE.unsubscribe_url}>"


def test_a_subject_is_one_short_line_for_any_title() -> None:
    hostile = "A\x00\x07\x1b[31m\x85\x9b \u202egnp\u202c \u2066x\u2069\r\nBcc: b@example.org\u2028" + "word " * 500
    raw = plugin.render(digest(1, title=hostile, kind="message"), ENVELOPE, ADA)
    subject = str(parsed(raw)["Subject"])
    assert subject.startswith("A[31m gnp x Bcc: b@example.org word")
    assert len(subject) <= 200
    assert subject.isprintable()
    assert not re.search(rb"(?mi)^bcc:", raw)


def test_the_subject_of_a_digest_names_its_first_paper() -> None:
    assert parsed(plugin.render(about("Graph planning"), ENVELOPE, ADA))["Subject"] == "Graph planning"
    two = replace(about("Graph planning"), more=1)
    assert parsed(plugin.render(two, ENVELOPE, ADA))["Subject"] == "Graph planning, and 1 more paper"
    long = str(parsed(plugin.render(replace(about("word\n" * 80), more=11), ENVELOPE, ADA))["Subject"])
    assert long.endswith("word…, and 11 more papers")
    assert 180 < len(long) <= 200


def test_a_digest_of_more_than_15_papers_begins_with_its_contents() -> None:
    text, html = text_and_html(plugin.render(digest(16), ENVELOPE, ADA))
    for number in range(1, 17):
        assert html.count(f'href="#p{number}"') == html.count(f'<a name="p{number}"') == 1
    assert html.index('href="#p16"') < html.index('<a name="p1"')
    assert re.search(r"(?m)^Contents\r\n  1\. Scaling Diffusion Transformers", text)
    short = text_and_html(plugin.render(digest(15), ENVELOPE, ADA))
    assert not any("Contents" in part or "#p1" in part for part in short)


def test_unsubscribing_is_one_click_only_where_the_service_has_https() -> None:
    mail = parsed(plugin.render(digest(1), ENVELOPE, ADA))
    assert mail["List-Unsubscribe"] == f"<{ENVELOPE.unsubscribe_url}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    bare = replace(ENVELOPE, unsubscribe_url="http://papers.example.org/u/1")
    assert parsed(plugin.render(digest(1), bare, ADA))["List-Unsubscribe-Post"] is None
    none = parsed(plugin.render(digest(1), replace(ENVELOPE, unsubscribe_url=""), ADA))
    assert none["List-Unsubscribe"] is None


def test_a_long_unsubscribe_link_stays_one_readable_header() -> None:
    url = "https://papers.example.org/unsubscribe/" + "a1B2" * 60
    raw = message("s", "t", "<p>h</p>", "a@example.org", replace(ENVELOPE, unsubscribe_url=url))
    assert f"\r\nList-Unsubscribe: <{url}>\r\n".encode() in raw


def read(content: str) -> str:
    """The visible text of a part, without tags and stars, on one line."""
    visible = re.sub(r"(?s)<(style|title)>.*?</\1>|<!--.*?-->|<[^>]+>", "", content) if "<html" in content else content
    return " ".join(unescape(visible).replace("*", "").split())


def test_text_and_html_name_every_paper_and_every_reason() -> None:
    for content in text_and_html(plugin.render(digest(), ENVELOPE, ADA)):
        flat = read(content)
        assert "https://arxiv.org/pdf/2505.15623" in content
        assert ENVELOPE.unsubscribe_url in content
        for expected in (
            "Scaling Diffusion Transformers Efficiently via μP",
            "128",
            "Chenyu Zheng, Xinyu Zhang",
            "cs.CV",
        ):
            assert expected in flat
        assert "and 12 more" in flat
        assert "arXiv cs.LG: 131 new papers, 7 for you" in flat
        assert flat.count("for Ana") == 3  # two papers and their heading
        for heading in ("Diffusion models", "RAG", "How models reason"):
            assert heading in flat


def test_text_and_html_say_the_same_words() -> None:
    parts = text_and_html(plugin.render(digest(), ENVELOPE, ADA))
    without_addresses = re.sub(r"https?://\S+", "", parts[0])
    text, html = (set(re.findall(r"\w{3,}", read(part))) for part in (without_addresses, parts[1]))
    assert text - html == {"upvotes"}  # an arrow there
    assert html - text == {"paperwire", "Abstract"}  # the sender, and the label of the first address


def test_matched_words_are_bold_and_escaped() -> None:
    hostile = about("<script>alert(1)</script> retrieval", abstract='A <b>language</b> & a "model". More.')
    text, html = text_and_html(plugin.render(hostile, ENVELOPE, ADA))
    assert "&lt;script&gt;alert(1)&lt;/script&gt; <strong" in html
    assert '<strong style="font-weight:700;">retrieval</strong>' in html
    assert "<script" not in html
    assert "A &lt;b&gt;" in html
    assert '<strong style="font-weight:700;">language</strong>&lt;/b&gt; &amp; a &#34;model&#34;.' in html
    assert "A <b>*language*</b> & a" in text


@pytest.mark.parametrize("count", [30, 60, 150])
def test_a_large_digest_stays_under_100_kb_and_keeps_every_paper(count: int) -> None:
    _, html = text_and_html(plugin.render(digest(count), ENVELOPE, ADA))
    assert len(html.encode()) < 100_000
    assert html.count('href="https://arxiv.org/abs/') >= count
    assert "Unsubscribe" in html


def test_every_line_ends_in_crlf_and_is_short_ascii() -> None:
    raw = plugin.render(digest(), ENVELOPE, ADA)
    lines = raw.split(b"\r\n")
    assert raw.isascii()
    assert not any(b"\n" in line or b"\r" in line or len(line) > 998 for line in lines)


def test_a_subject_beyond_ascii_is_read_back_equal() -> None:
    raw = plugin.render(about("Über 模型 and naïve π"), ENVELOPE, ADA)
    assert parsed(raw)["Subject"] == "Über 模型 and naïve π"


@given(st.text(st.characters(codec="ascii"), max_size=100))
@example("=?utf-8?q?in_disguise?=")
@example("a " * 35 + "line")
def test_headers_equal_those_of_the_standard_library(subject: str) -> None:
    words = " ".join("".join(character if character.isprintable() else " " for character in subject).split()) or "None"
    mail = message(words, "text", "<p>html</p>", "ada@example.org", ENVELOPE)
    for name, value in (("Subject", words), ("Message-ID", ENVELOPE.message_id)):
        _, parsed = SMTP.header_store_parse(name, value)
        assert SMTP.fold_binary(name, parsed) in mail


@given(st.text("abzAZ09._+-=?!'", min_size=1, max_size=90), st.integers(1, 60))
def test_recipients_equal_those_of_the_standard_library(local: str, length: int) -> None:
    try:
        recipient = Address(addr_spec=f"{local}@{'x' * length}.example.org")
    except (MessageError, ValueError, IndexError):
        return
    _, parsed = SMTP.header_store_parse("To", recipient)
    mail = message("Subject", "text", "<p>html</p>", recipient.addr_spec, ENVELOPE)
    assert SMTP.fold_binary("To", parsed) in mail


@pytest.mark.parametrize("text", ['"ada b"@example.org', '"ada@home"@example.org', r'"a\"b c"@example.org'])
def test_a_quoted_local_part_is_accepted(configure: Configure, smtp: SmtpSink, commit: Commit, text: str) -> None:
    target = plugin.parse_target(text)
    assert target.address == text
    assert plugin.parse_target(target.address) == target
    configure(smtp_url=smtp.url)
    assert isinstance(plugin.send(BODY, target, commit), Sent)
    assert smtp.mails[0].recipient == text
    mail = parsed(message("s", "t", "<p>h</p>", text, ENVELOPE))
    assert [address.addr_spec for address in mail["To"].addresses] == [text]


@pytest.mark.parametrize(
    "text", ['"ada b@example.org', 'ada" b"@example.org', '""b c@example.org', '"a"b"@example.org']
)
def test_a_damaged_quoted_local_part_is_rejected(text: str) -> None:
    with pytest.raises(TargetError):
        plugin.parse_target(text)


def test_domains_follow_idna_2008(configure: Configure) -> None:
    assert plugin.parse_target("anna@straße.example").address == "anna@xn--strae-oqa.example"
    configure(smtp_url="smtp://faß.example", bounce_url="imaps://me:geheim@faß.example/INBOX")
    smtp_server, box = server(), bounce_box()
    assert smtp_server is not None
    assert box is not None
    assert (smtp_server.host, box.host) == ("xn--fa-hia.example", "xn--fa-hia.example")


def test_names_and_domains_beyond_ascii_are_addresses() -> None:
    assert plugin.parse_target("ada@Bücher.example").address == "ada@xn--bcher-kva.example"
    raw = message("s", "t", "<p>h</p>", "jörg@example.org", ENVELOPE)
    assert "To: jörg@example.org\r\n".encode() in raw


@pytest.mark.parametrize("text", ["", "ada", "ada@", "@x", "a b@x.org", "a@x.org, b@x.org", "a@x.org\r\nBcc: c@x.org"])
def test_anything_but_a_single_address_is_rejected(text: str) -> None:
    with pytest.raises(TargetError, match=r"name@example\.org"):
        plugin.parse_target(text)


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url", ["http://x", "smtp://", "smtp://u:geheim@h:x", "smtp://u:geheim@h?tls=maybe", "smtp://h?x=1"]
)
def test_a_bad_server_address_names_the_setting_and_not_its_content(configure: Configure, url: str) -> None:
    configure(smtp_url=url)
    with pytest.raises(ConfigError, match="PAPERWIRE_SMTP_URL") as caught:
        email_settings()
    assert "geheim" not in str(caught.value)


def test_the_sender_may_have_a_name(configure: Configure) -> None:
    configure(mail_from='"Papiere, täglich" <alerts@example.org>')
    mail = parsed(plugin.render(digest(1), ENVELOPE, ADA))
    assert mail["From"].addresses[0].display_name == "Papiere, täglich"
    assert mail["List-Id"] == "paperwire <alerts.example.org>"


# ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────


def send(configure: Configure, sink: SmtpSink, commit: Commit, body: bytes = BODY, query: str = "") -> Outcome:
    configure(smtp_url=sink.url + query, mail_from="alerts@example.org")
    return plugin.send(body, ADA, commit)


def test_the_sent_bytes_are_the_rendered_bytes(configure: Configure, smtp: SmtpSink, commit: Commit) -> None:
    rendered = plugin.render(digest(), ENVELOPE, ADA)
    for body in (rendered, BODY):
        assert send(configure, smtp, commit, body) == Sent("250 2.0.0 queued as Q1")
        assert smtp.mails[-1].body == body
    assert (smtp.mails[0].sender, smtp.mails[0].recipient) == ("alerts@example.org", "ada@example.org")
    assert commit.calls == 2


@pytest.mark.parametrize(
    ("step", "reply", "outcome", "committed"),
    [
        ("CONNECT", "421 too busy", TransportDown, 0),
        ("CONNECT", "554 go away", TransportDown, 0),
        ("CONNECT", CLOSE, TransportDown, 0),
        ("EHLO", CLOSE, TransportDown, 0),
        ("MAIL", "451 4.3.0 later", Retry, 0),
        ("MAIL", "550 5.7.1 sender refused", TransportDown, 0),
        ("MAIL", "530 5.7.0 sign in first", TransportDown, 0),
        ("MAIL", "552 5.3.4 too large", Rejected, 0),
        ("RCPT", "451 4.7.1 greylisted", Retry, 0),
        ("RCPT", "nonsense", Retry, 0),
        ("RCPT", "550 5.7.1 policy", Rejected, 0),
        ("RCPT", "552 5.2.2 mailbox full", Retry, 0),
        ("RCPT", "550 5.1.0 sender rejected", Rejected, 0),
        ("RCPT", CLOSE, Retry, 0),
        ("DATA", "451 4.3.0 later", Retry, 1),
        ("DATA", "554 5.6.0 no", Rejected, 1),
        ("DATA", CLOSE, Retry, 1),
        (".", "451 4.3.0 later", Retry, 1),
        (".", "554 5.6.0 spam", Rejected, 1),
        (".", "nonsense", MaybeDelivered, 1),
        (".", CLOSE, MaybeDelivered, 1),
    ],
)
def test_the_outcome_follows_from_the_code_and_the_command(
    configure: Configure, smtp: SmtpSink, commit: Commit, step: str, reply: str, outcome: type, committed: int
) -> None:
    smtp.script(step, reply)
    result = send(configure, smtp, commit)
    assert type(result) is outcome
    assert commit.calls == committed
    assert getattr(result, "scope", "delivery") == "delivery"


@pytest.mark.parametrize("step", ["RCPT", "."])
def test_an_address_that_does_not_exist_is_rejected_for_the_channel(
    configure: Configure, smtp: SmtpSink, commit: Commit, step: str
) -> None:
    smtp.script(step, "550 5.1.1 no such user")
    assert send(configure, smtp, commit) == Rejected("550 5.1.1 no such user", scope="channel")


@pytest.mark.parametrize("step", ["RCPT", "."])
def test_a_full_mailbox_is_tried_again_tomorrow(
    configure: Configure, smtp: SmtpSink, commit: Commit, step: str
) -> None:
    smtp.script(step, "552 5.2.2 mailbox full")
    assert send(configure, smtp, commit) == Retry("552 5.2.2 mailbox full", after=24 * 3600.0)


def test_a_connection_lost_within_the_body_is_a_retry(configure: Configure, smtp: SmtpSink, commit: Commit) -> None:
    smtp.script("BODY", CLOSE)
    body = BODY + b"x" * 70 * 500_000
    assert isinstance(send(configure, smtp, commit, body), Retry)
    assert smtp.mails == []


def test_no_reply_after_the_final_dot_may_mean_delivered_and_times_out(
    configure: Configure, smtp: SmtpSink, commit: Commit
) -> None:
    configure(time_scale="0.0005")
    smtp.delays["."] = 30
    configure(smtp_url=smtp.url + "?timeout=600", mail_from="alerts@example.org")
    assert plugin.send(BODY, ADA, commit) == MaybeDelivered("no answer after the mail: timed out")


def test_a_mail_is_sent_even_when_quit_fails(configure: Configure, smtp: SmtpSink, commit: Commit) -> None:
    smtp.script("QUIT", CLOSE)
    assert isinstance(send(configure, smtp, commit), Sent)


def test_a_lost_lease_stops_the_mail_before_data(configure: Configure, smtp: SmtpSink) -> None:
    with pytest.raises(LeaseLost):
        send(configure, smtp, Commit(LeaseLost("taken")))
    assert smtp.mails == []
    assert not any(command.startswith("DATA") for command in smtp.commands)


@pytest.mark.parametrize("target", ["refused", "unknown"])
def test_the_transport_is_down_when_the_server_cannot_be_reached(
    configure: Configure, commit: Commit, target: str
) -> None:
    with refused_port() as port:
        configure(smtp_url=f"smtp://127.0.0.1:{port}" if target == "refused" else "smtp://nowhere.invalid")
        result = plugin.send(BODY, ADA, commit)
        assert isinstance(result, TransportDown)
        assert isinstance(plugin.probe(ADA), TransportDown)
    assert commit.calls == 0


def test_the_transport_is_down_after_a_rejected_sign_in_and_the_reason_has_no_password(
    configure: Configure, commit: Commit
) -> None:
    with SmtpSink("AUTH PLAIN") as sink:
        sink.always("AUTH", "535 5.7.8 wrong: geheim")
        configure(smtp_url=f"smtp://me:geheim@127.0.0.1:{sink.port}?tls=none")
        assert plugin.send(BODY, ADA, commit) == TransportDown("the mail server refuses the sign-in (535)")
        assert plugin.probe(ADA) == TransportDown("the mail server refuses the sign-in (535)")
        sink.always("AUTH", "235 2.7.0 ok")
        assert plugin.probe(ADA) is None


def test_a_password_is_sent_unencrypted_only_with_tls_none(configure: Configure, commit: Commit) -> None:
    with SmtpSink("AUTH PLAIN") as sink:
        configure(smtp_url=f"smtp://me:geheim@127.0.0.1:{sink.port}")
        assert isinstance(plugin.send(BODY, ADA, commit), TransportDown)
        assert not any(command.startswith("AUTH") for command in sink.commands)


@pytest.mark.parametrize("implicit", [False, True])
def test_tls_is_used_and_its_certificate_verified(
    configure: Configure, commit: Commit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, implicit: bool
) -> None:
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    tls.cache_clear()
    with SmtpSink("AUTH PLAIN", tls=context, implicit=implicit) as sink:
        configure(smtp_url=sink.url.replace("//", "//me:geheim@"), mail_from="alerts@example.org")
        untrusted = plugin.send(BODY, ADA, commit)
        assert isinstance(untrusted, TransportDown)
        assert "TLS" in untrusted.reason
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        tls.cache_clear()
        assert isinstance(plugin.send(BODY, ADA, commit), Sent)
        assert len(sink.mails) == 1
    tls.cache_clear()


def test_required_starttls_that_is_not_offered_is_an_error(
    configure: Configure, smtp: SmtpSink, commit: Commit
) -> None:
    result = send(configure, smtp, commit, query="?tls=starttls")
    assert isinstance(result, TransportDown)
    assert "STARTTLS" in result.reason


def test_an_address_beyond_ascii_needs_smtputf8(configure: Configure, commit: Commit) -> None:
    target = EmailTarget(address="jörg@example.org")
    with SmtpSink() as plain, SmtpSink("SMTPUTF8", "8BITMIME") as able:
        configure(smtp_url=plain.url)
        refused = plugin.send(BODY, target, commit)
        assert isinstance(refused, Rejected)
        assert refused.scope == "channel"
        configure(smtp_url=able.url)
        assert isinstance(plugin.send(plugin.render(digest(1), ENVELOPE, target), target, commit), Sent)
        assert able.mails[0].recipient == "jörg@example.org"


# ── the outbox ────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_server_a_mail_becomes_a_file_that_can_be_read_again(commit: Commit, tmp_path: Path) -> None:
    rendered = plugin.render(digest(1), ENVELOPE, ADA)
    assert plugin.send(rendered, ADA, commit) == Sent("delivery-12.ab34cd56.eml")
    assert plugin.send(rendered, ADA, commit) == Sent("delivery-12.ab34cd56.eml")
    assert [path.name for path in (tmp_path / "outbox").iterdir()] == ["delivery-12.ab34cd56.eml"]
    (mail,) = outbox()
    subject = "Scaling Diffusion Transformers Efficiently via μP, and 12 more papers"
    assert (mail.to, mail.subject) == ("ada@example.org", subject)
    stored = read_outbox(mail.name)
    assert "<h1" in stored.html
    assert "Scaling Diffusion Transformers" in stored.text
    assert ("Auto-Submitted", "auto-generated") in stored.headers


def test_a_lost_lease_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(LeaseLost):
        plugin.send(BODY, ADA, Commit(LeaseLost("taken")))
    assert list((tmp_path / "outbox").iterdir()) == []


def test_the_transport_is_down_when_the_outbox_cannot_be_written(tmp_path: Path, commit: Commit) -> None:
    (tmp_path / "outbox").write_text("in the way")
    assert isinstance(plugin.send(BODY, ADA, commit), TransportDown)
    assert isinstance(plugin.probe(ADA), TransportDown)
    assert commit.calls == 0
    (tmp_path / "outbox").unlink()
    assert plugin.probe(ADA) is None


@pytest.mark.parametrize(
    "name", ["../secret.eml", "/etc/passwd", "..", "", "a/b.eml", "x\0.eml", ".hidden.eml", "gone.eml"]
)
def test_nothing_outside_the_outbox_can_be_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "outbox").mkdir()
    (tmp_path / "secret.eml").write_text("x")
    with pytest.raises(NotFound):
        read_outbox(name)


def test_an_empty_outbox_has_no_mails() -> None:
    assert outbox() == []


# ── connections that are kept ─────────────────────────────────────────────────────────────────────────────────


def test_mails_of_a_run_share_a_connection(configure: Configure, smtp: SmtpSink, commit: Commit) -> None:
    configure(smtp_url=smtp.url)
    with plugin.reuse_connections():
        for _ in range(3):
            assert isinstance(plugin.send(BODY, ADA, commit), Sent)
        assert smtp.tries("EHLO") == 1
    assert (smtp.tries("MAIL"), smtp.tries("QUIT")) == (3, 1)


def test_the_connection_is_reused_after_a_rejected_recipient(
    configure: Configure, smtp: SmtpSink, commit: Commit
) -> None:
    configure(smtp_url=smtp.url)
    smtp.script("RCPT", "550 5.1.1 no such user")
    with plugin.reuse_connections():
        assert isinstance(plugin.send(BODY, ADA, commit), Rejected)
        assert isinstance(plugin.send(BODY, ADA, commit), Sent)
    assert (smtp.tries("EHLO"), smtp.tries("RSET")) == (1, 1)


@pytest.mark.parametrize(
    ("step", "reply"), [("MAIL", "421 4.7.0 so many are enough"), ("MAIL", CLOSE), ("RCPT", "421 go"), ("RCPT", CLOSE)]
)
def test_a_mail_is_sent_on_a_new_connection_when_the_old_one_is_closed(
    configure: Configure, smtp: SmtpSink, commit: Commit, step: str, reply: str
) -> None:
    configure(smtp_url=smtp.url)
    with plugin.reuse_connections():
        plugin.send(BODY, ADA, commit)
        smtp.script(step, reply)
        assert isinstance(plugin.send(BODY, ADA, commit), Sent)
    assert (len(smtp.mails), smtp.tries("EHLO")) == (2, 2)


def test_a_rejected_first_mail_is_not_tried_on_another_connection(
    configure: Configure, smtp: SmtpSink, commit: Commit
) -> None:
    configure(smtp_url=smtp.url)
    smtp.script("MAIL", "421 4.7.0 later")
    with plugin.reuse_connections():
        assert isinstance(plugin.send(BODY, ADA, commit), Retry)
    assert smtp.tries("EHLO") == 1


def test_a_connection_without_a_reply_is_not_reused(configure: Configure, smtp: SmtpSink, commit: Commit) -> None:
    configure(smtp_url=smtp.url)
    smtp.script(".", "250 ok", CLOSE)
    with plugin.reuse_connections():
        assert isinstance(plugin.send(BODY, ADA, commit), Sent)
        assert isinstance(plugin.send(BODY, ADA, commit), MaybeDelivered)
        assert isinstance(plugin.send(BODY, ADA, commit), Sent)
    assert (commit.calls, smtp.tries("EHLO")) == (3, 2)


def test_the_connection_is_closed_when_the_commit_fails(configure: Configure, smtp: SmtpSink) -> None:
    configure(smtp_url=smtp.url)
    with plugin.reuse_connections():
        with pytest.raises(LeaseLost):
            plugin.send(BODY, ADA, Commit(LeaseLost("gone")))
        assert isinstance(plugin.send(BODY, ADA, Commit()), Sent)
    assert (len(smtp.mails), smtp.tries("EHLO")) == (1, 2)
