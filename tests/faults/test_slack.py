"""Rows 8 and 9: what Slack can do to a message."""

import json
from datetime import timedelta

import pytest

from tests.faults.rig import Rig
from tests.sinks import Answer, Asked

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
