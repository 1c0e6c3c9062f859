"""Rows 8 and 9: failures of Slack."""

import json
from datetime import timedelta

import pytest
from pydantic import SecretStr

from services.flow.channel_targets import stored_target
from services.flow.commands import channels as channel_commands
from services.notifiers.slack.target import SlackTarget
from services.store.db.secrets import SecretBox
from services.store.delivery import channels
from tests.faults.harness import KEY, FaultHarness
from tests.support.service import POST
from tests.support.sinks import Answer, Asked

HOOK = "/services/T0/B0/hook"
pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]


def limit(harness: FaultHarness, channel: str, *retry_after: str) -> None:
    """Answers the next posts to a channel with 429 and these values of Retry-After."""
    left = list(retry_after)

    def judge(request: Asked) -> Answer | None:
        if not left or not request.body or json.loads(request.body).get("channel") != channel:
            return None
        harness.refused.append(request)
        body = '{"ok": false, "error": "ratelimited"}'
        return Answer(status=429, headers={"Retry-After": left.pop(0)}, body=body)

    harness.slack.judge = judge


def test_row_8_a_post_without_an_answer_is_sent_at_most_twice(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha", to=["#papers"])
    harness.slack.script("/chat.postMessage", Answer(close=True), Answer(close=True))
    harness.announce_and_notify("alpha", 2)
    harness.worker()
    harness.scheduler()
    harness.until(lambda: harness.states() == ["uncertain"], "it is uncertain")
    for hours in (1, 2, 30, 60):
        harness.set_clock(timedelta(hours=hours))
        harness.until(lambda: len(harness.messages()) == 2, "it is posted again")
        harness.until(lambda: harness.audit().uncertain_spent == 1, "no further attempt is due")
    harness.announce_and_notify("alpha")
    assert len(harness.settle(resent=1)) == 3


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["bot", "webhook"])
def test_row_8_an_at_most_once_channel_gets_one_post_and_is_reported_as_uncertain(
    harness: FaultHarness, kind: str
) -> None:
    ada = harness.subscribe("ada", "alpha", to=["#papers"])
    channel = ada.channels["#papers"]
    if kind == "webhook":
        with harness.db.transaction() as tx:
            target = SlackTarget(webhook_url=SecretStr(harness.slack.url + HOOK))
            channels.change_target(tx, channel, stored_target("slack", target, SecretBox([KEY])))
    channel_commands.set_at_most_once(harness.db, channel, True)
    posts = POST if kind == "bot" else HOOK
    harness.slack.always(posts, Answer(close=True))
    harness.slack.always("/conversations.history", Answer(body='{"ok": false, "error": "missing_scope"}'))
    harness.announce_and_notify("alpha", 2)
    harness.worker()
    harness.scheduler()
    harness.until(lambda: harness.states() == ["uncertain"], "it is uncertain")
    for hours in (1, 2, 30, 60):
        harness.set_clock(timedelta(hours=hours))
        harness.until(lambda: harness.audit().uncertain_spent == 1, "no further attempt is due")
        harness.wait_until_idle()
    assert len(harness.slack.to(posts)) == 1
    assert harness.audit().clean
    assert "may not have arrived" in harness.web().sign_in(ada.account).get("/deliveries").text


@pytest.mark.faults
@pytest.mark.parametrize(("retry_after", "seconds"), [("7", 7), ("3600", 3600), ("garbage", 30)])
def test_row_9_a_rate_limit_delays_its_own_channel_only(harness: FaultHarness, retry_after: str, seconds: int) -> None:
    harness.subscribe("ada", "alpha", to=["#limited"])
    harness.subscribe("eve", "beta", to=["#free", "email"])
    limit(harness, "#limited", retry_after)
    harness.worker()
    harness.scheduler()
    harness.announce_and_notify("alpha")
    harness.until(lambda: len(harness.refused) == 1, "the limit is reached")
    harness.until(lambda: harness.states() == ["pending"], "the delivery waits")
    ((wait,),) = harness.query("SELECT extract(epoch FROM next_attempt_at - now()) FROM delivery")
    assert seconds - 3 <= wait <= seconds + 1
    harness.set_clock(timedelta(seconds=float(wait) - 4))
    harness.announce_and_notify("beta")
    harness.until(lambda: len(harness.messages()) == 2, "the other channels have their messages")
    assert len(harness.refused) == 1
    harness.set_clock(timedelta(seconds=seconds + 1))
    harness.settle()
    assert len(harness.refused) == 1
