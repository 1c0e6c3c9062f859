"""After a Slack message: its thread, its updates, and what is done when its arrival is in doubt."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from services.domain.delivery import state_machine as domain
from services.flow.commands import channels as channel_commands
from services.flow.pipeline.deliver.gather import gather_due
from services.flow.upkeep import message_updates, recovery
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
YES = Answer(body='{"ok": true, "ts": "1700000000.000100", "channel": "C012345"}')
SILENCE = Answer(close=True)


@pytest.fixture
def slack(configure: Configure) -> Iterator[HttpSink]:
    with HttpSink() as sink:
        configure(
            slack_api_url=f"http://127.0.0.1:{sink.port}/",
            slack_bot_token="xoxb-secret",
            allow_webhook_hosts=f"127.0.0.1:{sink.port}",
        )
        sink.always(POST, YES)
        sink.always(UPDATE, YES)
        yield sink


def add(world: Pipeline, word: str = "slack:C012345") -> int:
    return channel_commands.find_or_add(world.db, world.settings, world.account, word, verified=True)


def go_on(world: Pipeline, rounds: int = 3) -> None:
    """Time passes: gates open, and whatever waits goes."""
    for _ in range(rounds):
        world.make_due(rate_limit, available_at=timedelta(hours=1))
        world.make_due(delivery, next_attempt_at=timedelta(hours=1), check_for_changes_at=timedelta(hours=1))
        while message_updates.work(world.db, world.settings):
            pass
        world.deliver()


def bodies(sink: HttpSink, path: str) -> list[dict[str, Any]]:
    return [json.loads(asked.body) for asked in sink.to(path)]


def channel_with_papers(world: Pipeline, *papers: Any, to: str = "slack:C012345") -> int:
    """A channel that has been told these papers, but for what follows."""
    where = add(world, to)
    world.subscribe("Planning", query="planning", to=[where])
    world.run(*(papers or (entry(AGENTS, 1, abstract="Agents plan."), entry(ROBOTS, 2, abstract="Robots do."))))
    return where


def kinds(world: Pipeline) -> list[tuple[str, str]]:
    return [(row["kind"], row["state"]) for row in world.deliveries()]


# ── the thread ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_abstracts_come_in_the_messages_thread(world: Pipeline, slack: HttpSink) -> None:
    channel_with_papers(world)
    go_on(world)
    message, thread = bodies(slack, POST)
    assert "Agents plan." not in json.dumps(message)
    assert (thread["channel"], thread["thread_ts"]) == ("C012345", "1700000000.000100")
    assert "Agents plan." in json.dumps(thread)
    assert "Robots do." in json.dumps(thread)
    assert kinds(world) == [("message", "sent"), ("thread", "sent")]


def test_a_thread_is_committed_with_the_message_or_not_at_all(world: Pipeline, slack: HttpSink) -> None:
    """A worker lost after Slack's yes leaves a doubt; only when that is cleared up is there a thread, and one."""
    where = add(world)
    world.subscribe("Planning", query="planning", to=[where])
    world.announce(entry(AGENTS, 1, abstract="Agents plan."))
    world.embed_and_match()
    world.notify()
    gather_due(world.db, world.settings)
    claimed = world.claim()
    body = world.render(claimed)
    world.commit(claimed)
    world.expire_leases()
    assert recovery.end_expired_lease(world.db, world.settings)
    assert kinds(world) == [("message", "uncertain")]
    metadata = json.loads(body)["metadata"]
    slack.always(HISTORY, Answer(body=json.dumps({"ok": True, "messages": [{"ts": "17.1", "metadata": metadata}]})))
    go_on(world)
    assert kinds(world) == [("message", "sent"), ("thread", "sent")]
    assert [one.get("thread_ts") for one in bodies(slack, POST)] == ["17.1"], "the message itself is not posted again"


def test_a_thread_that_slack_refuses_ends_alone(world: Pipeline, slack: HttpSink) -> None:
    where = add(world)
    refusal = '{"ok": false, "error": "restricted_action_non_threadable_channel"}'
    slack.script(POST, YES, Answer(body=refusal))
    world.subscribe("Planning", query="planning", to=[where])
    world.run(entry(AGENTS, 1, abstract="Agents plan."))
    go_on(world)
    assert kinds(world) == [("message", "sent"), ("thread", "dead")]
    assert world.rows(select(channel).where(channel.c.id == where))[0]["disabled_because"] == ""


def test_papers_without_abstracts_have_no_thread(world: Pipeline, slack: HttpSink) -> None:
    channel_with_papers(world, entry(AGENTS, 1))
    go_on(world)
    assert len(slack.to(POST)) == 1
    assert kinds(world) == [("message", "sent"), ("thread", "cancelled")]


def test_a_webhook_has_no_thread_and_no_update_but_the_abstracts_beginnings(world: Pipeline, slack: HttpSink) -> None:
    slack.always(HOOK, Answer())
    channel_with_papers(world, entry(AGENTS, 1, abstract="Agents plan."), to=f"slack-webhook:{slack.url}{HOOK}")
    world.announce(entry(AGENTS, 1, upvotes=100))
    go_on(world)
    (message,) = bodies(slack, HOOK)
    assert "Agents plan." in json.dumps(message)
    assert kinds(world) == [("message", "sent")]


# ── updates ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_changes_updates_the_message_in_place_gathered_and_once(world: Pipeline, slack: HttpSink) -> None:
    channel_with_papers(world)
    go_on(world)
    world.announce(entry(AGENTS, 1, upvotes=30))
    world.announce(entry(ROBOTS, 2, links={"code": "https://example.org/code"}))
    assert not message_updates.work(world.db, world.settings), "more may come"
    go_on(world)
    (update,) = bodies(slack, UPDATE)
    assert (update["channel"], update["ts"]) == ("C012345", "1700000000.000100")
    assert "▲ 30" in json.dumps(update, ensure_ascii=False)
    assert "https://example.org/code" in json.dumps(update)
    assert len(slack.to(POST)) == 2, "the message and its thread"
    world.announce(entry(AGENTS, 1, upvotes=31))
    go_on(world)
    assert len(slack.to(UPDATE)) == 1, "a vote more is no news"
    world.announce(entry(AGENTS, 1, upvotes=60))
    go_on(world)
    assert len(slack.to(UPDATE)) == 2


def test_what_changes_between_rendering_and_sending_is_not_missed(world: Pipeline, slack: HttpSink) -> None:
    where = add(world)
    world.subscribe("Planning", query="planning", to=[where])
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    world.notify()
    gather_due(world.db, world.settings)
    claimed = world.claim()
    world.render(claimed)
    world.announce(entry(AGENTS, 1, upvotes=30))
    claimed = world.commit(claimed)
    world.record(claimed, domain.Sent("C012345 1.2"))
    go_on(world)
    assert len(slack.to(UPDATE)) == 1


def test_a_doubtful_update_is_made_again_since_it_changes_nothing(world: Pipeline, slack: HttpSink) -> None:
    channel_with_papers(world, entry(AGENTS, 1))
    go_on(world)
    slack.script(UPDATE, SILENCE, SILENCE, SILENCE)
    world.announce(entry(AGENTS, 1, upvotes=30))
    go_on(world, 6)
    assert kinds(world)[-1] == ("update", "sent")
    assert len(slack.to(UPDATE)) == 4
    assert len({one.body for one in slack.to(UPDATE)}) == 1


def test_an_old_message_is_left_alone(world: Pipeline, slack: HttpSink) -> None:
    channel_with_papers(world, entry(AGENTS, 1))
    go_on(world)
    world.make_due(delivery, sent_at=timedelta(days=8))
    world.announce(entry(AGENTS, 1, upvotes=30))
    go_on(world)
    assert slack.to(UPDATE) == []


def test_an_update_of_a_message_that_is_gone_ends_there(world: Pipeline, slack: HttpSink) -> None:
    where = channel_with_papers(world, entry(AGENTS, 1))
    go_on(world)
    slack.always(UPDATE, Answer(body='{"ok": false, "error": "message_not_found"}'))
    world.announce(entry(AGENTS, 1, upvotes=30))
    go_on(world)
    assert kinds(world)[-1] == ("update", "dead")
    assert world.rows(select(channel).where(channel.c.id == where))[0]["disabled_because"] == ""


# ── doubts ────────────────────────────────────────────────────────────────────────────────────────────────────


def doubtful(world: Pipeline, slack: HttpSink, to: str = "slack:C012345", **switch: bool) -> None:
    where = add(world, to)
    if switch:
        channel_commands.set_at_most_once(world.db, where, switch["at_most_once"])
    world.subscribe("Planning", query="planning", to=[where])
    world.run(entry(AGENTS, 1))
    assert kinds(world) == [("message", "uncertain")]


@pytest.mark.parametrize("at_most_once", [False, True])
@pytest.mark.parametrize("answer", ["internal_error", "fatal_error", "service_unavailable"])
def test_a_message_that_is_found_is_not_posted_again(
    world: Pipeline, slack: HttpSink, answer: str, at_most_once: bool
) -> None:
    slack.script(POST, Answer(body=json.dumps({"ok": False, "error": answer})))
    doubtful(world, slack, at_most_once=at_most_once)
    metadata = bodies(slack, POST)[0]["metadata"]
    others = [{"ts": "16.9"}, {"ts": "17.0", "metadata": {**metadata, "event_payload": {"delivery": 99}}}]
    found = {"ok": True, "messages": [*others, {"ts": "17.1", "metadata": metadata}]}
    slack.always(HISTORY, Answer(body=json.dumps(found)))
    go_on(world)
    assert world.deliveries()[0]["receipt"] == "C012345 17.1"
    assert len([one for one in bodies(slack, POST) if "thread_ts" not in one]) == 1
    asked = slack.to(HISTORY)[0].body.decode()
    assert "include_all_metadata=1" in asked.lower().replace("true", "1")


@pytest.mark.parametrize("at_most_once", [False, True])
def test_a_message_that_is_not_there_is_posted_once_more(world: Pipeline, slack: HttpSink, at_most_once: bool) -> None:
    slack.script(POST, Answer(status=500, body="{}"))
    doubtful(world, slack, at_most_once=at_most_once)
    slack.always(HISTORY, Answer(body='{"ok": true, "messages": []}'))
    go_on(world)
    first, second = (one for one in bodies(slack, POST) if "thread_ts" not in one)
    assert first == second
    assert kinds(world)[0] == ("message", "sent")


@pytest.mark.parametrize(
    "answer", [Answer(body='{"ok": false, "error": "missing_scope"}'), Answer(status=500, body="{}"), SILENCE]
)
@pytest.mark.parametrize(("at_most_once", "posts", "state"), [(False, 2, "sent"), (True, 1, "uncertain")])
def test_without_a_way_to_look_it_is_posted_once_more_unless_the_channel_wants_nothing_twice(
    world: Pipeline, slack: HttpSink, answer: Answer, at_most_once: bool, posts: int, state: str
) -> None:
    slack.script(POST, SILENCE)
    doubtful(world, slack, at_most_once=at_most_once)
    slack.always(HISTORY, answer)
    go_on(world, 5)
    assert len([one for one in bodies(slack, POST) if "thread_ts" not in one]) == posts
    assert kinds(world)[0] == ("message", state)
    assert world.deliveries()[0]["next_attempt_at"] is None


@pytest.mark.parametrize(("at_most_once", "posts"), [(False, 2), (True, 1)])
def test_a_webhook_that_reads_and_hangs_up_gets_two_copies_at_most_and_one_where_that_is_wished(
    world: Pipeline, slack: HttpSink, at_most_once: bool, posts: int
) -> None:
    slack.always(HOOK, SILENCE)
    doubtful(world, slack, f"slack-webhook:{slack.url}{HOOK}", at_most_once=at_most_once)
    go_on(world, 5)
    assert len(slack.to(HOOK)) == posts
    assert kinds(world) == [("message", "uncertain")]


def test_the_wish_counts_at_once_for_what_is_in_doubt(world: Pipeline, slack: HttpSink) -> None:
    slack.always(HOOK, SILENCE)
    doubtful(world, slack, f"slack-webhook:{slack.url}{HOOK}")
    channel_commands.set_at_most_once(world.db, world.deliveries()[0]["channel_id"], True)
    go_on(world)
    assert len(slack.to(HOOK)) == 1


def test_a_limit_on_looking_is_waited_out(world: Pipeline, slack: HttpSink) -> None:
    slack.script(POST, SILENCE)
    doubtful(world, slack)
    slack.script(HISTORY, Answer(status=429, headers={"Retry-After": "60"}, body='{"ok": false}'))
    slack.always(HISTORY, Answer(body='{"ok": true, "messages": []}'))
    go_on(world, 1)
    assert len(slack.to(POST)) == 1
    go_on(world)
    assert kinds(world)[0] == ("message", "sent")


def test_a_channel_known_by_name_is_looked_up_by_the_id_that_slack_named(world: Pipeline, slack: HttpSink) -> None:
    channel_with_papers(world, entry(AGENTS, 1), to="slack:#papers")
    go_on(world)
    world.make_due(rate_limit, available_at=timedelta(hours=1))
    slack.script(POST, SILENCE)
    world.run(entry(ROBOTS, 2))
    slack.always(HISTORY, Answer(body='{"ok": true, "messages": []}'))
    go_on(world)
    assert b"channel=C012345" in slack.to(HISTORY)[0].body


# ── tokens and channels ───────────────────────────────────────────────────────────────────────────────────────


def test_a_dead_token_holds_its_channels_burns_nothing_and_is_told_the_operator_once(
    world: Pipeline, slack: HttpSink
) -> None:
    with world.db.transaction() as tx:
        tx.exec_driver_sql("UPDATE account SET operator = true")
    refusal = Answer(body='{"ok": false, "error": "token_revoked"}')
    slack.always(POST, refusal)
    slack.always("/auth.test", refusal)
    where = [add(world, "slack:#one"), add(world, "slack:#two")]
    world.subscribe("Planning", query="planning", to=where)
    world.run(entry(AGENTS, 1))
    secrets = SecretBox(world.settings.secret_keys)
    for _ in range(3):
        world.make_due(transport, check_at=timedelta(hours=1))
        recovery.probe_transport(world.db, world.settings, secrets)
        go_on(world)
    assert len(slack.to(POST)) == 1, "the second channel is not tried with it"
    messages = [row for row in world.deliveries() if row["kind"] == "message"]
    assert [(row["state"], row["attempt"]) for row in messages] == [("pending", 0), ("pending", 0)]
    (mail,) = world.mails()
    assert "token_revoked" in mail
    with world.db.transaction() as tx:
        held = [channel.down_because for channel in channels.all_of(tx) if channel.kind == "slack"]
    assert all("token_revoked" in because for because in held)
    assert world.rows(select(transport))[0]["check_at"] <= world.now() + timedelta(minutes=15)
    slack.always(POST, YES)
    slack.always("/auth.test", Answer(body='{"ok": true}'))
    world.make_due(transport, check_at=timedelta(hours=1))
    recovery.probe_transport(world.db, world.settings, secrets)
    go_on(world)
    assert {row["state"] for row in world.deliveries() if row["kind"] == "message"} == {"sent"}


def test_what_waits_for_a_disabled_channel_is_kept_a_week_and_then_dropped_with_the_reason(
    world: Pipeline, slack: HttpSink
) -> None:
    slack.always(POST, Answer(body='{"ok": false, "error": "is_archived"}'))
    where = add(world)
    world.subscribe("Planning", query="planning", to=[where])
    world.run(entry(AGENTS, 1))
    world.run(entry(ROBOTS, 2))
    assert any("is_archived" in mail for mail in world.mails()), "its owner is told"
    world.make_due(channel, disabled_at=timedelta(days=6, hours=23))
    assert not message_updates.give_up(world.db, world.settings)
    world.make_due(channel, disabled_at=timedelta(hours=1))
    assert message_updates.give_up(world.db, world.settings)
    assert not message_updates.give_up(world.db, world.settings)
    assert all("is_archived" in item["dropped_because"] for item in world.items())
    assert ("message", "cancelled") in kinds(world)


def test_a_late_answer_of_a_worker_taken_for_lost_counts_and_makes_one_thread(world: Pipeline, slack: HttpSink) -> None:
    where = add(world)
    world.subscribe("Planning", query="planning", to=[where])
    world.announce(entry(AGENTS, 1, abstract="Agents plan."))
    world.embed_and_match()
    world.notify()
    gather_due(world.db, world.settings)
    claimed = world.claim()
    world.render(claimed)
    claimed = world.commit(claimed)
    world.expire_leases()
    assert recovery.end_expired_lease(world.db, world.settings)
    world.record(claimed, domain.Sent("C012345 1.2"))
    go_on(world)
    assert [(one["channel"], one.get("thread_ts")) for one in bodies(slack, POST)] == [("C012345", "1.2")]
