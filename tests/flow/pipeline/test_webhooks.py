"""Webhooks through all states: the schedule, silence, 410, throttling, and a secret renewed meanwhile."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select

from services.flow.commands import channels, resend
from services.flow.upkeep import recovery
from services.notifiers.webhook import RETRIES
from services.store.db.tables import channel, delivery, rate_limit
from tests.flow.conftest import Configure
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
