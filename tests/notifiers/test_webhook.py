"""Webhooks by Standard Webhooks, checked with an independent implementation of the specification."""

import base64
import hashlib
import hmac
import json
import re
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from services.errors import LeaseLost, TargetError
from services.notifiers.webhook import WebhookTarget, plugin, signing
from services.ports import MaybeDelivered, Outcome, Rejected, Retry, Sent
from tests.notifiers.conftest import Commit, Configure
from tests.support.digests import ENVELOPE, about, digest
from tests.support.sinks import Answer, Asked, HttpSink, refused_port

HOOK = "/hooks/papers"
NOW = datetime.now(UTC)
DOCUMENT = Path(__file__).parents[2] / "docs" / "webhooks.md"


def target(http: HttpSink, configure: Configure, path: str = HOOK) -> WebhookTarget:
    configure(allow_webhook_hosts=f"127.0.0.1:{http.port}")
    issued = plugin.with_new_secret(plugin.parse_target(http.url + path), NOW)
    assert isinstance(issued[0], WebhookTarget)
    return issued[0]


def send(to: WebhookTarget, commit: Commit, count: int = 2) -> Outcome:
    return plugin.send(plugin.render(digest(count), ENVELOPE, to), to, commit)


def header(request: Asked, name: str) -> str:
    return {key.lower(): value for key, value in request.headers.items()}[name]


def passes(request: Asked, secret: str) -> bool:
    """The check of a signature as the specification describes it."""
    assert abs(time.time() - int(header(request, "webhook-timestamp"))) < 300
    key = base64.b64decode(secret[len("whsec_") :])
    content = b".".join(
        [header(request, "webhook-id").encode(), header(request, "webhook-timestamp").encode(), request.body]
    )
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest())
    signatures = [signature.split(",", 1) for signature in header(request, "webhook-signature").split(" ")]
    return any(version == "v1" and hmac.compare_digest(value.encode(), expected) for version, value in signatures)


# ── signing ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_post_is_signed_as_the_specification_says(configure: Configure, http: HttpSink, commit: Commit) -> None:
    to = target(http, configure)
    assert send(to, commit) == Sent("HTTP 200")
    (request,) = http.to(HOOK)
    assert passes(request, to.secret.get_secret_value())
    assert not passes(request, "whsec_" + base64.b64encode(b"x" * 32).decode())
    assert not passes(request._replace(body=request.body + b" "), to.secret.get_secret_value())
    assert header(request, "content-type") == "application/json"
    assert commit.calls == 1


def test_the_signature_equals_that_of_the_reference_library() -> None:
    """The vector is from the tests of https://github.com/standard-webhooks/standard-webhooks (libraries/python)."""
    signed = signing.headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    assert signed == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_documented_snippet_accepts_what_is_sent_and_nothing_else(
    configure: Configure, http: HttpSink, commit: Commit
) -> None:
    snippet = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert snippet
    scope: dict[str, Any] = {}
    exec(snippet[1], scope)
    to = target(http, configure)
    send(to, commit)
    (request,) = http.to(HOOK)
    headers = {name.lower(): value for name, value in request.headers.items()}
    secret = to.secret.get_secret_value()
    assert scope["verified"](secret, headers, request.body)
    assert not scope["verified"](secret, headers, request.body.replace(b"papers", b"vapers"))
    assert not scope["verified"](secret, {**headers, "webhook-timestamp": str(int(time.time()) - 900)}, request.body)
    assert not scope["verified"]("whsec_" + base64.b64encode(b"y" * 32).decode(), headers, request.body)


def test_a_replaced_secret_also_signs(configure: Configure, http: HttpSink, commit: Commit) -> None:
    old = target(http, configure)
    issued = plugin.with_new_secret(old, datetime.now(UTC))
    both, secret = issued
    assert isinstance(both, WebhookTarget)
    send(both, commit)
    (request,) = http.to(HOOK)
    assert passes(request, old.secret.get_secret_value())
    assert passes(request, secret)
    assert both.stored_secrets(datetime.now(UTC) + timedelta(hours=25)) == (secret,)


def test_a_retry_has_the_same_id_and_a_new_timestamp(
    configure: Configure, http: HttpSink, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = target(http, configure)
    body = plugin.render(digest(1), ENVELOPE, to)
    for _ in range(2):
        plugin.send(body, to, commit)
    first, second = http.to(HOOK)
    assert header(first, "webhook-id") == header(second, "webhook-id") == json.loads(body)["id"]
    assert header(first, "webhook-id").startswith("msg_12_")
    assert "." not in header(first, "webhook-id")
    assert first.body == second.body


# ── payload ───────────────────────────────────────────────────────────────────────────────────────────────────


def payload(**changes: Any) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(
        plugin.render(digest(**changes), ENVELOPE, plugin.parse_target(plugin.example))
    )
    return message


def test_the_payload_contains_papers_and_reasons() -> None:
    message = payload(count=3)
    assert message["type"] == "papers.digest"
    assert message["timestamp"] == "2025-05-27T06:00:00Z"
    first = message["data"]["papers"][0]
    assert first["identifiers"] == {"arxiv": "2505.15270"}
    assert first["links"]["abstract"] == "https://arxiv.org/abs/2505.15270"
    assert [reason["name"] for reason in first["reasons"]] == ["Diffusion models", "Trending"]
    assert message["data"]["more"] == 12


def test_every_field_is_documented() -> None:
    text = DOCUMENT.read_text()
    message = payload(count=3)
    paper = message["data"]["papers"][0]
    names = {*message, *message["data"], *paper, *paper["reasons"][0]}
    assert not [name for name in names if f"`{name}`" not in text]


def test_a_payload_of_any_papers_stays_small() -> None:
    long = "word & <tag> " * 50_000
    assert (
        len(plugin.render(about(long, abstract=long, why=long), ENVELOPE, plugin.parse_target(plugin.example))) < 8000
    )
    assert len(json.dumps(payload(count=30))) < 100_000


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(status=200), Sent("HTTP 200")),
        (Answer(status=204, body=""), Sent("HTTP 204")),
        (Answer(status=410), Rejected("the webhook answered 410: it is gone", scope="channel")),
        (Answer(status=404), Retry("the webhook answered 404")),
        (Answer(status=401), Retry("the webhook answered 401")),
        (Answer(status=500), Retry("the webhook answered 500")),
        (Answer(status=429, headers={"Retry-After": "7"}), Retry("the webhook answered 429", after=7.0)),
        (Answer(status=503, headers={"Retry-After": "soon"}), Retry("the webhook answered 503")),
        (Answer(close=True), MaybeDelivered("the connection broke, or the answer is not HTTP")),
    ],
)
def test_the_outcome_follows_from_the_answer(
    configure: Configure, http: HttpSink, commit: Commit, answer: Answer, outcome: Outcome
) -> None:
    http.always(HOOK, answer)
    assert send(target(http, configure), commit) == outcome
    assert len(http.requests) == 1


def test_a_redirect_is_a_failure_and_not_followed(configure: Configure, http: HttpSink, commit: Commit) -> None:
    http.always(HOOK, Answer(status=307, headers={"Location": f"{http.url}/elsewhere"}))
    assert isinstance(send(target(http, configure), commit), Retry)
    assert http.to("/elsewhere") == []


def test_a_slow_answer_may_mean_delivered(configure: Configure, http: HttpSink, commit: Commit) -> None:
    configure(time_scale="0.001")
    http.always(HOOK, Answer(delay=30))
    assert send(target(http, configure), commit) == MaybeDelivered("no answer within 1 s")


def test_an_endless_answer_is_not_read(configure: Configure, commit: Commit) -> None:
    """Only the head of an answer is read."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def pour() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
                try:
                    while not done.is_set():
                        connection.sendall(b"x" * 65536)
                except OSError:
                    done.set()

        thread = threading.Thread(target=pour)
        thread.start()
        configure(allow_webhook_hosts=f"127.0.0.1:{port}")
        issued = plugin.with_new_secret(plugin.parse_target(f"http://127.0.0.1:{port}/"), NOW)
        assert isinstance(issued[0], WebhookTarget)
        assert send(issued[0], commit) == Sent("HTTP 200")
        assert done.wait(10), "the connection is let go"
        thread.join(10)


def test_a_failed_connection_is_a_failure(configure: Configure, commit: Commit) -> None:
    with refused_port() as port:
        configure(allow_webhook_hosts=f"127.0.0.1:{port}")
        issued = plugin.with_new_secret(plugin.parse_target(f"http://127.0.0.1:{port}/"), NOW)
        assert isinstance(issued[0], WebhookTarget)
        assert isinstance(send(issued[0], commit), MaybeDelivered)


def test_a_lost_lease_stops_the_post(configure: Configure, http: HttpSink) -> None:
    with pytest.raises(LeaseLost):
        send(target(http, configure), Commit(LeaseLost("taken")))
    assert http.requests == []


# ── where it may go ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/hook",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/hook",
        "https://user:geheim@example.org/hook",
        "https://example.org:8443/hook",
        "ftp://example.org/hook",
        "https:///hook",
        "https://example.org/ho ok",
        "https://example.org/hook#geheim",
        "example.org/hook",
        "https://exämple.org/hook",
        "https://example.org:x/hook",
        "https://example.org/" + "x" * 3000,
    ],
)
def test_a_private_or_malformed_address_is_rejected(url: str) -> None:
    with pytest.raises(TargetError) as caught:
        plugin.parse_target(url)
    assert "geheim" not in str(caught.value)


def test_a_name_of_a_private_address_is_rejected_when_it_is_resolved(
    configure: Configure, http: HttpSink, commit: Commit
) -> None:
    to = target(http, configure)
    configure(allow_webhook_hosts="")
    inside = to.model_copy(update={"url": SecretStr("http://localhost/hook")})
    result = send(inside, commit)
    assert isinstance(result, Rejected)
    assert result.scope == "channel"
    assert http.requests == []


def test_a_private_host_that_is_allowed_for_sources_is_no_webhook(
    configure: Configure, http: HttpSink, commit: Commit
) -> None:
    allowed = target(http, configure)
    configure(allow_webhook_hosts="", allow_source_hosts=f"127.0.0.1:{http.port}")
    with pytest.raises(TargetError):
        plugin.parse_target(f"http://127.0.0.1:{http.port}/hook")
    assert isinstance(send(allowed, commit), Rejected)
    assert http.requests == []


@pytest.mark.parametrize("secret", ["whsec_", "whsec_abc", "geheim", "whsec_" + "!" * 44, "whsec_" + "A" * 200])
def test_a_secret_has_the_form_of_the_specification(secret: str) -> None:
    with pytest.raises(ValidationError) as caught:
        WebhookTarget(url=SecretStr(plugin.example), secret=SecretStr(secret))
    assert "geheim" not in str(caught.value)


def test_two_addresses_on_one_host_are_two_channels_without_the_address_in_their_labels(http: HttpSink) -> None:
    first, second = (plugin.parse_target(f"https://example.org/{path}") for path in ("geheim1", "geheim2"))
    assert plugin.label(first) != plugin.label(second)
    assert plugin.transport(first) != plugin.transport(second)
    assert plugin.rate_limit_key(first) == plugin.rate_limit_key(second)
    assert plugin.rate_limit_key(first) != plugin.rate_limit_key(plugin.parse_target("https://example.com/geheim1"))
    assert "geheim" not in plugin.label(first) + plugin.rate_limit_key(first) + plugin.transport(first) + repr(first)
