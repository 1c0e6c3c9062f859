"""Test messages and retries that a person requests."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from services.domain.delivery.state_machine import DeliveryKind, can_replay
from services.errors import Busy, ConfigError, Conflict, NotFound
from services.flow.commands import channels as channel_commands
from services.flow.commands import opt_in as opt_in_commands
from services.flow.commands import resend
from services.settings import settings as process_settings
from services.store.db.tables import delivery
from services.store.delivery import channels, claims, deliveries, ended_channels, opt_in
from services.store.delivery.records import NewDelivery
from tests.support.world import Pipeline


def test_a_test_message_is_sent_without_papers(world: Pipeline) -> None:
    made = resend.send_test(world.db, world.settings, world.email, world.account).delivery_id
    world.deliver()
    assert [(row["id"], row["kind"], row["state"]) for row in world.deliveries()] == [(made, "test", "sent")]


def test_an_account_sends_ten_test_messages_an_hour(world: Pipeline) -> None:
    for _ in range(world.settings.tests_per_hour):
        resend.send_test(world.db, world.settings, world.email, world.account)
    with pytest.raises(Busy, match="10 test messages an hour"):
        resend.send_test(world.db, world.settings, world.email, world.account)
    resend.send_test(world.db, world.settings, world.email)  # An operator may.
    with world.db.transaction() as tx:
        tx.execute(update(delivery).values(created_at=delivery.c.created_at - timedelta(hours=1)))
    resend.send_test(world.db, world.settings, world.email, world.account)


def test_test_messages_wait_for_alerts(world: Pipeline) -> None:
    """Also those that were asked for earlier, on other channels."""
    where = [
        channel_commands.add(world.db, world.settings, world.account, f"email:{name}@example.org", verified=True).id
        for name in "abc"
    ]
    for channel_id in where:
        resend.send_test(world.db, world.settings, channel_id)
    with world.db.transaction() as tx:
        alert = NewDelivery(
            account_id=world.account, channel_id=world.email, kind=DeliveryKind.NOTICE, idem_key="alert"
        )
        alert_id = deliveries.create(tx, alert, "example.org")
        due = claims.lock_due(tx, world.db.now(tx), 2)
    assert due[0].delivery.id == alert_id
    assert [row.delivery.kind for row in due] == [DeliveryKind.NOTICE, DeliveryKind.TEST]


def test_an_account_has_as_many_channels_as_the_setting_says(world: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERWIRE_MAX_CHANNELS", "2")
    process_settings.cache_clear()
    added = channel_commands.add(world.db, world.settings, world.account, "email:a@example.org").id
    with pytest.raises(ConfigError, match="at most 2 channels"):
        channel_commands.add(world.db, world.settings, world.account, "email:b@example.org")
    assert channel_commands.add(world.db, world.settings, world.account, "email:a@example.org").id == added
    with world.db.transaction() as tx:
        ended_channels.remove(tx, added)
    channel_commands.add(world.db, world.settings, world.account, "email:b@example.org")


def test_another_accounts_channel_cannot_be_tested(world: Pipeline) -> None:
    with pytest.raises(NotFound):
        resend.send_test(world.db, world.settings, world.email, world.account + 1)


def test_a_dead_delivery_can_be_retried_until_its_channel_is_unsubscribed_or_removed(world: Pipeline) -> None:
    delivery_id = resend.send_test(world.db, world.settings, world.email).delivery_id
    with pytest.raises(Conflict, match="pending"):
        resend.retry(world.db, delivery_id)
    with world.db.transaction() as tx:
        tx.execute(update(delivery).values(state="dead", attempt=9))
    resend.retry(world.db, delivery_id, world.account)
    assert [(row["state"], row["attempt"]) for row in world.deliveries()] == [("pending", 0)]
    with world.db.transaction() as tx:
        tx.execute(update(delivery).values(state="dead"))
        opt_in.unsubscribe(tx, channels.find(tx, world.email))
    with pytest.raises(Conflict, match="unsubscribed"):
        resend.retry(world.db, delivery_id)
    with world.db.transaction() as tx:
        ended_channels.remove(tx, world.email)
    with pytest.raises(NotFound):
        resend.retry(world.db, delivery_id)


def test_an_opt_in_request_cannot_be_retried(world: Pipeline) -> None:
    lab = channel_commands.find_or_add(world.db, world.settings, world.account, "email:lab@example.org")
    assert opt_in_commands.request_opt_in(world.db, world.settings, lab)
    with world.db.transaction() as tx:
        tx.execute(update(delivery).values(state="dead"))
    with pytest.raises(Conflict, match="confirmation mail"):
        resend.retry(world.db, 1, world.account)
    row = world.deliveries()[0]
    assert not can_replay(row["kind"], row["state"], row["next_attempt_at"])


def test_an_account_sends_few_deliveries_again_and_each_seldom(
    world: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resend, "MAX_RETRIES", 2)
    made = [resend.send_test(world.db, world.settings, world.email).delivery_id for _ in range(3)]

    def die() -> None:
        with world.db.transaction() as tx:
            tx.execute(update(delivery).values(state="dead", next_attempt_at=None))

    die()
    resend.retry(world.db, made[0], world.account)
    die()
    with pytest.raises(Busy, match="wait five minutes"):
        resend.retry(world.db, made[0], world.account)
    resend.retry(world.db, made[1], world.account)
    with pytest.raises(Busy, match="at most 2 deliveries again an hour"):
        resend.retry(world.db, made[2], world.account)
    resend.retry(world.db, made[2])  # An operator may.
    with world.db.transaction() as tx:
        tx.execute(update(delivery).values(replayed_at=delivery.c.replayed_at - timedelta(hours=1)))
    die()
    resend.retry(world.db, made[0], world.account)
