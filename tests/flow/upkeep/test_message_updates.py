"""After a Slack message: its thread, its updates, and the reconciliation of an unknown outcome."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from services.domain.delivery import state_machine as domain
from services.flow.commands import channels as channel_commands
from services.flow.pipeline.deliver.gather import gather_due
from services.flow.upkeep import message_updates, restored_copy
from services.store.db.secrets import SecretBox
from services.store.db.tables import channel, delivery, rate_limit, transport
from services.store.delivery import channels
from tests.flow.conftest import Configure
from tests.support.sinks import Answer, HttpSink
from tests.support.world import Pipeline, entry

AGENTS = "One paper about agent planning"
ROBOTS = "Another paper about robot planning"
POST, UPDATE, HISTORY = "/chat.postMessage", "/chat.update", "/conversations.history"
REPLIES = "/conversations.replies"
HOOK = "/services/T0/B0/geheim1234"
ACCEPTED = Answer(body='{"ok": true, "ts": "1700000000.000100", "channel": "C012345"}')
NO_ANSWER = Answer(close=True)


@pytest.fixture
def slack(configure: Configure) -> Iterator[HttpSink]:
    with HttpSink() as sink:
        configure(
            slack_api_url=f"http://127.0.0.1:{sink.port}/",
            slack_bot_token="xoxb-secret",
            allow_hosts=f"127.0.0.1:{sink.port}",
        )
        sink.always(POST, ACCEPTED)
        sink.always(UPDATE, ACCEPTED)
        yield sink


def add(world: Pipeline, target: str = "slack:C012345") -> int:
    return channel_commands.find_or_add(world.db, world.settings, world.account, target, verified=True)


def work_later(world: Pipeline, rounds: int = 3) -> None:
    """Moves time on, so that rate limits have passed, and sends all that is due."""
    for _ in range(rounds):
        world.make_due(rate_limit, available_at=timedelta(hours=1))
        world.make_due(delivery, next_attempt_at=timedelta(hours=1), check_for_changes_at=timedelta(hours=1))
        while message_updates.work(world.db, world.settings):
            pass
        world.deliver()


def bodies(sink: HttpSink, path: str) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in sink.to(path)]


def sent(world: Pipeline, *papers: Any, to: str = "slack:C012345") -> int:
    """Sends papers on a channel, without the follow-ups. Returns the id of the channel."""
    channel_id = add(world, to)
    world.subscribe("Planning", query="planning", to=[channel_id])
    world.run(*(papers or (entry(AGENTS, 1, abstract="Agents plan."), entry(ROBOTS, 2, abstract="Robots do."))))
    return channel_id


def kinds(world: Pipeline) -> list[tuple[str, str]]:
    return [(row["kind"], row["state"]) for row in world.deliveries()]


# ── the thread ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_abstracts_are_posted_in_the_thread_of_the_message(world: Pipeline, slack: HttpSink) -> None:
    sent(world)
    work_later(world)
    message, thread = bodies(slack, POST)
    assert "Agents plan." not in json.dumps(message)
    assert (thread["channel"], thread["thread_ts"]) == ("C012345", "1700000000.000100")
    assert "Agents plan." in json.dumps(thread)
    assert "Robots do." in json.dumps(thread)
    assert kinds(world) == [("message", "sent"), ("thread", "sent")]


def test_a_thread_is_committed_with_the_message_or_not_at_all(world: Pipeline, slack: HttpSink) -> None:
    """A worker is lost after Slack accepted the message. One thread follows once reconciliation finds the message."""
    channel_id = add(world)
    world.subscribe("Planning", query="planning", to=[channel_id])
    world.announce(entry(AGENTS, 1, abstract="Agents plan."))
    world.embed_and_match()
    world.notify()
    gather_due(world.db, world.settings)
    claimed = world.claim()
    body = world.render(claimed)
    world.commit(claimed)
    world.expire_leases()
    assert restored_copy.expire(world.db, world.settings)
    assert kinds(world) == [("message", "uncertain")]
    metadata = json.loads(body)["metadata"]
    slack.always(HISTORY, Answer(body=json.dumps({"ok": True, "messages": [{"ts": "17.1", "metadata": metadata}]})))
    work_later(world)
    assert kinds(world) == [("message", "sent"), ("thread", "sent")]
    assert [message.get("thread_ts") for message in bodies(slack, POST)] == ["17.1"], (
        "the message itself is not posted again"
    )


def test_a_rejected_thread_does_not_affect_the_message(world: Pipeline, slack: HttpSink) -> None:
    channel_id = add(world)
    refusal = '{"ok": false, "error": "restricted_action_non_threadable_channel"}'
    slack.script(POST, ACCEPTED, Answer(body=refusal))
    world.subscribe("Planning", query="planning", to=[channel_id])
    world.run(entry(AGENTS, 1, abstract="Agents plan."))
    work_later(world)
    assert kinds(world) == [("message", "sent"), ("thread", "dead")]
    assert world.rows(select(channel).where(channel.c.id == channel_id))[0]["disabled_because"] == ""


def test_papers_without_abstracts_have_no_thread(world: Pipeline, slack: HttpSink) -> None:
    sent(world, entry(AGENTS, 1))
    work_later(world)
    assert len(slack.to(POST)) == 1
    assert kinds(world) == [("message", "sent"), ("thread", "cancelled")]


def test_a_webhook_message_has_abstracts_and_no_thread_or_update(world: Pipeline, slack: HttpSink) -> None:
    slack.always(HOOK, Answer())
    sent(world, entry(AGENTS, 1, abstract="Agents plan."), to=f"slack-webhook:{slack.url}{HOOK}")
    world.announce(entry(AGENTS, 1, upvotes=100))
    work_later(world)
    (message,) = bodies(slack, HOOK)
    assert "Agents plan." in json.dumps(message)
    assert kinds(world) == [("message", "sent")]


# ── updates ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_changes_of_several_papers_are_sent_as_one_update(world: Pipeline, slack: HttpSink) -> None:
    sent(world)
    work_later(world)
    world.announce(entry(AGENTS, 1, upvotes=30))
    world.announce(entry(ROBOTS, 2, links={"code": "https://example.org/code"}))
    assert not message_updates.work(world.db, world.settings), "further changes may come"
    work_later(world)
    (update,) = bodies(slack, UPDATE)
    assert (update["channel"], update["ts"]) == ("C012345", "1700000000.000100")
    assert "▲ 30" in json.dumps(update, ensure_ascii=False)
    assert "https://example.org/code" in json.dumps(update)
    assert len(slack.to(POST)) == 2, "the message and its thread"
    world.announce(entry(AGENTS, 1, upvotes=31))
    work_later(world)
    assert len(slack.to(UPDATE)) == 1, "one more upvote needs no update"
    world.announce(entry(AGENTS, 1, upvotes=60))
    work_later(world)
    assert len(slack.to(UPDATE)) == 2


def test_a_change_between_rendering_and_sending_is_sent_as_an_update(world: Pipeline, slack: HttpSink) -> None:
    channel_id = add(world)
    world.subscribe("Planning", query="planning", to=[channel_id])
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    world.notify()
    gather_due(world.db, world.settings)
    claimed = world.claim()
    world.render(claimed)
    world.announce(entry(AGENTS, 1, upvotes=30))
    claimed = world.commit(claimed)
    world.record(claimed, domain.Sent("C012345 1.2"))
    work_later(world)
    assert len(slack.to(UPDATE)) == 1


def test_an_update_with_an_unknown_outcome_is_repeated(world: Pipeline, slack: HttpSink) -> None:
    sent(world, entry(AGENTS, 1))
    work_later(world)
    slack.script(UPDATE, NO_ANSWER, NO_ANSWER, NO_ANSWER)
    world.announce(entry(AGENTS, 1, upvotes=30))
    work_later(world, 6)
    assert kinds(world)[-1] == ("update", "sent")
    assert len(slack.to(UPDATE)) == 4
    assert len({request.body for request in slack.to(UPDATE)}) == 1


def test_an_old_message_is_not_updated(world: Pipeline, slack: HttpSink) -> None:
    sent(world, entry(AGENTS, 1))
    work_later(world)
    world.make_due(delivery, sent_at=timedelta(days=8))
    world.announce(entry(AGENTS, 1, upvotes=30))
    work_later(world)
    assert slack.to(UPDATE) == []


def test_an_update_of_a_deleted_message_does_not_affect_the_channel(world: Pipeline, slack: HttpSink) -> None:
    channel_id = sent(world, entry(AGENTS, 1))
    work_later(world)
    slack.always(UPDATE, Answer(body='{"ok": false, "error": "message_not_found"}'))
    world.announce(entry(AGENTS, 1, upvotes=30))
    work_later(world)
    assert kinds(world)[-1] == ("update", "dead")
    assert world.rows(select(channel).where(channel.c.id == channel_id))[0]["disabled_because"] == ""


# ── unknown outcomes ──────────────────────────────────────────────────────────────────────────────────────────


def send_with_unknown_outcome(world: Pipeline, slack: HttpSink, to: str = "slack:C012345", **switch: bool) -> None:
    channel_id = add(world, to)
    if switch:
        channel_commands.set_at_most_once(world.db, channel_id, switch["at_most_once"])
    world.subscribe("Planning", query="planning", to=[channel_id])
    world.run(entry(AGENTS, 1))
    assert kinds(world) == [("message", "uncertain")]


@pytest.mark.parametrize("at_most_once", [False, True])
@pytest.mark.parametrize("answer", ["internal_error", "fatal_error", "service_unavailable"])
def test_a_message_that_arrived_is_not_posted_again(
    world: Pipeline, slack: HttpSink, answer: str, at_most_once: bool
) -> None:
    slack.script(POST, Answer(body=json.dumps({"ok": False, "error": answer})))
    send_with_unknown_outcome(world, slack, at_most_once=at_most_once)
    metadata = bodies(slack, POST)[0]["metadata"]
    others = [{"ts": "16.9"}, {"ts": "17.0", "metadata": {**metadata, "event_payload": {"delivery": 99}}}]
    history = {"ok": True, "messages": [*others, {"ts": "17.1", "metadata": metadata}]}
    slack.always(HISTORY, Answer(body=json.dumps(history)))
    work_later(world)
    assert world.deliveries()[0]["receipt"] == "C012345 17.1"
    assert len([message for message in bodies(slack, POST) if "thread_ts" not in message]) == 1
    request = slack.to(HISTORY)[0].body.decode()
    assert "include_all_metadata=1" in request.lower().replace("true", "1")


@pytest.mark.parametrize("at_most_once", [False, True])
def test_a_message_that_did_not_arrive_is_posted_again(world: Pipeline, slack: HttpSink, at_most_once: bool) -> None:
    slack.script(POST, Answer(status=500, body="{}"))
    send_with_unknown_outcome(world, slack, at_most_once=at_most_once)
    slack.always(HISTORY, Answer(body='{"ok": true, "messages": []}'))
    work_later(world)
    first, second = (message for message in bodies(slack, POST) if "thread_ts" not in message)
    assert first == second
    assert kinds(world)[0] == ("message", "sent")


@pytest.mark.parametrize(
    "answer", [Answer(body='{"ok": false, "error": "missing_scope"}'), Answer(status=500, body="{}"), NO_ANSWER]
)
@pytest.mark.parametrize(("at_most_once", "posts", "state"), [(False, 2, "sent"), (True, 1, "uncertain")])
def test_if_the_history_cannot_be_read_a_message_is_posted_again_unless_at_most_once_is_set(
    world: Pipeline, slack: HttpSink, answer: Answer, at_most_once: bool, posts: int, state: str
) -> None:
    slack.script(POST, NO_ANSWER)
    send_with_unknown_outcome(world, slack, at_most_once=at_most_once)
    slack.always(HISTORY, answer)
    work_later(world, 5)
    assert len([message for message in bodies(slack, POST) if "thread_ts" not in message]) == posts
    assert kinds(world)[0] == ("message", state)
    assert world.deliveries()[0]["next_attempt_at"] is None


@pytest.mark.parametrize(("at_most_once", "posts"), [(False, 2), (True, 1)])
def test_a_webhook_that_never_answers_gets_two_copies_or_one_if_at_most_once_is_set(
    world: Pipeline, slack: HttpSink, at_most_once: bool, posts: int
) -> None:
    slack.always(HOOK, NO_ANSWER)
    send_with_unknown_outcome(world, slack, f"slack-webhook:{slack.url}{HOOK}", at_most_once=at_most_once)
    work_later(world, 5)
    assert len(slack.to(HOOK)) == posts
    assert kinds(world) == [("message", "uncertain")]


def test_at_most_once_applies_to_uncertain_deliveries_at_once(world: Pipeline, slack: HttpSink) -> None:
    slack.always(HOOK, NO_ANSWER)
    send_with_unknown_outcome(world, slack, f"slack-webhook:{slack.url}{HOOK}")
    channel_commands.set_at_most_once(world.db, world.deliveries()[0]["channel_id"], True)
    work_later(world)
    assert len(slack.to(HOOK)) == 1


def test_a_rate_limit_of_the_history_is_waited_for(world: Pipeline, slack: HttpSink) -> None:
    slack.script(POST, NO_ANSWER)
    send_with_unknown_outcome(world, slack)
    slack.script(HISTORY, Answer(status=429, headers={"Retry-After": "60"}, body='{"ok": false}'))
    slack.always(HISTORY, Answer(body='{"ok": true, "messages": []}'))
    work_later(world, 1)
    assert len(slack.to(POST)) == 1
    work_later(world)
    assert kinds(world)[0] == ("message", "sent")


def test_the_history_is_read_by_the_channel_id_of_an_earlier_receipt(world: Pipeline, slack: HttpSink) -> None:
    sent(world, entry(AGENTS, 1), to="slack:#papers")
    work_later(world)
    world.make_due(rate_limit, available_at=timedelta(hours=1))
    slack.script(POST, NO_ANSWER)
    world.run(entry(ROBOTS, 2))
    slack.always(HISTORY, Answer(body='{"ok": true, "messages": []}'))
    work_later(world)
    assert b"channel=C012345" in slack.to(HISTORY)[0].body


# ── tokens and channels ───────────────────────────────────────────────────────────────────────────────────────


def test_a_revoked_token_stops_its_channels_without_attempts_and_the_operator_gets_one_notice(
    world: Pipeline, slack: HttpSink
) -> None:
    with world.db.transaction() as tx:
        tx.exec_driver_sql("UPDATE account SET operator = true")
    refusal = Answer(body='{"ok": false, "error": "token_revoked"}')
    slack.always(POST, refusal)
    slack.always("/auth.test", refusal)
    channel_ids = [add(world, "slack:#one"), add(world, "slack:#two")]
    world.subscribe("Planning", query="planning", to=channel_ids)
    world.run(entry(AGENTS, 1))
    secrets = SecretBox(world.settings.secret_key.get_secret_value())
    for _ in range(3):
        world.make_due(transport, check_at=timedelta(hours=1))
        restored_copy.probe_transport(world.db, world.settings, secrets)
        work_later(world)
    assert len(slack.to(POST)) == 1, "no message is sent to the second channel with the revoked token"
    messages = [row for row in world.deliveries() if row["kind"] == "message"]
    assert [(row["state"], row["attempt"]) for row in messages] == [("pending", 0), ("pending", 0)]
    (mail,) = world.mails()
    assert "token_revoked" in mail
    with world.db.transaction() as tx:
        reasons = [channel.down_because for channel in channels.all_of(tx) if channel.kind == "slack"]
    assert all("token_revoked" in reason for reason in reasons)
    assert world.rows(select(transport))[0]["check_at"] <= world.now() + timedelta(minutes=15)
    slack.always(POST, ACCEPTED)
    slack.always("/auth.test", Answer(body='{"ok": true}'))
    world.make_due(transport, check_at=timedelta(hours=1))
    restored_copy.probe_transport(world.db, world.settings, secrets)
    work_later(world)
    assert {row["state"] for row in world.deliveries() if row["kind"] == "message"} == {"sent"}


def test_items_of_a_disabled_channel_wait_a_week_and_are_dropped_with_the_reason(
    world: Pipeline, slack: HttpSink
) -> None:
    slack.always(POST, Answer(body='{"ok": false, "error": "is_archived"}'))
    channel_id = add(world)
    world.subscribe("Planning", query="planning", to=[channel_id])
    world.run(entry(AGENTS, 1))
    world.run(entry(ROBOTS, 2))
    assert any("is_archived" in mail for mail in world.mails()), "the owner gets a notice"
    world.make_due(channel, disabled_at=timedelta(days=6, hours=23))
    assert not message_updates.give_up(world.db, world.settings)
    world.make_due(channel, disabled_at=timedelta(hours=1))
    assert message_updates.give_up(world.db, world.settings)
    assert not message_updates.give_up(world.db, world.settings)
    assert all("is_archived" in item["dropped_because"] for item in world.items())
    assert ("message", "cancelled") in kinds(world)


def test_an_outcome_after_the_end_of_the_lease_is_recorded_and_creates_one_thread(
    world: Pipeline, slack: HttpSink
) -> None:
    channel_id = add(world)
    world.subscribe("Planning", query="planning", to=[channel_id])
    world.announce(entry(AGENTS, 1, abstract="Agents plan."))
    world.embed_and_match()
    world.notify()
    gather_due(world.db, world.settings)
    claimed = world.claim()
    world.render(claimed)
    claimed = world.commit(claimed)
    world.expire_leases()
    assert restored_copy.expire(world.db, world.settings)
    world.record(claimed, domain.Sent("C012345 1.2"))
    work_later(world)
    assert [(message["channel"], message.get("thread_ts")) for message in bodies(slack, POST)] == [("C012345", "1.2")]
