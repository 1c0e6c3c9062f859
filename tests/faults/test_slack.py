"""Rows 8 and 9: what Slack can do to a message."""

import json
from datetime import timedelta

import pytest
from pydantic import SecretStr

from services.flow.channel_targets import stored_target
from services.flow.commands import channels as channel_commands
from services.notifiers.slack.target import SlackTarget
from services.store.db.secrets import SecretBox
from services.store.delivery import channels
from tests.faults.rig import KEY, Rig
from tests.service import POST
from tests.sinks import Answer, Asked

HOOK = "/services/T0/B0/hook"
pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]


def limit(rig: Rig, channel: str, *named: str) -> None:
    """The next posts to a channel are refused with these Retry-After."""
    left = list(named)

    def judge(asked: Asked) -> Answer | None:
        if not left or not asked.body or json.loads(asked.body).get("channel") != channel:
            return None
        rig.refused.append(asked)
        said = '{"ok": false, "error": "ratelimited"}'
        return Answer(status=429, headers={"Retry-After": left.pop(0)}, body=said)

    rig.slack.judge = judge


def test_row_8_a_post_without_an_answer_is_made_twice_at_most(rig: Rig) -> None:
    rig.reader("ada", "alpha", to=["#papers"])
    rig.slack.script("/chat.postMessage", Answer(close=True), Answer(close=True))
    rig.tell("alpha", 2)
    rig.worker()
    rig.scheduler()
    rig.until(lambda: rig.states() == ["uncertain"], "it is in doubt")
    for hours in (1, 2, 30, 60):
        rig.set_clock(timedelta(hours=hours))
        rig.until(lambda: len(rig.messages()) == 2, "it is posted once more")
        rig.until(lambda: rig.audit().uncertain_spent == 1, "and that is all")
    rig.tell("alpha")
    assert len(rig.settle(doubtful=1)) == 3


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["bot", "webhook"])
def test_row_8_a_channel_that_wants_nothing_twice_gets_one_post_and_says_that_it_may_not_have_come(
    rig: Rig, kind: str
) -> None:
    ada = rig.reader("ada", "alpha", to=["#papers"])
    channel = ada.channels["#papers"]
    if kind == "webhook":
        with rig.db.transaction() as tx:
            target = SlackTarget(webhook_url=SecretStr(rig.slack.url + HOOK))
            channels.change_target(tx, channel, stored_target("slack", target, SecretBox(KEY)))
    channel_commands.set_at_most_once(rig.db, channel, True)
    posts = POST if kind == "bot" else HOOK
    rig.slack.always(posts, Answer(close=True))
    rig.slack.always("/conversations.history", Answer(body='{"ok": false, "error": "missing_scope"}'))
    rig.tell("alpha", 2)
    rig.worker()
    rig.scheduler()
    rig.until(lambda: rig.states() == ["uncertain"], "it is in doubt")
    for hours in (1, 2, 30, 60):
        rig.set_clock(timedelta(hours=hours))
        rig.until(lambda: rig.audit().uncertain_spent == 1, "nothing more is tried")
        rig.idle()
    assert len(rig.slack.to(posts)) == 1
    assert rig.audit().clean
    assert "may not have arrived" in rig.web().sign_in(ada.account).get("/deliveries").words


@pytest.mark.faults
@pytest.mark.parametrize(("named", "seconds"), [("7", 7), ("3600", 3600), ("garbage", 30)])
def test_row_9_a_rate_limit_is_waited_out_and_others_go_on(rig: Rig, named: str, seconds: int) -> None:
    rig.reader("ada", "alpha", to=["#limited"])
    rig.reader("eve", "beta", to=["#free", "email"])
    limit(rig, "#limited", named)
    rig.worker()
    rig.scheduler()
    rig.tell("alpha")
    rig.until(lambda: len(rig.refused) == 1, "the limit is met")
    rig.until(lambda: rig.states() == ["pending"], "it waits")
    ((wait,),) = rig.query("SELECT extract(epoch FROM next_attempt_at - now()) FROM delivery")
    assert seconds - 3 <= wait <= seconds + 1
    rig.set_clock(timedelta(seconds=float(wait) - 4))
    rig.tell("beta")
    rig.until(lambda: len(rig.messages()) == 2, "the others have theirs")
    assert len(rig.refused) == 1
    rig.set_clock(timedelta(seconds=seconds + 1))
    rig.settle()
    assert len(rig.refused) == 1
