"""Rates are kept by all workers together, in rows, and a gate that is open is not left unused."""

import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from services.errors import LeaseLost
from services.flow.commands import channels as channel_commands
from services.flow.pipeline.deliver.claim import next_due_in
from services.flow.pipeline.deliver.send import send_due
from services.notifiers import slack as plugin
from services.store.accounts import accounts
from services.store.db import rate_limits
from services.store.db.secrets import SecretBox
from services.store.delivery import channels, deliveries
from tests.flow.conftest import Configure
from tests.support.sinks import Answer, Asked, HttpSink
from tests.support.world import Pipeline, TimedPipeline, new_test

POST = "/chat.postMessage"
HOOK = "/services/T0/B0/"
LIMITED = '{"ok": false, "error": "ratelimited"}'


def add(world: Pipeline, word: str, account: int | None = None) -> int:
    return channel_commands.find_or_add(world.db, world.settings, account or world.account, word, verified=True)


def waiting(world: Pipeline, channel: int, count: int) -> None:
    """That many messages for a channel, which carry no papers."""
    with world.db.transaction() as tx:
        row = channels.find(tx, channel)
        for number in range(count):
            deliveries.create(tx, new_test(row.account_id, channel, number), "localhost")


def work(world: Pipeline, sink: HttpSink, posts: int, workers: int = 2, limit: float = 20.0) -> None:
    """Workers that send whatever may go and, as theirs do, ask when the next turn is."""
    secrets = SecretBox(world.settings.secret_keys)
    done, end = threading.Event(), time.monotonic() + limit

    def one() -> None:
        while not done.is_set() and len(sink.requests) < posts and time.monotonic() < end:
            if not send_due(world.db, world.settings, secrets):
                turn = next_due_in(world.db, timedelta(seconds=15))
                done.wait(turn.total_seconds() if turn else 0.05)

    threads = [threading.Thread(target=one) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(limit + 10)


def pauses(asked: list[Asked]) -> list[float]:
    times = sorted(one.at for one in asked)
    return [later - earlier for earlier, later in pairwise(times)]


# ── one a second ──────────────────────────────────────────────────────────────────────────────────────────────


def test_three_channels_of_a_workspace_get_a_message_a_second_each(world: Pipeline, slack: HttpSink) -> None:
    names = ["#one", "#two", "#three"]
    for name in names:
        waiting(world, add(world, f"slack:{name}"), 4)
    work(world, slack, 12)
    assert len(slack.requests) == 12
    for name in names:
        own = [one for one in slack.requests if f'"{name}"'.encode() in one.body]
        assert len(own) == 4
        assert min(pauses(own)) > 0.95, "no more than one a second"
        assert sum(pauses(own)) < 3 / 0.9, "and hardly less"


def test_each_incoming_webhook_has_a_pace_of_its_own(world: Pipeline, configure: Configure, slack: HttpSink) -> None:
    configure(allow_webhook_hosts=f"127.0.0.1:{slack.port}")
    hooks = [f"{HOOK}secret{number}" for number in range(8)]
    for hook in hooks:
        slack.always(hook, Answer())
        waiting(world, add(world, f"slack-webhook:{slack.url}{hook}"), 2)
    work(world, slack, 16)
    for hook in hooks:
        (pause,) = pauses(slack.to(hook))
        assert 0.95 < pause < 1.5


def test_two_accounts_share_the_pace_of_one_slack_channel(world: Pipeline, slack: HttpSink) -> None:
    with world.db.transaction() as tx:
        other = accounts.add(tx, "ben@example.org", "UTC")
    for account in (world.account, other):
        waiting(world, add(world, "slack:#papers", account), 1)
    world.deliver()
    assert len(slack.requests) == 1
    work(world, slack, 2)
    assert pauses(slack.requests)[0] > 0.95


def test_a_workspace_takes_no_more_than_240_a_minute_and_hardly_less(world: Pipeline) -> None:
    now = start = datetime(2026, 5, 4, 8, tzinfo=UTC)
    passed = 0
    while now <= start + timedelta(minutes=1):
        for number in range(7):
            try:
                with world.db.transaction() as tx:
                    rate_limits.acquire(tx, f"channel {number}", plugin.POST_INTERVAL, now)
                    rate_limits.acquire(tx, "workspace", plugin.WORKSPACE_INTERVAL, now, rate_limits.CATCH_UP)
            except LeaseLost:
                continue
            passed += 1
        now += timedelta(milliseconds=250)
    assert 0.9 * 240 < passed <= 240


def test_of_many_workers_one_passes_a_gate(world: Pipeline) -> None:
    now, passed = world.now(), []

    def run() -> None:
        try:
            with world.db.transaction() as tx:
                rate_limits.acquire(tx, "one", timedelta(seconds=1), now)
        except LeaseLost:
            return
        passed.append(1)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(passed) == 1


# ── 429 ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("header", "wait"), [("7", 7), ("3600", 3600), ("soon", 30), ("", 30)])
def test_a_rate_limit_closes_its_channel_for_as_long_as_it_says(
    world: Pipeline, slack: HttpSink, header: str, wait: int
) -> None:
    slack.script(POST, Answer(status=429, headers={"Retry-After": header} if header else {}, body=LIMITED))
    waiting(world, add(world, "slack:#slow"), 2)
    waiting(world, add(world, "slack:#quick"), 1)
    asked_at = world.now()
    while world.deliveries()[2]["state"] == "pending":
        world.deliver()
    first, second, other = world.deliveries()
    assert (first["state"], second["state"], other["state"]) == ("pending", "pending", "sent")
    assert len(slack.requests) == 2, "what waits behind it on the channel is not tried either"
    opens = first["next_attempt_at"] - asked_at
    assert timedelta(seconds=wait) <= opens < timedelta(seconds=wait + 5)
    turn = next_due_in(world.db, timedelta(hours=2))
    assert turn is not None
    assert turn > timedelta(seconds=wait - 5)


def test_nobody_is_called_for_what_no_gate_holds_back(world: Pipeline, slack: HttpSink) -> None:
    assert next_due_in(world.db, timedelta(seconds=15)) is None
    where = add(world, "slack:#papers")
    waiting(world, where, 2)
    world.deliver()
    assert next_due_in(world.db, timedelta(seconds=15)) is not None
    with world.db.transaction() as tx:
        channels.disable(tx, where, "gone")
    assert next_due_in(world.db, timedelta(seconds=15)) is None


def test_a_channel_whose_secret_cannot_be_opened_is_disabled_and_others_flow(world: Pipeline, slack: HttpSink) -> None:
    waiting(world, add(world, "slack:#papers"), 1)
    waiting(world, world.email, 1)
    while send_due(world.db, world.settings, SecretBox(["another key"])):
        pass
    first, second = world.deliveries()[:2]
    assert (first["state"], first["attempt"], second["state"]) == ("pending", 0, "sent")
    with world.db.transaction() as tx:
        row = channels.find(tx, first["channel_id"])
    assert "PAPERWIRE_SECRET_KEY" in row.disabled_because


# ── a clock that was set back ─────────────────────────────────────────────────────────────────────────────────


def test_a_rate_limit_that_was_acquired_later_than_now_is_void(world: Pipeline) -> None:
    now, later = world.now(), world.now() + timedelta(days=1)
    with world.db.transaction() as tx:
        rate_limits.acquire(tx, "one", timedelta(hours=1), later)
        assert rate_limits.is_available(tx, "one", now)
        rate_limits.acquire(tx, "one", timedelta(hours=1), now, rate_limits.CATCH_UP)
        assert not rate_limits.is_available(tx, "one", now + timedelta(minutes=59))
        assert rate_limits.is_available(tx, "one", now + timedelta(minutes=61))


def test_a_rate_limit_of_another_transaction_that_read_the_clock_later_is_kept(world: Pipeline) -> None:
    now = world.now()
    with world.db.transaction() as tx:
        rate_limits.acquire(tx, "one", timedelta(hours=1), now + timedelta(seconds=5))
        assert not rate_limits.is_available(tx, "one", now)
        with pytest.raises(LeaseLost):
            rate_limits.acquire(tx, "one", timedelta(hours=1), now)


def test_channels_get_messages_after_the_clock_was_set_back(timed: TimedPipeline, slack: HttpSink) -> None:
    timed.subscribe(query="planning", to=[add(timed, "slack:#papers")])
    timed.clock.on(days=1)
    timed.hear()
    posts = len(slack.to(POST))
    assert posts > 0
    timed.clock.on(days=-1)
    timed.hear()
    assert len(slack.to(POST)) > posts
