"""Webhooks through all states: the schedule, silence, 410, throttling, and a secret renewed meanwhile."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import select

from services.errors import Conflict
from services.flow.commands import channels, resend
from services.flow.pipeline.deliver import record
from services.flow.upkeep import recovery
from services.notifiers.webhook import RETRIES
from services.store.accounts import accounts
from services.store.db.tables import channel, delivery, rate_limit
from services.store.delivery import ended_channels
from tests.flow.conftest import Configure
from tests.support.service import until
from tests.support.sinks import Answer, Asked, HttpSink
from tests.support.world import Pipeline, entry

AGENTS, ROBOTS = "One paper about agent planning", "Another paper about robot planning"
HOOK = "/hooks/geheim"


@pytest.fixture
def hook(configure: Configure) -> Iterator[HttpSink]:
    with HttpSink() as sink:
        configure(allow_webhook_hosts=f"127.0.0.1:{sink.port}")
        yield sink


def add(world: Pipeline, hook: HttpSink) -> tuple[int, str]:
    added = channels.add(world.db, world.settings, world.account, f"webhook:{hook.url}{HOOK}")
    return added.id, added.secret


def go_on(world: Pipeline, hours: int = 30) -> None:
    world.make_due(rate_limit, available_at=timedelta(hours=hours))
    world.make_due(delivery, next_attempt_at=timedelta(hours=hours))
    world.deliver()


def ids(asked: list[Asked]) -> list[str]:
    return [one.headers["webhook-id"] for one in asked]


def test_a_match_reaches_a_webhook(world: Pipeline, hook: HttpSink) -> None:
    where, secret = add(world, hook)
    assert secret.startswith("whsec_")
    world.subscribe("Planning", query="planning", to=[where])
    world.run(entry(AGENTS, 1), entry(ROBOTS, 2))
    (asked,) = hook.to(HOOK)
    payload = json.loads(asked.body)
    assert payload["type"] == "papers.announced"
    assert {paper["title"] for paper in payload["data"]["papers"]} == {AGENTS, ROBOTS}
    assert payload["data"]["papers"][0]["reasons"][0]["name"] == "Planning"
    assert [row["state"] for row in world.deliveries()] == ["sent"]


def test_a_test_message_reaches_it(world: Pipeline, hook: HttpSink) -> None:
    where, _ = add(world, hook)
    resend.send_test(world.db, world.settings, where)
    world.deliver()
    assert json.loads(hook.to(HOOK)[0].body)["type"] == "channel.test"


def test_a_failing_webhook_is_tried_by_the_schedule_under_one_id_and_given_up(world: Pipeline, hook: HttpSink) -> None:
    hook.always(HOOK, Answer(status=500))
    where, _ = add(world, hook)
    world.subscribe("Planning", query="planning", to=[where])
    world.run(entry(AGENTS, 1))
    pauses = []
    while world.deliveries()[0]["state"] == "pending":
        pauses.append(world.deliveries()[0]["next_attempt_at"] - world.now())
        go_on(world)
    assert len(pauses) == len(RETRIES)
    assert all(wanted - timedelta(seconds=5) <= pause <= wanted for pause, wanted in zip(pauses, RETRIES, strict=True))
    assert len(hook.to(HOOK)) == 10
    assert len(set(ids(hook.to(HOOK)))) == 1
    assert world.deliveries()[0]["state"] == "dead"
    assert "10 attempts" in world.deliveries()[0]["error"]
    assert "10 attempts" in world.mails()[0], "its owner is told by mail"


def test_silence_is_one_more_failure_with_the_same_bytes(world: Pipeline, hook: HttpSink) -> None:
    hook.script(HOOK, *[Answer(close=True)] * 4)
    where, _ = add(world, hook)
    world.subscribe("Planning", query="planning", to=[where])
    world.run(entry(AGENTS, 1))
    for _ in range(4):
        go_on(world)
    assert world.deliveries()[0]["state"] == "sent"
    assert len(hook.to(HOOK)) == 5
    assert len({one.body for one in hook.to(HOOK)}) == 1


def test_a_worker_lost_while_sending_is_one_more_failure(world: Pipeline, hook: HttpSink) -> None:
    where, _ = add(world, hook)
    world.subscribe("Planning", query="planning", to=[where])
    world.run(entry(AGENTS, 1))
    with world.db.transaction() as tx:
        tx.execute(delivery.update().values(state="sending", lease_until=world.now() - timedelta(seconds=1)))
    assert recovery.end_expired_lease(world.db, world.settings)
    assert world.deliveries()[0]["state"] == "pending"
    go_on(world)
    assert len(set(ids(hook.to(HOOK)))) == 1


def test_gone_disables_it_and_tells_its_owner(world: Pipeline, hook: HttpSink) -> None:
    hook.always(HOOK, Answer(status=410))
    where, _ = add(world, hook)
    world.subscribe("Planning", query="planning", to=[where])
    world.run(entry(AGENTS, 1))
    assert "410" in world.rows(select(channel).where(channel.c.id == where))[0]["disabled_because"]
    go_on(world)
    assert len(hook.to(HOOK)) == 1
    assert "410" in world.mails()[0]


def test_a_throttled_webhook_is_left_alone_for_as_long_as_it_says(world: Pipeline, hook: HttpSink) -> None:
    hook.script(HOOK, Answer(status=429, headers={"Retry-After": "600"}))
    where, _ = add(world, hook)
    world.subscribe("Planning", query="planning", to=[where])
    world.run(entry(AGENTS, 1))
    world.run(entry(ROBOTS, 2))
    assert len(hook.to(HOOK)) == 1
    go_on(world)
    go_on(world)
    assert len(hook.to(HOOK)) == 3


def test_a_renewed_secret_signs_what_waits_beside_the_old_one(world: Pipeline, hook: HttpSink) -> None:
    hook.script(HOOK, Answer(status=500))
    where, _ = add(world, hook)
    world.subscribe("Planning", query="planning", to=[where])
    world.run(entry(AGENTS, 1))
    channels.rotate_secret(world.db, world.settings, where)
    assert add(world, hook) == (where, ""), "adding it again changes hours alone"
    go_on(world)
    first, second = hook.to(HOOK)
    assert len(first.headers["webhook-signature"].split()) == 1
    assert len(second.headers["webhook-signature"].split()) == 2


# ── before the first 2xx answer ───────────────────────────────────────────────────────────────────────────────


def pass_minutes(world: Pipeline, minutes: int) -> None:
    """Everything that waits comes closer by so many minutes, and is worked off where it is due."""
    world.make_due(rate_limit, available_at=timedelta(minutes=minutes))
    world.make_due(delivery, next_attempt_at=timedelta(minutes=minutes))
    world.deliver()


def ask_for_test(world: Pipeline, where: int) -> None:
    with suppress(Conflict):
        resend.send_test(world.db, world.settings, where, world.account)


def test_an_address_that_never_answered_2xx_gets_one_attempt_an_hour(world: Pipeline, hook: HttpSink) -> None:
    hook.always(HOOK, Answer(status=404))
    where, _ = add(world, hook)
    world.subscribe("Planning", query="planning", to=[where])
    for number in range(5):
        ask_for_test(world, where)
        world.run(entry(f"Planning number {number}", number + 1))
        pass_minutes(world, 10)
    assert len(hook.to(HOOK)) == 1
    pass_minutes(world, 9)
    assert len(hook.to(HOOK)) == 1
    pass_minutes(world, 2)
    assert len(hook.to(HOOK)) == 2


def test_tests_do_not_queue_up_for_an_address_that_never_answered(world: Pipeline, hook: HttpSink) -> None:
    hook.always(HOOK, Answer(status=404))
    where, _ = add(world, hook)
    resend.send_test(world.db, world.settings, where, world.account)
    world.deliver()
    with pytest.raises(Conflict, match="one attempt an hour"):
        resend.send_test(world.db, world.settings, where, world.account)


def test_addresses_of_one_host_share_the_attempt_also_when_they_are_removed_and_added_again(
    world: Pipeline, hook: HttpSink
) -> None:
    hook.judge = lambda asked: Answer(status=404)
    for number in range(6):
        where = channels.add(world.db, world.settings, world.account, f"webhook:{hook.url}/any/{number % 3}").id
        ask_for_test(world, where)
        pass_minutes(world, 2)
        with world.db.transaction() as tx:
            ended_channels.remove(tx, where)
    assert len(hook.requests) == 1


def test_another_account_does_not_wait_for_the_attempt(world: Pipeline, hook: HttpSink) -> None:
    hook.script(HOOK, Answer(status=404))
    where, _ = add(world, hook)
    ask_for_test(world, where)
    world.deliver()
    with world.db.transaction() as tx:
        ben = accounts.add(tx, "ben@example.org", "UTC")
    his = channels.add(world.db, world.settings, ben, f"webhook:{hook.url}{HOOK}").id
    resend.send_test(world.db, world.settings, his, ben)
    pass_minutes(world, 1)
    assert len(hook.to(HOOK)) == 2


def test_after_the_first_2xx_answer_the_usual_schedule_holds(world: Pipeline, hook: HttpSink) -> None:
    where, _ = add(world, hook)
    ask_for_test(world, where)
    world.deliver()
    assert len(hook.to(HOOK)) == 1
    hook.always(HOOK, Answer(status=500))
    for expected in (2, 3):
        ask_for_test(world, where)
        pass_minutes(world, 1)
        assert len(hook.to(HOOK)) == expected


def test_the_answer_of_one_address_lets_the_next_of_the_host_have_its_attempt(world: Pipeline, hook: HttpSink) -> None:
    first = channels.add(world.db, world.settings, world.account, f"webhook:{hook.url}/any/1").id
    second = channels.add(world.db, world.settings, world.account, f"webhook:{hook.url}/any/2").id
    for where in (first, second):
        ask_for_test(world, where)
        pass_minutes(world, 1)
    assert [asked.path for asked in hook.requests] == ["/any/1", "/any/2"]


def test_what_waited_for_the_first_answer_is_sent_right_after_it(world: Pipeline, hook: HttpSink) -> None:
    hook.script(HOOK, Answer(status=500))
    where, _ = add(world, hook)
    world.subscribe("Planning", query="planning", to=[where])
    world.run(entry(AGENTS, 1))
    world.run(entry(ROBOTS, 2))
    assert len(hook.to(HOOK)) == 1
    pass_minutes(world, 61)
    until(lambda: world.deliver() or len(hook.to(HOOK)) == 3, "both are sent", 20)
    assert [row["state"] for row in world.deliveries()] == ["sent", "sent"]


def test_an_operator_tests_without_waiting_for_the_hour(world: Pipeline, hook: HttpSink) -> None:
    hook.script(HOOK, Answer(status=500))
    where, _ = add(world, hook)
    ask_for_test(world, where)
    world.deliver()
    resend.send_test(world.db, world.settings, where)
    pass_minutes(world, 1)
    assert len(hook.to(HOOK)) == 2


def test_a_claim_that_was_released_unsent_does_not_use_up_the_attempt(world: Pipeline, hook: HttpSink) -> None:
    where, _ = add(world, hook)
    ask_for_test(world, where)
    record.release(world.db, world.claim())
    pass_minutes(world, 1)
    assert len(hook.to(HOOK)) == 1
