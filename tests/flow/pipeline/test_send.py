"""Many at a time: what is claimed together, and what one delivery's trouble is to the others."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from services.errors import LeaseLost
from services.flow.commands import channels as channel_commands
from services.flow.pipeline.deliver import claim as claiming
from services.flow.pipeline.deliver import record
from services.flow.pipeline.deliver.claim import ClaimedDelivery
from services.flow.pipeline.deliver.send import send_due
from services.flow.upkeep import recovery
from services.store.accounts import accounts
from services.store.db import rate_limits
from services.store.db.tables import delivery, transport
from services.store.delivery import channels, deliveries
from tests.flow.conftest import Configure
from tests.support.sinks import HttpSink, SmtpSink, refused_port
from tests.support.world import Pipeline, new_test

POST = "/chat.postMessage"


def add(world: Pipeline, word: str, account: int | None = None) -> int:
    return channel_commands.find_or_add(world.db, world.settings, account or world.account, word, verified=True)


def waiting(world: Pipeline, channel: int, count: int = 1) -> list[int]:
    """Messages for a channel that carry no papers."""
    with world.db.transaction() as tx:
        account_id = channels.find(tx, channel).account_id
        new = [new_test(account_id, channel, number) for number in range(count)]
        ids = [deliveries.create(tx, one, "localhost") for one in new]
    return [delivery_id for delivery_id in ids if delivery_id is not None]


def readers(world: Pipeline, count: int) -> list[int]:
    """So many addresses, each with a mail that waits."""
    return [one for number in range(count) for one in waiting(world, add(world, f"email:r{number}@example.org"))]


def claim(world: Pipeline, most: int = 16) -> list[ClaimedDelivery]:
    return claiming.claim_due(world.db, world.settings, world.secrets, most)[1]


def states(world: Pipeline) -> list[str]:
    return [row["state"] for row in world.deliveries()]


# ── what is claimed together ──────────────────────────────────────────────────────────────────────────────────


def test_two_messages_of_one_channel_are_never_claimed_together(world: Pipeline) -> None:
    first, _ = waiting(world, world.email, 2)
    (other,) = waiting(world, add(world, "email:eve@example.org"))
    assert [one.id for one in claim(world)] == [first, other]


def test_a_long_queue_of_one_channel_leaves_others_their_place(world: Pipeline) -> None:
    waiting(world, world.email, 10)
    (other,) = waiting(world, add(world, "email:eve@example.org"))
    assert other in [one.id for one in claim(world, 2)]


def test_two_channels_with_one_gate_are_never_claimed_together(world: Pipeline, slack: HttpSink) -> None:
    with world.db.transaction() as tx:
        other = accounts.add(tx, "ben@example.org", "UTC")
    for account in (world.account, other):
        waiting(world, add(world, "slack:#papers", account))
    assert len(claim(world)) == 1
    assert claim(world) == []


def test_of_a_workspace_one_is_claimed_at_a_time(world: Pipeline, slack: HttpSink) -> None:
    for name in ("one", "two"):
        waiting(world, add(world, f"slack:#{name}"))
    assert len(claim(world)) == 1


def test_each_has_a_lease_of_its_own(world: Pipeline) -> None:
    readers(world, 3)
    tokens = [one.delivery.lease_token for one in claim(world)]
    assert len(set(tokens)) == 3
    assert [row["lease_token"] for row in world.deliveries()] == tokens


def test_what_lost_a_worker_is_claimed_alone(world: Pipeline) -> None:
    suspect, *others = readers(world, 3)
    with world.db.transaction() as tx:
        tx.execute(update(delivery).where(delivery.c.id == suspect).values(expired_leases=1))
    assert [one.id for one in claim(world)] == [suspect]
    assert [one.id for one in claim(world)] == others


def test_whoever_lost_its_turn_at_a_gate_does_not_send(world: Pipeline, slack: HttpSink) -> None:
    waiting(world, add(world, "slack:#papers"))
    claimed = world.claim()
    with world.db.transaction() as tx:  # As a Retry-After does.
        rate_limits.postpone(tx, claimed.delivery.rate_limit_key, world.now() + timedelta(hours=1))
    with pytest.raises(LeaseLost, match="rate limit"):
        world.commit(claimed)
    assert states(world) == ["claimed"]


# ── what one is to the others ─────────────────────────────────────────────────────────────────────────────────


def test_a_slow_receiver_holds_up_nobody_else(world: Pipeline, smtp: SmtpSink) -> None:
    smtp.delays["RCPT r0@example.org"] = 3.0
    readers(world, 30)
    assert send_due(world.db, world.settings, world.secrets, 20) == 30
    assert states(world) == ["sent"] * 30
    slow = next(mail for mail in smtp.mails if mail.recipient == "r0@example.org")
    assert smtp.mails[-1] == slow


def test_connections_are_kept_from_mail_to_mail_and_closed_in_the_end(world: Pipeline, smtp: SmtpSink) -> None:
    readers(world, 30)
    send_due(world.db, world.settings, world.secrets, 20)
    assert len(smtp.mails) == 30
    assert 1 <= smtp.tries("EHLO") <= 4
    assert smtp.tries("QUIT") == smtp.tries("EHLO")


def test_an_error_nobody_expected_loses_no_other_answer(world: Pipeline, smtp: SmtpSink, slack: HttpSink) -> None:
    (broken,) = waiting(world, add(world, "slack:#papers"))
    readers(world, 5)
    with world.db.transaction() as tx:
        tx.execute(update(delivery).where(delivery.c.id == broken).values(bytes_final=True, rendered=b"no JSON"))
    send_due(world.db, world.settings, world.secrets)
    assert states(world) == ["claimed", *["sent"] * 5]
    world.expire_leases()
    assert recovery.end_expired_lease(world.db, world.settings)
    assert states(world)[0] == "pending"


def test_what_is_committed_together_is_committed_whole_or_not_at_all(world: Pipeline, smtp: SmtpSink) -> None:
    readers(world, 4)
    claimed = claim(world)
    with world.db.transaction() as tx:
        channels.remove(tx, claimed[1].channel.id)
    with pytest.raises(LeaseLost):
        record.write(world.db, world.settings, claimed)
    assert states(world) == ["claimed", "cancelled", "claimed", "claimed"]


def test_a_server_that_is_down_burns_no_attempt_of_any_and_counts_once(world: Pipeline, configure: Configure) -> None:
    with refused_port() as port:
        configure(smtp_url=f"smtp://127.0.0.1:{port}")
        readers(world, 30)
        send_due(world.db, world.settings, world.secrets, 20)
    assert {(row["state"], row["attempt"]) for row in world.deliveries()} == {("pending", 0)}
    assert [row["failures"] for row in world.rows(select(transport))] == [1]
