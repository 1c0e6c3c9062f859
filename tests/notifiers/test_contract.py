"""The contract that every notifier keeps."""

import email
import json
import logging
from datetime import UTC, datetime
from email.policy import SMTP

import pytest
from pydantic import BaseModel, SecretStr

from services import plugins
from services.ports import MaybeDelivered, Notifier, Outcome, Rejected, Retry, SecretIssuing, Sent, TransportDown
from tests.notifiers.conftest import Commit, Configure
from tests.support.digests import ENVELOPE, about, digest
from tests.support.sinks import CLOSE, Answer, HttpSink, SmtpSink

SECRET = "geheim-9f8e7d"
HOSTILE = {
    "header": "Nice paper\r\nBcc: everyone@example.org\r\n\r\n<b>hello</b>",
    "script": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "mention": "<!channel> <!everyone> <@U123>",
    "bidi": "safe \u202egnp.exe\u202c \u2066x\u2069",
    "controls": "a\x00b\x07c\x1b[31md\ud800e",
    "template": "{{ 7 * 7 }} {% raw %}",
    "megabyte": "word & <tag> $\\alpha$ " * 50_000,
}


@pytest.fixture(params=sorted(plugins.notifiers()))
def notifier(request: pytest.FixtureRequest) -> Notifier:
    return plugins.notifier(request.param)


@pytest.fixture
def target(notifier: Notifier) -> BaseModel:
    return notifier.parse_target(notifier.example)


def test_the_example_is_a_target_with_a_label(notifier: Notifier, target: BaseModel) -> None:
    assert isinstance(target, notifier.target)
    assert notifier.label(target) == notifier.label(notifier.parse_target(notifier.example)) != ""
    assert notifier.transport(target) != ""
    assert notifier.summary
    assert notifier.lease.total_seconds() > 0


def test_a_stored_target_is_read_back_equal(notifier: Notifier, target: BaseModel) -> None:
    values = {name: getattr(target, name) for name in type(target).model_fields}
    plain = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in values.items()
    }
    again = notifier.target.model_validate(json.loads(json.dumps(plain)))
    assert again == target


def test_the_same_digest_is_the_same_bytes(notifier: Notifier, target: BaseModel) -> None:
    first = notifier.render(digest(), ENVELOPE, target)
    assert isinstance(first, bytes)
    assert first == notifier.render(digest(), ENVELOPE, target)


def test_a_test_message_needs_no_papers(notifier: Notifier, target: BaseModel) -> None:
    assert b"test" in notifier.render(digest(0, kind="test", more=0, title="A test"), ENVELOPE, target)


@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_hostile_text_stays_text(notifier: Notifier, target: BaseModel, case: str) -> None:
    text = HOSTILE[case]
    body = notifier.render(about(text, abstract=text, why=text), ENVELOPE, target)
    assert len(body) < 100_000
    assert b"\r\nBcc:" not in body.partition(b"\r\n\r\n")[0]
    markup = interpreted(body)
    for live in ("<script", "<img src", "<!channel>", "\u202e", "\x00", "\x1b", " 49 "):
        assert live not in markup


def interpreted(body: bytes) -> str:
    """The part of a message in which a mail program or Slack interprets markup."""
    if body.startswith(b"{"):
        message = json.loads(body)
        if "blocks" not in message:
            return ""  # A webhook's data: what its receiver makes of the words is the receiver's affair.
        parts = [block.get("text", {}) for block in message["blocks"]]
        return "\n".join([message["text"], *(part["text"] for part in parts if part.get("type") == "mrkdwn")])
    mail = email.message_from_bytes(body, policy=SMTP)
    html = mail.get_body(("html",))
    assert html is not None
    return str(html.get_content())


@pytest.fixture
def reach(configure: Configure, http: HttpSink, smtp: SmtpSink) -> None:
    """Both sinks in place of the servers. Both refuse with a text that repeats a secret."""
    configure(
        smtp_url=f"smtp://me:{SECRET}@127.0.0.1:{smtp.port}?tls=none",
        slack_bot_token=SECRET,
        slack_api_url=f"{http.url}/api/",
        allow_webhook_hosts=f"127.0.0.1:{http.port}",
    )


@pytest.mark.usefixtures("reach")
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 410, 429, 500, 503, 0])
def test_no_secret_is_in_a_reason_a_label_or_a_log_line(
    notifier: Notifier, http: HttpSink, smtp: SmtpSink, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = Answer(status=status or 200, body=f'{{"ok": false, "error": "no {SECRET}"}}', close=status == 0)
    smtp.always("RCPT", CLOSE if status == 0 else f"{status} no")
    for path in (f"/services/{SECRET}", "/api/chat.postMessage", "/api/auth.test"):
        http.always(path, answer)
    targets = [notifier.parse_target(notifier.example)]
    if notifier.kind == "webhook":
        targets = [notifier.parse_target(f"{http.url}/services/{SECRET}")]
    if notifier.kind == "slack":
        targets.append(notifier.parse_target(f"{http.url}/services/{SECRET}"))
    for plain in targets:
        target = plain
        if isinstance(notifier, SecretIssuing):
            target, _ = notifier.with_new_secret(plain, datetime.now(UTC))
        commit = Commit()
        outcome: Outcome = notifier.send(notifier.render(digest(2), ENVELOPE, target), target, commit)
        assert isinstance(outcome, Sent | Retry | Rejected | TransportDown | MaybeDelivered)
        assert commit.calls == 1 or isinstance(outcome, Retry | Rejected | TransportDown)
        texts = [repr(outcome), repr(target), repr(notifier.probe(target)), notifier.transport(target), caplog.text]
        assert not [text for text in [*texts, notifier.label(target)] if SECRET in text]
