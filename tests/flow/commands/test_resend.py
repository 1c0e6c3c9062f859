"""Test messages and retries that a person asks for."""

import pytest
from sqlalchemy import update

from services.domain.delivery.state_machine import can_replay
from services.errors import Conflict, NotFound
from services.flow.commands import channels as channel_commands
from services.flow.commands import opt_in as opt_in_commands
from services.flow.commands import resend
from services.store.db.tables import delivery
from services.store.delivery import channels, ended_channels, opt_in
from tests.support.world import Pipeline


def test_a_test_message_is_sent_without_papers(world: Pipeline) -> None:
    made = resend.send_test(world.db, world.settings, world.email, world.account).delivery_id
    world.deliver()
    assert [(row["id"], row["kind"], row["state"]) for row in world.deliveries()] == [(made, "test", "sent")]


def test_another_accounts_channel_cannot_be_tested(world: Pipeline) -> None:
    with pytest.raises(NotFound):
        resend.send_test(world.db, world.settings, world.email, world.account + 1)


def test_a_dead_delivery_can_be_retried_until_its_channel_is_unsubscribed_or_removed(world: Pipeline) -> None:
    one = resend.send_test(world.db, world.settings, world.email).delivery_id
    with pytest.raises(Conflict, match="pending"):
        resend.retry(world.db, one)
    with world.db.transaction() as tx:
        tx.execute(update(delivery).values(state="dead", attempt=9))
    resend.retry(world.db, one, world.account)
    assert [(row["state"], row["attempt"]) for row in world.deliveries()] == [("pending", 0)]
    with world.db.transaction() as tx:
        tx.execute(update(delivery).values(state="dead"))
        opt_in.unsubscribe(tx, channels.find(tx, world.email))
    with pytest.raises(Conflict, match="unsubscribed"):
        resend.retry(world.db, one)
    with world.db.transaction() as tx:
        ended_channels.remove(tx, world.email)
    with pytest.raises(NotFound):
        resend.retry(world.db, one)


def test_an_opt_in_request_cannot_be_retried(world: Pipeline) -> None:
    lab = channel_commands.find_or_add(world.db, world.settings, world.account, "email:lab@example.org")
    assert opt_in_commands.request_opt_in(world.db, world.settings, lab)
    with world.db.transaction() as tx:
        tx.execute(update(delivery).values(state="dead"))
    with pytest.raises(Conflict, match="confirmation mail"):
        resend.retry(world.db, 1, world.account)
    row = world.deliveries()[0]
    assert not can_replay(row["kind"], row["state"], row["next_attempt_at"])
