import json
import re
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from services.errors import LeaseLost, TargetError
from services.notifiers.slack import SlackTarget, plugin
from services.ports import MaybeDelivered, Outcome, Rejected, Retry, Sent, TransportDown
from tests.notifiers.conftest import Commit, Configure
from tests.support.digests import ENVELOPE, about, digest
from tests.support.sinks import Answer, HttpSink, refused_port

POST = "/api/chat.postMessage"
HOOK = "/services/T0/B0/geheim1234"
OK = Answer(body='{"ok": true, "channel": "C012345", "ts": "1700000000.000100"}')
PAPERS = SlackTarget(channel="#papers")
BODY = plugin.render(digest(2), ENVELOPE, PAPERS)


def payload(**changes: Any) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(plugin.render(replace(digest(), **changes), ENVELOPE, PAPERS))
    return message


def texts(block: dict[str, Any]) -> list[str]:
    parts = [block["text"]] if "text" in block else block["elements"]
    return [part["text"] for part in parts]


def error(word: str) -> Answer:
    return Answer(body=json.dumps({"ok": False, "error": word}))


# ── the message ───────────────────────────────────────────────────────────────────────────────────────────────


def test_each_paper_is_a_section_that_names_its_subscriptions() -> None:
    sections = [block["text"]["text"] for block in payload()["blocks"] if block["type"] == "section"]
    assert len(sections) == 8
    assert sections[0].startswith(
        "*<https://arxiv.org/abs/2505.15270|Scaling Diffusion Transformers Efficiently via μP>*"
    )
    assert "↳ *Diffusion models*: `diffusion*` in the title" in sections[0]
    assert "▲ 128" in sections[0]
    assert "↳ *RAG* for Ana: " in sections[2]


@pytest.mark.parametrize("count", [1, 8, 15, 16, 60])
@pytest.mark.parametrize("fill", ["word ", "&<>*", "😀"])
def test_a_message_keeps_within_every_limit(count: int, fill: str) -> None:
    long = tuple(
        replace(
            item,
            paper=replace(item.paper, title=fill * 2000, abstract=fill * 2000, authors=(fill * 300,) * 400),
            reasons=tuple(
                replace(item.reasons[0], name=fill * 50, for_whom=fill * 50, why=fill * 500) for _ in range(20)
            ),
        )
        for item in digest(count).papers
    )
    message = payload(papers=long, title=fill * 500, foot=(fill * 500,) * 9)
    block_texts = [text for block in message["blocks"] for text in texts(block)]
    assert len(message["blocks"]) <= 45
    assert max(map(len, block_texts)) <= 3000
    assert len(message["blocks"][0]["text"]["text"]) <= 150
    assert sum(map(len, block_texts)) + len(message["text"]) <= 12_000
    assert all("↳" in text or "(" in text for text in block_texts[1 : 1 + min(count, 15)])


def test_papers_beyond_fifteen_are_counted_and_linked() -> None:
    blocks = payload(papers=digest(20).papers)["blocks"]
    assert len([block for block in blocks if block["type"] == "section"]) == 15
    assert "|and 17 more>" in texts(blocks[-1])[0]


def test_text_of_a_paper_is_escaped() -> None:
    title = "<!channel> & <https://evil.example|click> <@U123> *bold* `code`"
    raw = plugin.render(about(title), ENVELOPE, PAPERS).decode()
    assert "<!channel>" not in raw.replace('"plain_text","text":"<!channel>', "")
    section = json.loads(raw)["blocks"][1]["text"]["text"]
    assert "&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt; &lt;@U123&gt; ∗bold∗" in section


ODD = "@channel #general :warning: 3:100:2 _very_ a_b __init__ ~x~ model.py <!channel> & <@U123> `code` > *b*"


def test_text_of_a_paper_becomes_no_format_emoji_or_link() -> None:
    item = digest(1).papers[0]
    message = payload(papers=(replace(item, paper=replace(item.paper, title=ODD, abstract=f"> {ODD}")),), foot=(ODD,))
    objects = [block["text"] for block in message["blocks"] if block["type"] == "section"]
    objects += [element for block in message["blocks"] for element in block.get("elements", ())]
    assert len(objects) > 1
    assert all(element["type"] == "mrkdwn" and element["verbatim"] is True for element in objects)
    assert message["blocks"][0]["text"] == {
        "type": "plain_text",
        "text": message["blocks"][0]["text"]["text"],
        "emoji": False,
    }
    for text in [message["text"], *(element["text"] for element in objects)]:
        bare = re.sub(r"<https?://[^|>]*\|([^>]*)>", r"\1", text)
        assert not re.search(r":[\w+-]+:|(?<![^\W_])_|_(?![^\W_])|~|<[!@#]", bare)
    assert "a_b" in objects[0]["text"]
    assert "model.py" in objects[0]["text"]


def test_the_text_beside_the_blocks_has_no_links_of_its_own() -> None:
    item = about(ODD).papers[0]
    papers = (replace(item, paper=replace(item.paper, abstract=ODD)),)
    thread = json.loads(plugin.render(replace(about(ODD), kind="thread", papers=papers), ENVELOPE, PAPERS))
    assert "very" in thread["text"]
    assert not any(text in thread["text"] for text in ("@channel", "#general", "model.py"))


def test_a_clause_of_a_query_is_code_and_unchanged() -> None:
    item = digest(1).papers[0]
    why = '"a*b_c"~3 in the title and abstract; =node.js in the title; author Wei Li; "x & y" in the abstract'
    section = payload(papers=(replace(item, reasons=(replace(item.reasons[0], why=why),)),))["blocks"][1]["text"][
        "text"
    ]
    assert (
        ': `"a*b_c"~3` in the title and abstract; `=node.js` in the title; author Wei Li; `"x &amp; y"` in the abstract'
        in section
    )
    page = plugin.preview(
        plugin.render(
            replace(digest(), papers=(replace(item, reasons=(replace(item.reasons[0], why=why),)),)), ENVELOPE, PAPERS
        )
    )
    assert "<code>&#34;a*b_c&#34;~3</code> in the title" in page


def test_a_link_cannot_break_out_of_its_brackets() -> None:
    item = digest(1).papers[0]
    paper = replace(item.paper, links={"abstract": "https://x.org/a|b>c<d?e=1&f=2", "pdf": "javascript:alert(1)"})
    section = payload(papers=(replace(item, paper=paper),))["blocks"][1]["text"]["text"]
    assert section.startswith("*<https://x.org/a%7Cb%3Ec%3Cd?e=1&amp;f=2|Scaling")
    assert "javascript" not in section


def test_a_bot_message_carries_its_delivery_and_a_webhook_message_does_not() -> None:
    message = payload()
    assert message["metadata"] == {"event_type": "paperwire_delivery", "event_payload": {"delivery": 12}}
    assert message["client_msg_id"] == payload()["client_msg_id"]
    assert (message["unfurl_links"], message["unfurl_media"], message["channel"]) == (False, False, "#papers")
    hook = SlackTarget(webhook_url=SecretStr("https://hooks.slack.com/services/T/B/x"))
    assert set(json.loads(plugin.render(digest(), ENVELOPE, hook))) == {
        "text",
        "blocks",
        "unfurl_links",
        "unfurl_media",
    }


# ── targets ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("text", "label"), [("#papers", "#papers"), ("papers", "#papers"), ("C0123", "C0123")])
def test_a_channel_is_a_name_or_an_id(text: str, label: str) -> None:
    assert plugin.label(plugin.parse_target(text)) == label


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.slack.com/services/T/B/x",
        "https://hooks.slack.com.evil.example/services/T/B/x",
        "https://hooks.slack.com@evil.example/services/T/B/x",
        "https://hooks.slack.com:8443/services/T/B/x",
        "https://hooks.slack.com/workflows/x",
        "https://127.0.0.1/services/x",
        "ftp://hooks.slack.com/services/T/B/x",
        "https://hooks.slack.com:x/services/T/B/x",
        "https://hooks.slack.com/services/ x",
    ],
)
def test_only_webhook_addresses_of_slack_are_accepted(url: str) -> None:
    with pytest.raises(TargetError) as caught:
        plugin.parse_target(url)
    assert "T/B/x" not in str(caught.value)


def test_the_operator_may_allow_another_host_and_withdraw_that(configure: Configure, commit: Commit) -> None:
    configure(allow_webhook_hosts="127.0.0.1:9")
    target = plugin.parse_target("http://127.0.0.1:9/services/x")
    configure(allow_webhook_hosts="")
    result = plugin.send(BODY, target, commit)
    assert isinstance(result, Rejected)
    assert result.scope == "channel"
    assert commit.calls == 0


@pytest.mark.parametrize(
    "values", [{}, {"channel": "#a", "webhook_url": "https://hooks.slack.com/services/x"}, {"channel": "A B"}]
)
def test_a_target_is_one_channel_or_one_webhook(values: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SlackTarget.model_validate(values)


def test_equal_names_in_two_workspaces_are_two_channels() -> None:
    first, second = (SlackTarget(channel="#papers", token=SecretStr(token)) for token in ("xoxb-1", "xoxb-2"))
    assert plugin.label(first) != plugin.label(second)
    assert plugin.transport(first) != plugin.transport(second)
    assert "xoxb" not in plugin.label(first) + plugin.transport(first)


# ── sending with a bot token ──────────────────────────────────────────────────────────────────────────────────


def send(configure: Configure, http: HttpSink, commit: Commit) -> Outcome:
    configure(slack_bot_token="xoxb-geheim", slack_api_url=f"{http.url}/api/")
    return plugin.send(BODY, PAPERS, commit)


def test_a_message_is_posted_once_with_the_token(configure: Configure, http: HttpSink, commit: Commit) -> None:
    http.always(POST, OK)
    assert send(configure, http, commit) == Sent("C012345 1700000000.000100")
    (request,) = http.requests
    assert request.headers["Authorization"] == "Bearer xoxb-geheim"
    assert json.loads(request.body) == json.loads(BODY)
    assert commit.calls == 1


@pytest.mark.parametrize(
    ("answer", "outcome", "scope"),
    [
        (error("invalid_auth"), TransportDown, None),
        (error("not_authed"), TransportDown, None),
        (error("account_inactive"), TransportDown, None),
        (error("token_revoked"), TransportDown, None),
        (error("token_expired"), TransportDown, None),
        (error("missing_scope"), TransportDown, None),
        (error("channel_not_found"), Rejected, "channel"),
        (error("not_in_channel"), Rejected, "channel"),
        (error("is_archived"), Rejected, "channel"),
        (error("restricted_action"), Rejected, "channel"),
        (error("as_yet_unknown"), Rejected, "delivery"),
        (error("ratelimited"), Retry, None),
        (error("internal_error"), MaybeDelivered, None),
        (error("fatal_error"), MaybeDelivered, None),
        (Answer(status=500, body="<html>"), MaybeDelivered, None),
        (Answer(status=503, body='{"ok": false, "error": "channel_not_found"}'), MaybeDelivered, None),
        (Answer(body="<html>captive portal</html>"), MaybeDelivered, None),
        (Answer(body="[1]"), MaybeDelivered, None),
        (Answer(status=404, body="<html>"), Rejected, "delivery"),
        (Answer(close=True), MaybeDelivered, None),
    ],
)
def test_the_outcome_follows_from_the_answer(
    configure: Configure, http: HttpSink, commit: Commit, answer: Answer, outcome: type, scope: str | None
) -> None:
    http.always(POST, answer)
    result = send(configure, http, commit)
    assert type(result) is outcome
    assert getattr(result, "scope", None) == scope
    assert len(http.to(POST)) == 1


@pytest.mark.parametrize("word", ["no_permission", "access_denied", "missing_scope"])
def test_a_refusal_concerns_the_conversation_when_slack_accepts_the_token(
    configure: Configure, http: HttpSink, commit: Commit, word: str
) -> None:
    http.always(POST, error(word))
    http.always("/api/auth.test", Answer(body='{"ok": true}'))
    assert send(configure, http, commit) == Rejected(f"Slack answers {word}", scope="channel")
    http.always("/api/auth.test", error("token_revoked"))
    assert isinstance(send(configure, http, commit), TransportDown)


@pytest.mark.parametrize(("header", "wait"), [("7", 7.0), ("3600", 3600.0), ("soon", 30.0), (None, 30.0), ("-5", 30.0)])
def test_a_rate_limit_names_the_time_of_the_retry(
    configure: Configure, http: HttpSink, commit: Commit, header: str | None, wait: float
) -> None:
    http.always(POST, Answer(status=429, body="{}", headers={"Retry-After": header} if header else {}))
    assert send(configure, http, commit) == Retry("Slack's rate limit", after=wait)


@pytest.mark.parametrize("word", ["invalid_blocks", "msg_too_long", "msg_blocks_too_long", "no_text"])
def test_rejected_blocks_are_sent_once_as_plain_text(
    configure: Configure, http: HttpSink, commit: Commit, word: str
) -> None:
    http.script(POST, error(word), OK)
    assert isinstance(send(configure, http, commit), Sent)
    first, second = (json.loads(request.body) for request in http.requests)
    assert "blocks" in first
    assert "blocks" not in second
    assert second["metadata"] == first["metadata"]
    assert commit.calls == 1
    http.always(POST, error(word))
    assert send(configure, http, commit) == Rejected(f"Slack: {word}")
    assert len(http.requests) == 4


def test_a_slow_answer_may_mean_delivered(configure: Configure, http: HttpSink, commit: Commit) -> None:
    configure(time_scale="0.001")
    http.always(POST, replace(OK, delay=30))
    assert send(configure, http, commit) == MaybeDelivered("no answer from Slack: timed out")


@pytest.mark.parametrize("place", ["refused", "unknown"])
def test_the_transport_is_down_when_slack_cannot_be_reached(configure: Configure, commit: Commit, place: str) -> None:
    with refused_port() as port:
        url = f"http://127.0.0.1:{port}/api/" if place == "refused" else "http://nowhere.invalid/api/"
        configure(slack_bot_token="xoxb-geheim", slack_api_url=url)
        assert isinstance(plugin.send(BODY, PAPERS, commit), TransportDown)
        assert isinstance(plugin.probe(PAPERS), TransportDown)


def test_the_token_does_not_follow_a_redirect(configure: Configure, http: HttpSink, commit: Commit) -> None:
    http.always(POST, Answer(status=302, body="", headers={"Location": f"{http.url}/elsewhere"}))
    assert isinstance(send(configure, http, commit), Retry)
    assert http.to("/elsewhere") == []


def test_a_proxy_in_the_environment_is_not_used(
    configure: Configure, http: HttpSink, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.always(POST, OK)
    with refused_port() as port:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        assert isinstance(send(configure, http, commit), Sent)


def test_a_lost_lease_stops_the_post(configure: Configure, http: HttpSink) -> None:
    with pytest.raises(LeaseLost):
        send(configure, http, Commit(LeaseLost("taken")))
    assert http.requests == []


def test_the_transport_is_down_without_a_token(commit: Commit) -> None:
    assert isinstance(plugin.send(BODY, PAPERS, commit), TransportDown)
    assert isinstance(plugin.probe(PAPERS), TransportDown)
    assert commit.calls == 0


def test_the_transport_works_again_when_slack_accepts_the_token(configure: Configure, http: HttpSink) -> None:
    configure(slack_bot_token="xoxb-geheim", slack_api_url=f"{http.url}/api/")
    http.always("/api/auth.test", error("token_revoked"))
    assert isinstance(plugin.probe(PAPERS), TransportDown)
    http.always("/api/auth.test", Answer(status=500, body="{}"))
    assert isinstance(plugin.probe(PAPERS), TransportDown)
    http.always("/api/auth.test", Answer(body='{"ok": true}'))
    assert plugin.probe(PAPERS) is None
    assert http.to(POST) == []


# ── sending through a webhook ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "outcome", "scope", "posts"),
    [
        (Answer(), Sent, None, 1),
        (Answer(body="<html>captive portal</html>"), MaybeDelivered, None, 1),
        (Answer(status=403, body="action_prohibited"), Rejected, "channel", 1),
        (Answer(status=404, body="no_service"), Rejected, "channel", 1),
        (Answer(status=410, body="channel_is_archived"), Rejected, "channel", 1),
        (Answer(status=400, body="no_service"), Rejected, "channel", 1),
        (Answer(status=400, body="invalid_payload"), Rejected, "delivery", 2),
        (Answer(status=400, body="something odd"), Rejected, "delivery", 1),
        (Answer(status=429, body="rate_limited", headers={"Retry-After": "9"}), Retry, None, 1),
        (Answer(status=500, body="rollup_error"), MaybeDelivered, None, 1),
        (Answer(close=True), MaybeDelivered, None, 1),
    ],
)
def test_the_outcome_follows_from_a_webhooks_answer(
    configure: Configure, http: HttpSink, commit: Commit, answer: Answer, outcome: type, scope: str | None, posts: int
) -> None:
    configure(allow_webhook_hosts=f"127.0.0.1:{http.port}")
    http.always(HOOK, answer)
    target = plugin.parse_target(http.url + HOOK)
    result = plugin.send(plugin.render(digest(2), ENVELOPE, target), target, commit)
    assert type(result) is outcome
    assert getattr(result, "scope", None) == scope
    assert len(http.to(HOOK)) == posts
    assert commit.calls == 1
    assert plugin.label(target) == "webhook …1234"
    assert plugin.probe(target) is None


# ── shown on a page of ours ───────────────────────────────────────────────────────────────────────────────────


def test_the_preview_has_links_and_bold_words() -> None:
    page = plugin.preview(BODY)
    assert '<h1 class="header">2 papers for you, Tuesday 27 May</h1>' in page
    assert (
        '<b><a href="https://arxiv.org/abs/2505.15270">Scaling Diffusion Transformers Efficiently via μP</a></b>'
        in page
    )
    assert "<b>Diffusion models</b>: <code>diffusion*</code> in the title" in page
    assert ">and 12 more</a>" in page


def test_the_preview_escapes_the_text_of_a_message() -> None:
    page = plugin.preview(plugin.render(about("<script>alert(1)</script> & *x* <!channel>"), ENVELOPE, PAPERS))
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; ∗x∗ &lt;!channel&gt;" in page
